"""Before an ablation runs: its rows on the data that is there, at the declared scale, and what each still needs."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from interplay.errors import InterplayError, closest
from interplay.recipe import Recipe, find_recipe
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.needs import OTHER_SETS, filled, missing, placeholders, training_key, usable, with_given
from interplay.study.scale import PATHS, Scale, scaled

UNCHANGED = "no change"
"""What the recipe itself is called where another row is the baseline."""


@dataclass(frozen=True)
class Setting:
    """What is the same for all rows of an ablation.

    Attributes:
        data: data set in place of the ablation's own; empty leaves it.
        changes: dotted path -> value, of every row's last stage before its own changes.
        given: name -> path of what rows need: a data set, a `teacher`, a second test set `v2`, trained values.
        scale: that all recipes are brought to.
        rows: patterns of labels, as `d24*`; empty is all.
        baseline: label of the row that the others are compared with; empty leaves it.
        skip_unavailable: rows that lack something stay in the table with the reason, and the others are trained.
        every_stage: each seed of a row has earlier stages of its own.
    """

    data: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)
    scale: Scale | None = None
    rows: Sequence[str] = ()
    baseline: str = ""
    skip_unavailable: bool = False
    every_stage: bool = False


@dataclass(frozen=True)
class Plan:
    """An ablation that can be run.

    Attributes:
        baseline: its recipe.
        ablation: rows with their final recipes; those that are not trained say why.
        unavailable: one sentence for each row that lacks something.
        notes: one sentence for each other thing to know before it runs.
    """

    baseline: Recipe
    ablation: Ablation
    unavailable: tuple[str, ...]
    notes: tuple[str, ...]

    def check(self, skip_unavailable: bool) -> None:
        """Refuses what cannot be run as it is.

        Raises:
            InterplayError: if rows lack something that is not to be skipped, or none is left.
        """
        trained = sum(not row.not_run for row in self.ablation.rows)
        if self.unavailable and not skip_unavailable:
            more = f" (and {len(self.unavailable) - 1} more rows)" if len(self.unavailable) > 1 else ""
            raise InterplayError(f"{self.unavailable[0]}{more}; --skip-unavailable trains the other {trained}")
        if self.ablation.rows and not trained and self.ablation.kind != "repeats":
            raise InterplayError(
                f"no row is left to compare with the {BASELINE}: {_first_reason(self.ablation.rows)}"
            )


def plan(ablation: Ablation, setting: Setting, root: Path) -> Plan:
    """`ablation` under `setting`. Nothing is started or written.

    Raises:
        InterplayError: if a row does not apply, the baseline lacks something, or `setting` names what is not there.
    """
    if ablation.baseline is None and ablation.rows and all(row.not_run for row in ablation.rows):
        raise InterplayError(f"nothing of it can be trained here: {_first_reason(ablation.rows)}")
    if ablation.baseline is None:
        raise InterplayError("this ablation has no baseline of its own; name a RECIPE before it")
    base = ablation.baseline.with_(dict(setting.changes))
    lines = [_resolved(row, base, setting) for row in ablation.lines()]
    lines = _selected(lines, ablation, setting)
    _refuse_unused(lines, ablation, setting)
    main = ablation.dataset or ablation.baseline.data.dataset
    given = {**({main: setting.data} if setting.data else {}), **setting.given}
    lines = [line.on(lambda recipe: with_given(recipe, given)) for line in lines]
    full = lines
    if setting.scale is not None:
        _refuse_twice(setting.scale, setting.changes)
        factors = setting.scale.factors(lines[0].sure())
        lines = [line.on(lambda recipe: scaled(recipe, factors)).keeping(setting.changes) for line in lines]
        lines = _still_different(full, lines, setting.scale)
    lines = [line.checked(root, main, given.values()) for line in lines]
    first = lines[0]
    if first.lacks:
        raise InterplayError(f"the {BASELINE} {first.lacks}")
    found = replace(
        ablation,
        question=_question(ablation, setting, first),
        rows=[line.final(first.sure()) for line in lines[1:]],
        published=first.row.published,
        published_std=first.row.published_std,
        baseline=first.sure(),
        scale=dict(setting.scale.sizes) if setting.scale else {},
    )
    unavailable = tuple(f"row {line.row.label!r} {line.lacks}" for line in lines if line.lacks)
    return Plan(first.sure(), found, unavailable, tuple(_notes(full, found, setting)))


@dataclass(frozen=True)
class _Line:
    """A row on its way to the table: its recipe, or what it lacks for that. Neither: it is not trained."""

    row: Row
    recipe: Recipe | None
    lacks: str = ""

    def on(self, change: Callable[[Recipe], Recipe]) -> _Line:
        try:
            return self if self.recipe is None else replace(self, recipe=change(self.recipe))
        except InterplayError as error:
            raise InterplayError(f"row {self.row.label!r}: {error}") from None

    def keeping(self, changes: Mapping[str, Any]) -> _Line:
        """With the values that were asked for, not multiplied by a scale, where the row has none of its own."""
        own = {p: v for p, v in changes.items() if not any(_overlap(p, q) for q in self.row.changes)}
        return self.on(lambda recipe: recipe.with_(own)) if own else self

    def sure(self) -> Recipe:
        if self.recipe is None:
            raise InterplayError(f"the {BASELINE} {self.lacks or self.row.not_run}; choose another with --baseline")
        return self.recipe

    def checked(self, root: Path, main: str, chosen: Collection[str]) -> _Line:
        """Whether all data sets and the teacher are there; see `missing`."""
        if self.lacks or self.recipe is None:
            return self
        return replace(self, lacks=missing(self.recipe, root, main, chosen))

    def final(self, baseline: Recipe) -> Row:
        row = self.row
        if self.lacks or self.recipe is None:
            return replace(row, changes={}, recipe=None, not_run=row.not_run or self.lacks)
        return row if self._is_still(row, baseline) else replace(row, changes={}, recipe=self.recipe)

    def _is_still(self, row: Row, baseline: Recipe) -> bool:
        """Whether the row's changes of the baseline are all that there is to its recipe."""
        if row.recipe is not None or placeholders(row.changes):
            return False
        try:
            return row.of(baseline) == self.recipe
        except InterplayError:  # values of full size, at a smaller scale
            return False


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _refuse_twice(scale: Scale, changes: Mapping[str, Any]) -> None:
    for name in scale.sizes:
        if (path := PATHS[name]) in changes:
            raise InterplayError(f"-s {path} and --scale {name} set the same size; leave one of them out")


