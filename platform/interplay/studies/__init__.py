"""Running a study: what is missing is trained, what is there is kept. Running it again extends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from interplay.cluster.session import session
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.study import best_cell
from interplay.studies.plans import plan_rows, plan_search, refuse_auto_options, table
from interplay.studies.running import Progress, Run, StudyOutcome, locked_study
from interplay.studies.searching import Wanted
from interplay.studies.seeds import AUTO, AutoSeeds, Seeding, auto_seeds, given_seeds
from interplay.studies.syncing import sync_study
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.cells import cell_of
from interplay.study.definition import study_directory
from interplay.study.execution import Execution
from interplay.study.points import Start
from interplay.study.preflight import check_rows
from interplay.study.proposals import ListedCells, OptunaProposals
from interplay.study.spaces import SpaceFunction
from interplay.tracking.store import FINISHED, Cell, CellStore

__all__ = ["Progress", "StudyOutcome", "best_recipe", "run_ablation", "run_search", "run_training", "sync_study"]


def run_search(
    recipe: Recipe,
    space: SpaceFunction,
    *,
    name: str,
    root: Path,
    trials: int | None = None,
    space_name: str = "space",
    sampler: str = "tpe",
    seed: int = 0,
    objectives: Sequence[str] = (),
    constraints: Sequence[str] = (),
    start_from: Sequence[Start] = (),
    published_first: bool = False,
    warm_start: Sequence[str] = (),
    retry_failed: bool = False,
    optuna_storage: str = "",
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Searches `space` around `recipe` until the study has `trials` cells.

    The test split is measured for each cell but never shown to the sampler.

    Args:
        recipe: what the space changes.
        space: a function of (trial) or (trial, recipe); see `interplay.study.spaces`.
        name: of the study.
        root: the storage root.
        trials: cells the study shall have; None is 16, or the whole of a grid.
        space_name: what the study calls the space.
        sampler: tpe, gp, cmaes, nsga2, nsga3, random, qmc or grid.
        seed: of the sampler.
        objectives: what is optimised (`parameters:min`), `val/top1` if empty; the first one selects.
        constraints: what must hold of a cell to be trained (`parameters<=6e6`).
        start_from: points that are tried first.
        published_first: try the space's published points first.
        warm_start: studies whose finished cells the sampler is told of, as far as this search could propose them.
        retry_failed: try cells that failed once more.
        optuna_storage: address of a data base for the Optuna study instead of a file in the study's folder.
        execution: how cells are trained.
        progress: what is told while it runs.
        verbose: let Ray talk.

    Raises:
        InterplayError: if recipe, space, data set or name cannot work; nothing has been started then.
    """
    wanted = Wanted(
        trials=trials,
        sampler=sampler,
        seed=seed,
        objectives=objectives,
        constraints=constraints,
        start_from=start_from,
        published_first=published_first,
        warm_start=warm_start,
        retry_failed=retry_failed,
        optuna_storage=optuna_storage,
    )
    execution = execution or Execution()
    study_directory(root, name)
    plan = plan_search(recipe, space, wanted, name=name, root=root, space_name=space_name, execution=execution)
    if stopped := _earlier_stages([plan.earlier], name, root, execution, progress, verbose):
        return stopped
    progress = progress or Progress()
    for remark in plan.remarks:
        progress.remark(remark)
    definition, dataset, search, earlier = plan.definition, plan.dataset, plan.search, plan.earlier
    with locked_study(root, definition) as directory:
        proposals = OptunaProposals(directory, space, recipe, dataset, CellStore(root), search, earlier=earlier)
        run = Run(root, definition, execution, progress, verbose)
        return run(proposals, total=search.target, known=proposals.known())


