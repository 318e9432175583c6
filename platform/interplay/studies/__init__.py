"""Running a study: what is missing is trained, what is there is kept. Running it again extends it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.study import best_cell
from interplay.studies.running import Progress, Run, StudyOutcome, locked_study
from interplay.studies.syncing import sync_study
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.cells import cell_of, earlier_cell, locate_checked
from interplay.study.definition import (
    ABLATION,
    SEARCH,
    StudyDefinition,
    StudyRow,
    study_directory,
)
from interplay.study.execution import Execution
from interplay.study.proposals import ListedCells, OptunaProposals, Space, check_feasible, make_sampler
from interplay.tracking.store import FINISHED, Cell, CellStore

__all__ = ["Progress", "StudyOutcome", "best_recipe", "run_ablation", "run_search", "run_training", "sync_study"]

METRIC = "val/top1"


def run_search(
    recipe: Recipe,
    space: Space,
    *,
    name: str,
    root: Path,
    trials: int,
    space_name: str = "space",
    sampler: str = "tpe",
    seed: int = 0,
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Searches `space` around `recipe` until the study has `trials` cells.

    Cells are selected by `val/top1`; the test split is measured for each but never shown to the sampler.

    Raises:
        InterplayError: if recipe, space, data set or name cannot work; nothing has been started then.
    """
    if trials < 1:
        raise InterplayError(f"a search needs at least one trial, not {trials}")
    execution = execution or Execution()
    execution.chosen()
    make_sampler(sampler, seed)
    check_feasible(space, recipe)
    study_directory(root, name)
    dataset = locate_checked(recipe, root)
    earlier = earlier_cell(recipe, root)
    if stopped := _earlier_stages([earlier], name, root, execution, progress, verbose):
        return stopped
    store = CellStore(root)
    definition = StudyDefinition(
        name=name,
        kind=SEARCH,
        question=f"Which changes of {recipe.name} within {space_name} are best on the validation split?",
        recipe=recipe.model_dump(mode="json"),
        dataset=str(dataset),
        metric=METRIC,
        space=space_name,
    )
    with locked_study(root, definition) as directory:
        proposals = OptunaProposals(
            directory,
            space,
            recipe,
            dataset,
            store,
            target=trials,
            metric=METRIC,
            sampler=sampler,
            seed=seed,
            earlier=earlier,
        )
        run = Run(root, definition, execution, progress or Progress(), verbose)
        return run(proposals, total=trials, known=proposals.known())


def run_ablation(
    recipe: Recipe,
    ablation: Ablation,
    *,
    name: str,
    root: Path,
    seeds: Sequence[int],
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Trains the baseline and every row of `ablation` once for each seed.

    Raises:
        InterplayError: if a row does not apply, or the data set or name cannot work; nothing has been started then.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InterplayError(f"seeds {list(seeds)} must be different whole numbers from 0 on")
    rows = [(row, {seed: r.with_seed(seed) for seed in seeds}) for row, r in ablation.resolve(recipe)]
    return _run_rows(recipe, ablation.question, rows, name, root, execution, progress, verbose)


def run_training(
    recipe: Recipe,
    *,
    root: Path,
    name: str = "",
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Trains `recipe` as it is, with its own seeds: a study of one cell, called after it if `name` is empty.

    One CPU worker trains in this process, without Ray.

    Raises:
        InterplayError: if the recipe, data set or name cannot work; nothing has been started then.
    """
    name = name or f"{recipe.name}-{cell_of(recipe, root).fingerprint[:8]}"
    rows = [(Row(BASELINE, {}), {recipe.seeds.init: recipe})]
    return _run_rows(recipe, f"One run of {recipe.name}", rows, name, root, execution, progress, verbose)


def _run_rows(
    recipe: Recipe,
    question: str,
    recipes: Sequence[tuple[Row, dict[int, Recipe]]],
    name: str,
    root: Path,
    execution: Execution | None,
    progress: Progress | None,
    verbose: bool,
) -> StudyOutcome:
    execution = execution or Execution()
    execution.chosen()
    study_directory(root, name)
    dataset = locate_checked(recipe, root)
    rows: list[StudyRow] = []
    cells: dict[str, Cell] = {}
    for row, by_seed in recipes:
        row_cells = {seed: Cell(one, dataset, earlier_cell(one, root)) for seed, one in by_seed.items()}
        for cell in row_cells.values():
            cells.setdefault(cell.fingerprint, cell)
        fingerprints = {seed: cell.fingerprint for seed, cell in row_cells.items()}
        rows.append(StudyRow(row.label, _plain(row.changes), fingerprints, dict(row.published)))
    earlier = [cell.earlier for cell in cells.values()]
    if stopped := _earlier_stages(earlier, name, root, execution, progress, verbose):
        return stopped
    definition = StudyDefinition(
        name=name,
        kind=ABLATION,
        question=question,
        recipe=recipe.model_dump(mode="json"),
        dataset=str(dataset),
        metric=METRIC,
        rows=rows,
    )
    # seed by seed, so that an ablation that is stopped early has whole pairs
    ordered = sorted(cells.values(), key=lambda cell: cell.seed)
    with locked_study(root, definition):
        missing = CellStore(root).missing(ordered)
        run = Run(root, definition, execution, progress or Progress(), verbose)
        return run(ListedCells(missing), total=len(ordered), known=ordered)


def _earlier_stages(
    cells: Sequence[Cell | None],
    name: str,
    root: Path,
    execution: Execution,
    progress: Progress | None,
    verbose: bool,
) -> StudyOutcome | None:
    """Trains the earlier stages that are missing, each as a study of its own; its outcome if one did not end well."""
    store = CellStore(root)
    stages = [cell for cell in cells if cell is not None]
    for cell in store.missing(stages):
        stage = f"{name}-before-{cell.fingerprint[:8]}"
        outcome = run_training(
            cell.recipe, root=root, name=stage, execution=execution, progress=progress, verbose=verbose
        )
        if not outcome.complete:
            return outcome
    for cell in stages:
        result = store.result(cell.fingerprint)
        if result is None or result.status != FINISHED:
            raise InterplayError(
                f"the earlier stage {cell.recipe.name} diverged ({cell.fingerprint}); change it first"
            )
    return None


def _plain(changes: Any) -> dict[str, Any]:
    return {k: v.model_dump(mode="json") if hasattr(v, "model_dump") else v for k, v in dict(changes).items()}


def best_recipe(root: Path, name: str) -> Recipe:
    """The recipe of a search that is best on the validation split, called `best of NAME`.

    Raises:
        InterplayError: if there is no such search or it has no finished cell.
    """
    return best_cell(root, name).model_copy(update={"name": f"best of {name}"})
