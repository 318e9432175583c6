"""From a printed table to an ablation that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interplay.recipe import Recipe, flatten
from interplay.study.ablation import BASELINE, Ablation, Row
from recipes.sources import procedures
from search_spaces.ablations.sources.facts import FINE_TUNED, Line, Table
from search_spaces.ablations.sources.recipes import NotHere, first_stage, second_stage
from search_spaces.ablations.sources.terms import TUNED_DROP_PATH, evaluated, structure, training, under

MAIN = "imagenet1k"
"""The data set that `--data` takes the place of, wherever a table has it."""
SOURCE = "top1_imagenet1k"
"""In tables of transfer: the accuracy of the first training."""
_ELSEWHERE = "published elsewhere, or no result of a training"
_OTHER_MODEL = "has a model or a procedure of its own, which --model does not replace"


def ablation(table: Table, baseline: Recipe | None = None) -> Ablation:
    """The table as it is printed; where its rows were also fine-tuned at 384, before that (see `fine_tuned`).

    Args:
        table: of the thesis.
        baseline: takes the place of the table's own recipe. Rows that have a model or a procedure of their own are
            not trained then.
    """
    if table.has_fine_tuned_column:
        lines = [replace(line, changes=_without_second_stage(line.changes)) for line in table.lines]
        return _ablation(replace(table, lines=tuple(lines)), baseline, staged=False)
    lines = [one for line in table.lines for one in _targets(table, line)]
    return _ablation(replace(table, lines=tuple(lines)), baseline, staged=True)


def fine_tuned(table: Table, baseline: Recipe | None = None) -> Ablation:
    """The table's column after fine-tuning at 384: rows whose first training is a row of `ablation(table)`."""
    lines = [
        replace(
            line,
            published={"top1": line.published[FINE_TUNED]},
            std=_of_column(line.std),
            changes={"ft.recipe": table.fine_tuning, **line.changes},
            same_as="",
        )
        for line in table.lines
        if FINE_TUNED in line.published
    ]
    title = f"{table.title}, fine-tuned at 384"
    return _ablation(replace(table, title=title, lines=tuple(lines)), baseline, staged=True)


@dataclass(frozen=True)
class _Setting:
    """A line as a recipe: one of ours, and dotted paths that change it."""

    base: Recipe
    changes: dict[str, Any]
    whose: tuple[str, str]  # procedure and model, as printed

    @property
    def recipe(self) -> Recipe:
        return self.base.with_(self.changes)


def _ablation(table: Table, given: Recipe | None, *, staged: bool) -> Ablation:
    settings: list[_Setting | str] = [_try(table, line, given, staged) for line in table.lines]
    first = _baseline(table, settings)
    if first is None and table.baseline is None:
        return Ablation(
            _question(table, ""),
            [_row(*pair, None, False) for pair in zip(table.lines, settings, strict=True)],
            kind=table.kind,
        )
    if first is None:
        own, label, line = _setting(table, Line("", "", table.baseline_changes, {}), given, staged), "", None
    else:
        line, found = table.lines[first], settings[first]
        assert isinstance(found, _Setting), f"the baseline of {table.id} cannot be trained: {found}"
        own, label = found, line.label
    others = [pair for i, pair in enumerate(zip(table.lines, settings, strict=True)) if i != first]
    labels = {one.id: BASELINE if i == first else one.label for i, one in enumerate(table.lines)}
    return Ablation(
        question=_question(table, label),
        rows=[
            replace(_row(*pair, own, given is not None), same_as=labels.get(pair[0].same_as, "")) for pair in others
        ],
        published=line.published if line else {},
        published_std=line.std if line else {},
        baseline=own.recipe,
        baseline_label=label or BASELINE,
        kind=table.kind,
        dataset=MAIN if MAIN in _datasets(own.recipe) else own.recipe.data.dataset,
    )


def _baseline(table: Table, settings: Sequence[_Setting | str]) -> int | None:
    """Position of the line that others are compared with; None is a baseline that is no line."""
    if table.baseline == 0:
        return None
    if table.baseline is not None:
        return next(i for i, line in enumerate(table.lines) if line.number == table.baseline)
    return next((i for i, setting in enumerate(settings) if isinstance(setting, _Setting)), None)