def run_ablation(
    recipe: Recipe,
    ablation: Ablation,
    *,
    name: str,
    root: Path,
    seeds: Sequence[int] | Literal["auto"],
    max_seeds: int | None = None,
    max_cells: int | None = None,
    margin: float | None = None,
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Trains the baseline and every row of `ablation` once for each seed.

    With `seeds="auto"` it begins with 3 seeds and adds some to the baseline and to the rows that are still undecided,
    at fixed looks for which the table's p values are corrected (`interplay.study.looks`).

    Args:
        recipe: the baseline.
        ablation: its rows.
        name: of the study; the same name continues or extends it.
        root: the storage root.
        seeds: of every row, or `auto`.
        max_seeds: of a row with `auto`; 10 if not given. It cannot be changed once the study has begun.
        max_cells: that the study may have with `auto`; as many as it takes if not given.
        margin: points of top-1 below which a difference does not matter; 0.2 if not given.
        execution: how cells are trained.
        progress: what is told meanwhile.
        verbose: show what Ray prints.

    Raises:
        InterplayError: if a row does not apply, or the data set or name cannot work; nothing has been started then.
    """
    (execution or Execution()).refuse_cuts("an ablation")
    resolved = ablation.resolve(recipe)
    check_rows(ablation, recipe)
    if not isinstance(seeds, str):
        refuse_auto_options(max_seeds, max_cells)
        seeding = given_seeds(root, name, seeds, margin)
        rows = table(ablation, {row.label: {seed: r.with_seed(seed) for seed in seeds} for row, r in resolved})
        return _run_rows(recipe, ablation, rows, name, root, execution, progress, verbose, seeding)
    if seeds != AUTO:
        raise InterplayError(f"seeds {seeds!r} must be a list of whole numbers, or {AUTO}")
    seeding = auto_seeds(root, name, recipe, max_seeds, margin)
    growing = AutoSeeds(root, name, seeding.looks, resolved, max_cells)
    with ExitStack() as stack:
        while True:
            trained = {
                row.label: {seed: r.with_seed(seed) for seed in range(growing.counts[row.label])}
                for row, r in resolved
            }
            rows = table(ablation, trained)
            outcome = _run_rows(recipe, ablation, rows, name, root, execution, progress, verbose, seeding)
            if not outcome.complete or not growing.grow():
                return outcome
            stack.enter_context(session(verbose))  # one for all further looks


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
    (execution or Execution()).refuse_cuts("a single training")
    name = name or f"{recipe.name}-{cell_of(recipe, root).fingerprint[:8]}"
    rows = [(Row(BASELINE, {}), {recipe.seeds.init: recipe})]
    alone = Ablation(f"One run of {recipe.name}", [])
    return _run_rows(recipe, alone, rows, name, root, execution, progress, verbose, Seeding())


def _run_rows(
    recipe: Recipe,
    ablation: Ablation,
    recipes: Sequence[tuple[Row, dict[int, Recipe]]],
    name: str,
    root: Path,
    execution: Execution | None,
    progress: Progress | None,
    verbose: bool,
    seeding: Seeding,
) -> StudyOutcome:
    execution = execution or Execution()
    plan = plan_rows(recipe, ablation, recipes, name=name, root=root, execution=execution, seeding=seeding)
    earlier = [cell.earlier for cell in plan.cells]
    if stopped := _earlier_stages(earlier, name, root, execution, progress, verbose):
        return stopped
    with locked_study(root, plan.definition):
        missing = CellStore(root).missing(plan.cells)
        run = Run(root, plan.definition, execution, progress or Progress(), verbose)
        return run(ListedCells(missing), total=len(plan.cells), known=plan.cells)


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
            cell.recipe, root=root, name=stage, execution=execution.whole(), progress=progress, verbose=verbose
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


def best_recipe(root: Path, name: str) -> Recipe:
    """The recipe of a search that is best on the validation split, called `best of NAME`.

    Raises:
        InterplayError: if there is no such search or it has no finished cell.
    """
    return best_cell(root, name).model_copy(update={"name": f"best of {name}"})