def _resolved(row: Row, base: Recipe, setting: Setting) -> _Line:
    if row.not_run:
        return _Line(row, None)
    for one in placeholders(row.changes):
        if one.name not in setting.given:
            return _Line(row, None, f"needs {one.what}; give it with --give {one.name}=PATH")
    own = find_recipe(row.recipe) if isinstance(row.recipe, str) else row.recipe
    if own is not None:
        own = own.with_(dict(setting.changes))
    changes = filled(dict(row.changes), setting.given)
    return _Line(row, replace(row, changes=changes, recipe=own).of(base))


# ----------------------------------------------------------------------------------------------- choosing
def _selected(lines: list[_Line], ablation: Ablation, setting: Setting) -> list[_Line]:
    """The rows that `setting` asks for; the first is the baseline."""
    named = {ablation.baseline_label: 0, **{line.row.label: i for i, line in enumerate(lines)}}
    labels = list(dict.fromkeys([ablation.baseline_label, *(line.row.label for line in lines[1:])]))
    first = 0
    chosen = list(range(len(lines)))
    if setting.rows:
        wanted = [label for label in labels if any(fnmatch.fnmatchcase(label, one) for one in setting.rows)]
        if not wanted:
            raise InterplayError(f"no row is called like {setting.rows[0]!r}; rows are {_listed(labels)}")
        chosen = [named[label] for label in wanted]
        own = ablation.baseline_label == BASELINE  # no line of a printed table: it belongs to every selection
        trained = (i for i in chosen if lines[i].recipe is not None)
        first = 0 if own or 0 in chosen else next(trained, 0)
    if setting.baseline:
        if setting.baseline not in named:
            near = closest(setting.baseline, labels) or f"; rows are {_listed(labels)}"
            raise InterplayError(f"no row is called {setting.baseline!r}{near}")
        first = named[setting.baseline]
    label = ablation.baseline_label if ablation.baseline_label != BASELINE else UNCHANGED
    before = replace(lines[0], row=replace(lines[0].row, label=label))
    rest = [before if i == 0 else lines[i] for i in chosen if i != first]
    return [replace(lines[first], row=replace(lines[first].row, label=BASELINE)), *rest]


