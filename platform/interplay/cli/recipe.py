"""Commands about recipes: which there are, what one says and why, and how two differ."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping

import click

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_function, find_recipe, flatten, parse_assignments, record_of
from interplay.recipe.changes import difference
from interplay.recipe.find import names

WIDTH = 100
NONE = "—"
Row = tuple[str, ...]


@click.group("recipe")
def recipe_commands() -> None:
    """List recipes, show one, and how two differ."""


@recipe_commands.command("list")
@click.argument("family", required=False)
def list_recipes(family: str | None) -> None:
    """Every recipe with its expected accuracy, or those of FAMILY (deit, cait, deit3, ...)."""
    found = [name for name in names("recipes") if family in (None, name.partition(".")[0])]
    if not found:
        families = ", ".join(sorted({name.partition(".")[0] for name in names("recipes")}))
        raise InterplayError(f"there are no recipes of {family!r}; families are {families}")
    records = {name: record_of(find_function(name, package="recipes")) for name in found}
    first = max(map(len, found))
    room = shutil.get_terminal_size((WIDTH, 0)).columns if sys.stdout.isatty() else 0
    for name, record in records.items():
        line = f"{name.ljust(first)}  {record.summary.rstrip('.')}  [{record.expected}]"
        click.echo(f"{line[: room - 2]} …" if room and len(line) > room else line)


@recipe_commands.command("show")
@click.argument("reference", metavar="RECIPE")
@click.option("-s", "--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change the recipe.")
@click.option("--why", is_flag=True, help="Where each value comes from, and where sources disagree.")
def show(reference: str, assignments: tuple[str, ...], why: bool) -> None:
    """Every value of RECIPE, resolved."""
    recipe = find_recipe(reference).with_(parse_assignments(assignments))
    if why:
        _explain(reference, recipe)
        return
    values = _values(recipe)
    _print_grouped((path, _shown(value)) for path, value in values.items())


@recipe_commands.command("diff")
@click.argument("one", metavar="RECIPE")
@click.argument("other", metavar="OTHER")
def diff(one: str, other: str) -> None:
    """The values in which two recipes differ."""
    before, after = (_values(find_recipe(reference)) for reference in (one, other))
    paths = [path for path in {**before, **after} if path != "name"]
    paths = [path for path in paths if path not in before or path not in after or before[path] != after[path]]
    if not paths:
        click.echo(f"{one} and {other} are the same")
        return
    rows = [(path, *(_shown(tree[path]) if path in tree else NONE for tree in (before, after))) for path in paths]
    _print_grouped(rows, headers=(one, other))


def _explain(reference: str, recipe: Recipe) -> None:
    from recipes.sources import sources_of
    from recipes.sources.why import observed

    found = sources_of(reference)
    if found is None:
        raise InterplayError(f"{reference} is no recipe of the thesis: its docstring says where it comes from")
    seen = observed(recipe)
    rows = []
    for path, value in _values(recipe).items():
        if path == "name" or path.startswith("after."):
            continue
        why = found.why(path, seen.get(path, value), recipe.model.family)
        rows.append((path, _shown(value), why or "set here"))
    procedure = found.procedure
    title = f"{reference} follows {procedure.name}: {procedure.title} ({', '.join(procedure.tables)})"
    click.echo(textwrap.fill(title, WIDTH, subsequent_indent="  ") + "\n")
    _print_grouped(rows)
    notes = list(found.notes())
    if notes:
        click.echo("\n" + click.style("where sources disagree, or are silent", bold=True))
    for note in notes:
        indent = " " * (len(note) - len(note.lstrip()) + 4)
        click.echo(textwrap.fill(note, WIDTH, initial_indent="  ", subsequent_indent=indent))


def _values(recipe: Recipe) -> dict[str, object]:
    """dotted path -> value, for reading: an earlier stage is its name and what was changed of it."""
    flat = flatten(recipe)
    values: dict[str, object] = {
        path: value for path, value in flat.items() if not path.startswith("after.") and not path.endswith("digest")
    }
    if recipe.after is not None:
        values["after"] = recipe.after.name
        values |= {f"after.{path}": value for path, value in _changed(recipe.after).items()}
    return values


def _changed(stage: Recipe) -> Mapping[str, object]:
    """What an earlier stage has that the recipe of its name has not; all of it if there is none of that name."""
    try:
        return difference(find_recipe(stage.name), stage)
    except InterplayError:
        return flatten(stage)


def _print_grouped(rows: Iterable[Row], headers: Row = ()) -> None:
    """Rows of (path, value, ...) under their sections, aligned, within `WIDTH`; the last column is wrapped."""
    table = [(*_placed(row[0]), *row[1:]) for row in rows]
    order = list(dict.fromkeys(group for group, *_ in table))
    table.sort(key=lambda row: order.index(row[0]))
    first = max(len(label) for _, label, *_ in table)
    columns = [max(map(len, column)) for column in zip(*(row[2:] for row in table), strict=True)]
    columns = [max(width, len(header)) for width, header in zip(columns, headers or [""] * len(columns), strict=True)]
    if len(columns) > 1:
        columns[0] = min(columns[0], max(30, len(headers[0]) if headers else 0))
    if headers:
        click.echo(_line("", headers, first, columns).rstrip())
    section = ""
    for group, label, *cells in table:
        if group != section:
            click.echo(click.style(group, bold=True))
            section = group
        for line in _wrapped(label, cells, first, columns):
            click.echo(line)


def _placed(path: str) -> tuple[str, str]:
    """A path's section, and its label there."""
    section, dot, rest = path.partition(".")
    return (section, f"  {rest}") if dot else ("recipe", f"  {path}")


def _wrapped(label: str, cells: list[str], first: int, columns: list[int]) -> Iterator[str]:
    left = first + sum(width + 2 for width in columns[:-1]) + 2
    parts = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells[:-1], columns, strict=False)]
    parts.append(textwrap.wrap(cells[-1], max(WIDTH - left, 20)) or [""])
    for number in range(max(map(len, parts))):
        texts = tuple(part[number] if number < len(part) else "" for part in parts)
        yield _line(label if number == 0 else "", texts, first, columns).rstrip()


def _line(label: str, texts: Row, first: int, columns: list[int]) -> str:
    return label.ljust(first) + "".join(f"  {text.ljust(w)}" for text, w in zip(texts, columns, strict=True))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return "none" if value is None else str(value) or "(empty)"
