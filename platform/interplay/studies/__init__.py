"""Running a study: what is missing is trained, what is there is kept. Running it again extends it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from interplay.cluster.session import session
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.study import best_cell
from interplay.studies.plans import plan_rows, plan_search
from interplay.studies.running import Progress, Run, StudyOutcome, locked_study
from interplay.studies.searching import Wanted
from interplay.studies.seeds import Repeats, Seeding, seeded_rows
from interplay.studies.syncing import sync_study
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.cells import cell_of
from interplay.study.definition import StudyDefinition, study_directory
from interplay.study.driving.execution import Execution
from interplay.study.driving.lock import check_free
from interplay.study.driving.room import cluster_with_room
from interplay.study.search.proposals import ListedCells, OptunaProposals, Proposals
from interplay.study.search.spaces import SpaceFunction
from interplay.tracking.store import FINISHED, Cell, CellStore

__all__ = [
    "Progress",
    "Repeats",
    "StudyOutcome",
    "Wanted",
    "best_recipe",
    "run_ablation",
    "run_search",
    "run_training",
    "sync_study",
]


def run_search(
    recipe: Recipe,
    space: SpaceFunction,
    wanted: Wanted | None = None,
    *,
    name: str,
    root: Path,
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Searches `space` around `recipe` until the study has as many cells as are wanted.

    The test split is measured for each cell but never shown to the sampler.

    Args:
        recipe: what the space changes.
        space: a function of (trial) or (trial, recipe); see `interplay.study.search.spaces`.
        wanted: how many cells, by which sampler, for what.
        name: of the study; the same name continues or extends it.
        root: the storage root.
        execution: how cells are trained.
        progress: what is told while it runs.
        verbose: let Ray talk.

    Raises:
        InterplayError: if recipe, space, data set or name cannot work; nothing has been started then.
    """
    going = _Going(root, execution or Execution(), progress or Progress(), verbose)
    check_free(study_directory(root, name))
    plan = plan_search(recipe, space, wanted or Wanted(), name=name, root=root, execution=going.execution)
    if plan.earlier is not None:
        if stopped := going.earlier_stages([plan.earlier], name):
            return stopped
        _check_ended_well(plan.earlier, root)
    for remark in plan.remarks:
        going.progress.remark(remark)
    cluster = going.cluster(plan.search.target, plan.search.target - plan.done)
    with cluster, locked_study(root, plan.definition) as directory:
        proposals = OptunaProposals(
            directory, space, recipe, plan.dataset, CellStore(root), plan.search, earlier=plan.earlier
        )
        return going.run(plan.definition, proposals, total=plan.search.target, known=proposals.known())


def run_ablation(
    recipe: Recipe,
    ablation: Ablation,
    repeats: Repeats,
    *,
    name: str,
    root: Path,
    execution: Execution | None = None,
    progress: Progress | None = None,
    verbose: bool = False,
) -> StudyOutcome:
    """Trains the baseline and every row of `ablation` once for each seed.

    With `Repeats("auto")` it begins with 3 seeds and adds some to the baseline and to the rows that are still
    undecided, at fixed looks for which the table's p values are corrected (`interplay.study.evidence.looks`).

    A row whose earlier stage diverges is a row that failed: it is not trained, and the others are.

    Args:
        recipe: the baseline.
        ablation: its rows.
        repeats: the seeds of the rows.
        name: of the study; the same name continues or extends it.
        root: the storage root.
        execution: how cells are trained.
        progress: what is told meanwhile.
        verbose: show what Ray prints.

    Raises:
        InterplayError: if a row does not apply, or the data set or name cannot work; nothing has been started then.
    """
    going = _Going(root, execution or Execution(), progress or Progress(), verbose)
    seeded = seeded_rows(recipe, ablation, repeats, name=name, root=root, execution=going.execution)
    with ExitStack() as stack:
        while True:
            outcome = going.rows(recipe, ablation, seeded.rows(), seeded.seeding, name)
            if not outcome.complete or not seeded.grow():
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
    going = _Going(root, execution or Execution(), progress or Progress(), verbose)
    return going.training(recipe, name)


@dataclass(frozen=True)
class _Going:
    """Where and how studies are run, and who is told."""

    root: Path
    execution: Execution
    progress: Progress
    verbose: bool

    def run(
        self, definition: StudyDefinition, proposals: Proposals, *, total: int, known: Sequence[Cell]
    ) -> StudyOutcome:
        run = Run(self.root, definition, self.execution, self.progress, self.verbose)
        return run(proposals, total=total, known=known)

    def rows(
        self,
        recipe: Recipe,
        ablation: Ablation,
        recipes: Sequence[tuple[Row, dict[int, Recipe]]],
        seeding: Seeding,
        name: str,
    ) -> StudyOutcome:
        check_free(study_directory(self.root, name))
        plan = plan_rows(
            recipe, ablation, recipes, name=name, root=self.root, execution=self.execution, seeding=seeding
        )
        if stopped := self.earlier_stages([cell.earlier for cell in plan.cells if cell.earlier is not None], name):
            return stopped
        missing = CellStore(self.root).missing(plan.cells)
        with self.cluster(len(plan.cells), len(missing)), locked_study(self.root, plan.definition):
            missing = CellStore(self.root).missing(plan.cells)  # again: now nobody else drives the study
            return self.run(plan.definition, ListedCells(missing), total=len(plan.cells), known=plan.cells)

    def cluster(self, cells: int, missing: int) -> AbstractContextManager[None]:
        """A cluster, if one is needed: it must have room before anything is written."""
        needed = missing > 0 and not self.execution.alone(cells)
        return cluster_with_room(self.execution, self.verbose) if needed else nullcontext()

    def training(self, recipe: Recipe, name: str) -> StudyOutcome:
        self.execution.refuse_cuts("a single training")
        name = name or f"{recipe.name}-{cell_of(recipe, self.root).fingerprint[:8]}"
        alone = Ablation(f"One run of {recipe.name}", [])
        return self.rows(recipe, alone, [(Row(BASELINE, {}), {recipe.seeds.init: recipe})], Seeding(), name)

    def earlier_stages(self, stages: Sequence[Cell], name: str) -> StudyOutcome | None:
        """Trains those that are missing, each as a study of its own; the outcome of one that was stopped.

        One that diverges or fails stops nothing else: see `Dispatch` on what starts from it.
        """
        whole = replace(self, execution=self.execution.whole())
        for cell in CellStore(self.root).missing(list(stages)):
            outcome = whole.training(cell.recipe, f"{name}-before-{cell.fingerprint[:8]}")
            if outcome.interrupted or outcome.stopped:
                return outcome
        return None


def _check_ended_well(stage: Cell, root: Path) -> None:
    """Raises InterplayError if every cell of a search would start from nothing."""
    result = CellStore(root).result(stage.fingerprint)
    if result is None or result.status != FINISHED:
        how = "failed" if result is None else f"has {result.status}"
        raise InterplayError(f"the earlier stage {stage.recipe.name} {how} ({stage.fingerprint}); change it first")


def best_recipe(root: Path, name: str) -> Recipe:
    """The recipe of a search that is best on the validation split, called `best of NAME`.

    Raises:
        InterplayError: if there is no such search or it has no finished cell.
    """
    return best_cell(root, name).model_copy(update={"name": f"best of {name}"})