def _question(table: Table, label: str) -> str:
    where = "section" if table.id[0] == "S" and table.id[1].isdigit() else ""
    source = f"thesis {where} {table.id.removeprefix('S') if where else table.id}".replace("  ", " ")
    said = f" The baseline is {label!r}." if label else ""
    assumed = f" Assumed: {table.note}." if table.note else ""
    return f"{table.title} ({source}).{said}{assumed}".replace("..", ".")


def _row(line: Line, setting: _Setting | str, own: _Setting | None, replaced: bool) -> Row:
    row = Row(line.label, {}, line.published, published_std=line.std, expects_failure=line.failed)
    if isinstance(setting, str) or own is None:
        return replace(row, not_run=str(setting))
    if replaced and setting.whose != own.whose:
        return replace(row, not_run=_OTHER_MODEL)
    base = None if setting.base == own.recipe else setting.base
    return replace(row, changes=setting.changes, recipe=base)


def _try(table: Table, line: Line, given: Recipe | None, staged: bool) -> _Setting | str:
    """The line as a recipe, or why it is not trained."""
    if not line.rerun:
        return _ELSEWHERE
    try:
        return _setting(table, line, given, staged)
    except NotHere as why:
        return str(why)


def _setting(table: Table, line: Line, given: Recipe | None, staged: bool) -> _Setting:
    changes = dict(line.changes)
    procedure, model = changes.get("recipe", table.procedure), changes.get("model", table.model)
    first = given or first_stage(procedure, model, changes.get("target", table.target))
    facts = procedures().get(procedure)
    stated: Mapping[str, Any] = facts.stated(model) if facts is not None else {}
    terms = under(changes, "hp.")
    if "drop_path" in terms and terms["drop_path"] is None:
        terms["drop_path"] = TUNED_DROP_PATH[changes.get("arch.depth", 12)]
    trained = training(terms, first, stated, model)
    built = structure(under(changes, "arch."), first)
    second = changes.get("ft.recipe", table.fine_tuning if under(changes, "ft.") else "")
    if not second or not staged:
        both = {**trained, **built}
        return _Setting(first, {**both, **evaluated(changes, first.with_(_trainable(both)))}, (procedure, model))
    taught = first.with_({path: v for path, v in trained.items() if path.startswith("distillation")})
    last = taught
    stages = [second] if isinstance(second, str) else second
    for name in stages:
        side = changes.get("ft.resolution") if name == stages[-1] else None
        last = second_stage(last, name, model, side)
    before = "after." * len(stages)
    paths = {f"{before}{path}": value for path, value in trained.items() if not path.startswith("distillation")}
    for depth in range(len(stages) + 1):
        paths |= {f"{'after.' * depth}{path}": value for path, value in built.items()}
    own = {term: value for term, value in under(changes, "ft.").items() if term not in ("recipe", "resolution")}
    paths |= training(own, last, {}, model)
    return _Setting(last, {**paths, **evaluated(changes, last)}, (procedure, model))


def _trainable(paths: Mapping[str, Any]) -> dict[str, Any]:
    """Those that hold no value which is yet to be given."""
    return {path: value for path, value in paths.items() if path != "model.scale" or not isinstance(value, dict)}


def _targets(table: Table, line: Line) -> list[Line]:
    """A line of a transfer has a number for each data set: one line for each of them."""
    if table.kind != "transfer":
        return [line]
    others = {name: value for name, value in line.published.items() if not name.startswith("top1_") or name == SOURCE}
    return [
        replace(
            line,
            label=f"{line.label} on {name.removeprefix('top1_')}",
            changes={**line.changes, "target": name.removeprefix("top1_")},
            published={"top1": value, **others},
        )
        for name, value in line.published.items()
        if name not in others
    ]


def _without_second_stage(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if not key.startswith("ft.")}


def _of_column(std: Mapping[str, float]) -> dict[str, float]:
    return {"top1": std[FINE_TUNED]} if FINE_TUNED in std else {}


def _datasets(recipe: Recipe) -> list[str]:
    return [value for path, value in flatten(recipe).items() if path.endswith("data.dataset")]