def _refuse_unused(lines: Sequence[_Line], ablation: Ablation, setting: Setting) -> None:
    known = usable(line.recipe for line in lines if line.recipe is not None)
    known |= {one.name for line in lines for one in placeholders(line.row.changes)}
    known |= {name for name in OTHER_SETS if any(f"top1_{name}" in line.row.published for line in lines)}
    for name in setting.given:
        if name not in known:
            raise InterplayError(f"--give {name}: no row needs it; they can use {', '.join(sorted(known))}")


def _still_different(full: Sequence[_Line], small: Sequence[_Line], scale: Scale) -> list[_Line]:
    """A row that is the same training as one before it, and was not at full scale, has lost its question."""
    kept: list[_Line] = []
    seen: dict[Any, int] = {}
    for index, line in enumerate(small):
        if line.recipe is not None:
            twin = seen.setdefault(training_key(line.recipe), index)
            if twin != index and training_key(full[twin].sure()) != training_key(full[index].sure()):
                line = replace(
                    line, recipe=None, lacks=f"is the same training as {small[twin].row.label!r} at {scale}"
                )
        kept.append(line)
    return kept


# ------------------------------------------------------------------------------------------- for people
def _question(ablation: Ablation, setting: Setting, first: _Line) -> str:
    said = ablation.question
    if setting.baseline or setting.rows:
        said += f" Here the baseline is {setting.baseline or first.sure().name!r}."
    if setting.scale is not None:
        said += (
            f" At the declared scale {setting.scale}: the baseline has these sizes, all rows keep their ratios to it."
        )
    return said


def _notes(lines: Sequence[_Line], found: Ablation, setting: Setting) -> list[str]:
    notes = _published_only([line.row for line in lines if line.row.not_run])
    if any(line.recipe is not None and line.recipe.after is not None for line in lines):
        shared = "earlier stages are trained once, with their own seeds; the rows' seeds are of the last stage"
        own = "earlier stages are trained once for each seed; the rows' seeds are of all stages"
        notes.append(own if setting.every_stage else shared)
    sizes = {"width", "depth", "patch_size"} & set(setting.scale.sizes if setting.scale else {})
    if sizes:
        fixed = [
            line.row.label for line in lines if line.recipe is not None and not hasattr(line.recipe.model, "width")
        ]
        notes += [
            f"row {label!r} keeps its model: it has no {' or '.join(sorted(sizes))} to scale" for label in fixed
        ]
    also = dict(found.baseline.evaluation.also) if found.baseline is not None else {}
    for name in OTHER_SETS:
        printed = any(f"top1_{name}" in line.row.published for line in lines)
        if printed and name not in setting.given and name not in also:
            notes.append(f"top1_{name} is published only: give that test set with --give {name}=PATH.beton")
    failed = [row.label for row in found.rows if row.expects_failure and not row.not_run]
    notes += [f"row {label!r} failed where it was published, and may here" for label in failed]
    return notes


def _published_only(rows: Sequence[Row]) -> list[str]:
    """Rows without a training, those of the same reason in one line."""
    reasons = dict.fromkeys(row.not_run for row in rows)
    found = {reason: [row.label for row in rows if row.not_run == reason] for reason in reasons}
    return [f"published only, {reason}: {_listed(labels)}" for reason, labels in found.items()]


def _first_reason(rows: Sequence[Row]) -> str:
    row = next(row for row in rows if row.not_run)
    return f"row {row.label!r}: {row.not_run}"


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels[:6])) + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
