"""Options of commands about ablations, the plan they make, and the list of all that there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from interplay.cli.options import find_ablation, recipe_of
from interplay.errors import InterplayError
from interplay.recipe import Recipe, parse_assignments

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = ("model", "give", "scale", "rows", "baseline", "skip_unavailable", "seed_every_stage")


def ablation_options(command: Command) -> Command:
    """What is the same for all rows of an ablation."""
    for option in (
        click.option(
            "--seed-every-stage",
            is_flag=True,
            help="Each seed has earlier stages of its own. They are trained once for every seed, and the spread is "
            "that of the whole training; without it all seeds share one, and the spread is of the last stage alone.",
        ),
        click.option("--skip-unavailable", is_flag=True, help="Train rows that lack nothing; the others say why."),
        click.option("--baseline", default="", metavar="LABEL", help="The row that the others are compared with."),
        click.option("--rows", multiple=True, metavar="PATTERN", help="Only rows with such a label: 'd24*'."),
        click.option(
            "--scale", default="", metavar="SIZES", help="Smaller, with all ratios kept: epochs=20,width=192,depth=4."
        ),
        click.option(
            "--give",
            multiple=True,
            metavar="NAME=PATH",
            help="What rows need: cifar10=c10.beton, teacher=t.pth, v2=v2.beton.",
        ),
        click.option("--model", default="", help="In place of the baseline's: a recipe, or an architecture by name."),
    ):
        command = option(command)
    return command


def planned(
    ctx: click.Context,
    reference: str | None,
    ablation: str,
    assignments: tuple[str, ...],
    data: str | None,
    options: dict[str, Any],
) -> Any:
    """The plan of an ablation, told to the person as far as it is not what they would expect.

    Args:
        ctx: with the storage root.
        reference: the baseline's recipe; None is the ablation's own.
        ablation: its name.
        assignments: `path=value`, for all rows.
        data: data set in place of the ablation's own.
        options: those of `ablation_options`.

    Raises:
        InterplayError: if it cannot be run; nothing has been started then.
    """
    from interplay.study.planning import Setting, plan
    from interplay.study.scale import parse_scale

    given = {}
    for one in options["give"]:
        name, equals, path = one.partition("=")
        if not equals or not path:
            raise InterplayError(f"--give {one!r} is not of the form name=path, as in --give cifar10=c10.beton")
        given[name] = path
    setting = Setting(
        data=data or "",
        changes=parse_assignments(assignments),
        given=given,
        scale=parse_scale(options["scale"]) if options["scale"] else None,
        rows=options["rows"],
        baseline=options["baseline"],
        skip_unavailable=options["skip_unavailable"],
        every_stage=options["seed_every_stage"],
    )
    recipe = _baseline(ctx, reference, ablation, options["model"])
    found = plan(find_ablation(ablation, recipe), setting, ctx.obj["root"])
    for line in (*found.notes, *found.unavailable):
        click.echo(line, err=True)
    found.check(options["skip_unavailable"])
    return found


def _baseline(ctx: click.Context, reference: str | None, ablation: str, model: str) -> Recipe | None:
    recipe = None if reference is None else recipe_of(ctx, reference, (), None)
    if not model:
        return recipe
    from interplay.recipe.catalogue import ARCHITECTURES
    from interplay.study.ablation import with_architecture

    if model not in ARCHITECTURES:
        if recipe is not None:
            raise InterplayError(
                f"--model {model} is no architecture, and {reference} is the recipe; leave one of them out"
            )
        try:
            return recipe_of(ctx, model, (), None)
        except InterplayError as error:
            raise InterplayError(f"--model: {error}; or give an architecture of docs/models.md") from None
    base = recipe or find_ablation(ablation).baseline
    if base is None:
        raise InterplayError(f"{ablation} has no baseline whose model could be replaced; name a RECIPE before it")
    return with_architecture(base, model)


def list_ablations() -> str:
    """Every ablation with what it is and what it needs, as a text table."""
    from interplay.recipe.find import names
    from interplay.report.draw import DASH, to_text
    from interplay.study.needs import needs

    lines = []
    for name in names("search_spaces.ablations"):
        found = find_ablation(name)
        rows = found.lines() if found.baseline or not all(row.not_run for row in found.rows) else found.rows
        trained = sum(not row.not_run for row in rows)
        title = found.question.partition(" (")[0].partition("?")[0]
        first, rest = needs(found)[:3], needs(found)[3:]
        needed = ", ".join([*first, *([f"{len(rest)} more"] if rest else [])])
        lines.append([name, title, found.kind or DASH, f"{trained}/{len(rows)}", needed or DASH])
    return to_text((["ablation", "question", "kind", "rows", "needs"], lines))
