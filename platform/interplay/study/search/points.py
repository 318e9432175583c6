"""Where a search begins: points that are tried first, and cells of other studies that its sampler is told of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.samplers import RandomSampler

from interplay.errors import InterplayError, closest
from interplay.recipe import Recipe, read_recipe
from interplay.study.definition import SEARCH, read_definition, study_directory
from interplay.study.search.records import CELL, open_study
from interplay.study.search.spaces import (
    Point,
    Space,
    SpaceFunction,
    answers_of,
    bind,
    changes_of,
    published_points,
    random_draws,
    replay,
)
from interplay.tracking.store import FINISHED, CellStore

PUBLISHED = "published:"

Start = str | Recipe | Point
"""A point to try first: `published:NAME`, a YAML file, a recipe whose values are taken, or the values."""


@dataclass(frozen=True)
class StartPoint:
    """A point to try first; what it leaves open is drawn."""

    name: str
    params: Mapping[str, Any]

    @property
    def tag(self) -> str:
        """What its record is marked with."""
        return f"{self.name}: {json.dumps(dict(self.params), sort_keys=True)}"


@dataclass(frozen=True)
class WarmCell:
    """A finished cell of another study that this search could have proposed, and how its space says it."""

    fingerprint: str
    params: Mapping[str, Any]


def start_points(
    starts: Sequence[Start],
    space: SpaceFunction,
    base: Recipe,
    *,
    published_first: bool = False,
    refuse: Callable[[Recipe], str] = lambda recipe: "",
) -> tuple[StartPoint, ...]:
    """The points of `starts`, then, if wanted, those published points of the space that it allows around `base`.

    Raises:
        InterplayError: if there is no such point, or the space, the recipe or a constraint does not allow it.
    """
    bound = bind(space, base)
    names = {name for draw in random_draws(bound, 64) for name in draw}
    ours = published_points(space)
    found = []
    for number, start in enumerate(starts, start=1):
        for point in _read(start, ours, names, number):
            _check(point, bound, base, names, refuse)
            found.append(point)
    for name, params in ours.items() if published_first else ():
        point = StartPoint(name, {k: v for k, v in params.items() if k in names})
        try:
            _check(point, bound, base, names, refuse)
        except InterplayError:
            continue  # of a model of another depth or width
        if point.params:
            found.append(point)
    return tuple(found)


def _read(start: Start, ours: Mapping[str, Point], names: set[str], number: int) -> Iterator[StartPoint]:
    if isinstance(start, Recipe):
        values = answers_of(start)
        yield StartPoint(start.name, {name: values[name] for name in names if name in values})
    elif not isinstance(start, str):
        yield StartPoint(f"given {number}", start)
    elif start.startswith(PUBLISHED):
        name = start.removeprefix(PUBLISHED)
        if name not in ours:
            there = closest(name, ours) or f"; it has: {', '.join(ours) or 'none'}"
            raise InterplayError(f"the space has no published point {name!r}{there}")
        yield StartPoint(name, {k: v for k, v in ours[name].items() if k in names})
    else:
        yield from _read_file(Path(start))


def _read_file(path: Path) -> Iterator[StartPoint]:
    if not path.is_file():
        raise InterplayError(
            f"--start-from {path}: there is no such file; give a YAML file, {PUBLISHED}NAME or a RECIPE"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InterplayError(f"{path} is not YAML: {str(error).splitlines()[0]}") from None
    points = content if isinstance(content, list) else [content]
    for number, point in enumerate(points):
        if not isinstance(point, dict) or not point:
            raise InterplayError(f"{path} must hold one mapping of parameters to values, or a list of them")
        yield StartPoint(f"{path.name}#{number}" if len(points) > 1 else path.name, point)


def _check(point: StartPoint, space: Space, base: Recipe, names: set[str], refuse: Callable[[Recipe], str]) -> None:
    """Refuses a point that cannot be proposed; of what it leaves open one draw is looked at."""
    for name in point.params:
        if name not in names:
            near = closest(name, names) or f"; it has: {', '.join(sorted(names))}"
            raise InterplayError(f"start point {point.name}: the space has no parameter {name!r}{near}")
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    study.enqueue_trial(dict(point.params))
    trial = study.ask()
    with warnings.catch_warnings(record=True) as outside:
        warnings.simplefilter("always")
        try:
            changes = dict(space(trial))
        except (ValueError, InterplayError) as error:  # not one of the choices
            raise InterplayError(f"start point {point.name}: {error}; change it or widen the space") from None
    if outside:
        raise InterplayError(f"start point {point.name}: {outside[0].message} Change it or widen the space")
    if set(trial.params) == set(point.params) and (reason := refuse(base.with_(changes))):
        raise InterplayError(f"start point {point.name}: {reason}")


def warm_cells(
    root: Path, studies: Sequence[str], space: Space, fingerprint_of: Callable[[Mapping[str, Any]], str]
) -> tuple[tuple[WarmCell, ...], str]:
    """Finished cells of other studies that `space` can make exactly as they are, and a sentence on the rest.

    A cell that differs from them in anything the space does not vary, such as the number of epochs, is left out: its
    accuracy belongs to another recipe.

    Args:
        root: the storage root.
        studies: their names, searches or ablations.
        space: of the new search, around its recipe.
        fingerprint_of: changes -> the fingerprint of the cell they make.

    Raises:
        InterplayError: if there is no such study, or none of its cells can be taken.
    """
    store, found, sentences = CellStore(root), {}, []
    for name in studies:
        taken, finished = {}, 0
        for fingerprint, params in _cells_of(root, name):
            result = store.result(fingerprint)
            if result is None or result.status != FINISHED:
                continue
            finished += 1
            if (cell := _as_proposed(store, fingerprint, params, space, fingerprint_of)) is not None:
                taken[fingerprint] = cell
        if not taken:
            raise InterplayError(
                f"--warm-start {name}: none of its {finished} finished cells is one this search could propose; "
                f"use --start-from best:{name} to begin where it ended"
            )
        found.update(taken)
        sentences.append(f"{len(taken)} of the {finished} finished cells of {name}")
    return tuple(found.values()), ", ".join(sentences)


def _cells_of(root: Path, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    definition = read_definition(root, name)
    if definition.kind == SEARCH:
        records = open_study(study_directory(root, name)).get_trials(deepcopy=False)
        return [(str(record.user_attrs[CELL]), record.params) for record in records]
    return [(fingerprint, {}) for row in definition.rows for fingerprint in row.cells.values()]


def _as_proposed(
    store: CellStore,
    fingerprint: str,
    params: Mapping[str, Any],
    space: Space,
    fingerprint_of: Callable[[Mapping[str, Any]], str],
) -> WarmCell | None:
    """The cell as `space` would have suggested it, if it can."""
    try:
        answers = answers_of(read_recipe(store.directory(fingerprint) / "recipe.yaml"))
        trial = replay(space, {**answers, **params})
        same = fingerprint_of(changes_of(space, trial.params)) == fingerprint
    except InterplayError:
        return None
    return WarmCell(fingerprint, trial.params) if same else None
