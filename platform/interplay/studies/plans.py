"""A study looked through before it starts: what it would train, refused if it cannot work. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from interplay.data.manifest import read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe, difference
from interplay.studies.searching import Wanted
from interplay.studies.seeds import Repeats, Seeding, seeded_rows
from interplay.study.ablation import Ablation, Row
from interplay.study.cells import earlier_cell, locate_checked
from interplay.study.definition import (
    ABLATION,
    SEARCH,
    StudyDefinition,
    StudyRow,
    check_definition,
    study_directory,
)
from interplay.study.driving.execution import Execution
from interplay.study.driving.room import check_room
from interplay.study.foresight.forecast import check_cells
from interplay.study.foresight.preflight import check_dimensions, check_weights_fit
from interplay.study.search.objectives import violations
from interplay.study.search.proposals import Search
from interplay.study.search.records import CELL, is_begun, open_study
from interplay.study.search.samplers import GRID
from interplay.study.search.spaces import SpaceFunction, bind, changes_of, grid, random_draws
from interplay.tracking.store import Cell, CellStore

METRIC = "val/top1"
UNNAMED = "(not named)"
"""What a study is called that is only looked at."""

_SAMPLE = 8
"""Cells of a search that are looked at before it starts."""


@dataclass(frozen=True)
class SearchPlan:
    """A search that can be run.

    Attributes:
        definition: of the study.
        search: what is wanted of it.
        remarks: what a person should know of it.
        dataset: of all its cells.
        earlier: the stage that they start from, if there is one.
        dimensions: of the space; each changes the training.
        sample: some cells that it may propose.
        done: cells that it has trained already.
    """

    definition: StudyDefinition
    search: Search
    remarks: list[str]
    dataset: Path
    earlier: Cell | None
    dimensions: list[str]
    sample: list[Cell]
    done: int


@dataclass(frozen=True)
class RowsPlan:
    """An ablation or a single training that can be run.

    Attributes:
        definition: of the study.
        cells: each once, seed by seed.
        shared: sentences about rows that share cells.
    """

    definition: StudyDefinition
    cells: list[Cell]
    shared: list[str] = field(default_factory=list)


# --------------------------------------------------------------------------------------------- searches
def plan_search(
    recipe: Recipe,
    space: SpaceFunction,
    wanted: Wanted,
    *,
    name: str,
    root: Path,
    execution: Execution,
) -> SearchPlan:
    """As `run_search` until its first cell; without a `name` nothing stored is compared.

    Raises:
        InterplayError: as `run_search`.
    """
    check_room(execution)
    execution.check_cuts(recipe, wanted.objectives)
    if wanted.population:
        execution.refuse_cuts("a population")
    wanted.check(space, recipe)
    directory = study_directory(root, name or UNNAMED)
    dataset = locate_checked(recipe, root)
    earlier = earlier_cell(recipe, root)
    search, remarks = wanted.plan(space, recipe, dataset, earlier, root=root, name=name or UNNAMED)
    definition = StudyDefinition(
        name=name,
        kind=SEARCH,
        question=f"Which changes of {recipe.name} within {wanted.space_name} are best on the validation split?",
        recipe=recipe.model_dump(mode="json"),
        dataset=str(dataset),
        metric=search.objectives[0].name,
        space=wanted.space_name,
        objectives=[str(objective) for objective in search.objectives],
        constraints=[str(constraint) for constraint in search.constraints],
        population=search.population,
    )
    if name:
        check_definition(root, definition)
    dimensions = check_dimensions(space, recipe, wanted.space_name)
    done = _finished(directory, CellStore(root))
    sample = list(_sample(space, recipe, dataset, earlier, search))
    check_cells(sample, root, execution, total=search.target, done=done)
    if search.population:
        check_weights_fit(sample, wanted.space_name)
    return SearchPlan(definition, search, remarks, dataset, earlier, dimensions, sample, done)


def _sample(
    space: SpaceFunction, recipe: Recipe, dataset: Path, earlier: Cell | None, search: Search
) -> Iterator[Cell]:
    """Different cells that the search may have, not all of them; the recipe itself if none is found so quickly."""
    bound, manifest = bind(space, recipe), read_manifest(dataset)
    drawn = islice(grid(bound), _SAMPLE) if search.sampler == GRID else random_draws(bound, _SAMPLE)
    seen: set[str] = set()
    for params in drawn:
        try:
            changed = recipe.with_(changes_of(bound, params))
        except InterplayError:
            continue
        if changed.after != recipe.after:
            raise InterplayError("a search varies one stage: search the earlier stage in a study of its own")
        cell = Cell(changed, dataset, earlier)
        if cell.fingerprint in seen:
            continue
        if violations(search.constraints, changed, manifest):
            continue
        seen.add(cell.fingerprint)
        yield cell
    if not seen:
        yield Cell(recipe, dataset, earlier)


def _finished(directory: Path, store: CellStore) -> int:
    """Cells of a search that have a result."""
    if not is_begun(directory):
        return 0
    cells = {str(record.user_attrs[CELL]) for record in open_study(directory).get_trials(deepcopy=False)}
    return sum(store.result(cell) is not None for cell in cells)


# -------------------------------------------------------------------------------------------- ablations
def plan_ablation(
    recipe: Recipe,
    ablation: Ablation,
    repeats: Repeats,
    *,
    name: str,
    root: Path,
    execution: Execution,
) -> RowsPlan:
    """As `run_ablation` until its first cell; with `auto` it is the first look. A `name` may be missing.

    Raises:
        InterplayError: as `run_ablation`.
    """
    seeded = seeded_rows(recipe, ablation, repeats, name=name or UNNAMED, root=root, execution=execution)
    rows = seeded.rows()
    return plan_rows(recipe, ablation, rows, name=name, root=root, execution=execution, seeding=seeded.seeding)


def plan_rows(
    recipe: Recipe,
    ablation: Ablation,
    recipes: Sequence[tuple[Row, dict[int, Recipe]]],
    *,
    name: str,
    root: Path,
    execution: Execution,
    seeding: Seeding,
) -> RowsPlan:
    """The study of these rows, each with its recipes by seed.

    Raises:
        InterplayError: if the data set, a cell or the name cannot work.
    """
    if len(recipes) > 1 or execution.chosen() == "train" or execution.gpus:
        check_room(execution)
    study_directory(root, name or UNNAMED)
    dataset = locate_checked(recipe, root)
    rows: list[StudyRow] = []
    cells: dict[str, Cell] = {}
    for row, by_seed in recipes:
        # seeds change no data set, so a row's is looked at once
        own = next((locate_checked(r, root) for r in by_seed.values() if r.data != recipe.data), dataset)
        row_cells = {seed: Cell(one, own, earlier_cell(one, root)) for seed, one in by_seed.items()}
        for cell in row_cells.values():
            cells.setdefault(cell.fingerprint, cell)
        fingerprints = {seed: cell.fingerprint for seed, cell in row_cells.items()}
        rows.append(_study_row(row, recipe, next(iter(by_seed.values()), None), fingerprints))
    definition = StudyDefinition(
        name=name,
        kind=ABLATION,
        question=ablation.question,
        recipe=recipe.model_dump(mode="json"),
        dataset=str(dataset),
        metric=METRIC,
        rows=rows,
        scale=dict(ablation.scale),
        looks=seeding.looks,
        looked=seeding.looked,
        margin=seeding.margin,
        every_stage=seeding.every_stage,
    )
    if name:
        check_definition(root, definition)
    # seed by seed, so that an ablation that is stopped early has whole pairs
    ordered = sorted(cells.values(), key=lambda cell: cell.seed)
    check_cells(ordered, root, execution)
    return RowsPlan(definition, ordered, _shared(rows))


def _shared(rows: Sequence[StudyRow]) -> list[str]:
    """A sentence for every cell that several rows or seeds have."""
    owners: dict[str, list[str]] = {}
    for row in rows:
        for seed, cell in row.cells.items():
            owners.setdefault(cell, []).append(f"{row.label} (seed {seed})")
    return [f"{' and '.join(names)} are one cell, {cell}" for cell, names in owners.items() if len(names) > 1]


def _study_row(row: Row, baseline: Recipe, recipe: Recipe | None, cells: dict[int, str]) -> StudyRow:
    changed = {} if recipe is None or row.recipe is None else difference(baseline, recipe)
    return StudyRow(
        label=row.label,
        changes={**changed, **_plain(row.changes)},
        cells=cells,
        published=dict(row.published),
        published_std=dict(row.published_std),
        expects_failure=row.expects_failure,
        not_run=row.not_run,
    )


def _plain(changes: Any) -> dict[str, Any]:
    return {k: v.model_dump(mode="json") if hasattr(v, "model_dump") else v for k, v in dict(changes).items()}
