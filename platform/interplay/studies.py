"""Running a study: what is missing is trained, what is there is kept. Running it again extends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interplay.cluster.session import session
from interplay.errors import InterplayError
from interplay.recipe import Recipe, difference, flatten, read_recipe
from interplay.report.draw import value_text
from interplay.report.study import best_cell, study_table
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.cells import cell_of, earlier_cell, locate_checked
from interplay.study.definition import (
    ABLATION,
    SEARCH,
    StudyDefinition,
    StudyRow,
    read_definition,
    study_directory,
    write_definition,
)
from interplay.study.execution import Execution, Hooks, run_here
from interplay.study.lock import study_lock
from interplay.study.proposals import ListedCells, OptunaProposals, Proposals, Space, check_feasible, make_sampler
from interplay.study.tuning import run_cells
from interplay.tracking.mlflow import Child, Publisher, StudyRun
from interplay.tracking.store import FINISHED, Cell, CellResult, CellStore

METRIC = "val/top1"


class Progress:
    """What a study tells while it runs. The base class says nothing."""

    def begin(self, total: int, finished: int) -> None:
        """`total` cells, of which `finished` need no training."""

    def started(self, cell: Cell, name: str) -> None:
        """A cell is being trained."""

    def ended(self, fingerprint: str, result: CellResult | None, message: str) -> None:
        """A cell has ended; without a result it failed, and `message` says why."""


@dataclass(frozen=True)
class StudyOutcome:
    """How running a study went.

    Attributes:
        study: its name.
        complete: every cell has a result.
        interrupted: it was stopped by a signal; run it again to continue.
        mlflow_uri: where MLflow shows it.
        mlflow_sent: MLflow has all of it; otherwise `interplay sync` sends the rest.
        parent_run: MLflow's id of the study's run, if MLflow could be reached.
        runs: fingerprint -> MLflow's run id.
        page: the study's place in MLflow's UI, after the server's address.
    """

    study: str
    complete: bool
    interrupted: bool
    mlflow_uri: str
    mlflow_sent: bool
    parent_run: str
    runs: dict[str, str]
    page: str


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
    with _study(root, definition) as directory:
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
        run = _Run(root, definition, execution, progress or Progress(), verbose)
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
    with _study(root, definition):
        missing = CellStore(root).missing(ordered)
        run = _Run(root, definition, execution, progress or Progress(), verbose)
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


def varying(base: Recipe, recipe: Recipe) -> dict[str, Any]:
    """What `recipe` changes of `base`: dotted path -> value. Another kind's own defaults are left out."""
    kinds: dict[str, Any] = {}
    with_kinds = base
    for path, kind in difference(base, recipe).items():
        if path.endswith(".kind") and kind:
            # a kind without defaults for all of its fields cannot be named alone
            with suppress(InterplayError):
                with_kinds = with_kinds.with_({path.removesuffix(".kind"): kind})
                kinds[path.removesuffix(".kind")] = kind
    return {**kinds, **difference(with_kinds, recipe)}


def describe(varies: dict[str, Any]) -> str:
    """A run's name that says the change: `drop_path 0.2, policy three_augment`."""
    parts = [f"{path.rsplit('.', 1)[-1]} {value_text(value)}" for path, value in varies.items()]
    return ", ".join(parts) or BASELINE


@contextmanager
def _study(root: Path, definition: StudyDefinition) -> Iterator[Path]:
    directory = study_directory(root, definition.name)
    with study_lock(directory):
        write_definition(root, definition)
        yield directory


@dataclass(frozen=True)
class _Run:
    """One run of a study: cells to Tune, journals to MLflow, progress to the person."""

    root: Path
    definition: StudyDefinition
    execution: Execution
    progress: Progress
    verbose: bool

    def __call__(self, proposals: Proposals, *, total: int, known: Sequence[Cell]) -> StudyOutcome:
        store = CellStore(self.root)
        kind, question = self.definition.kind, self.definition.question
        view = StudyRun(self.root, self.definition.name, description=question, kind=kind)
        publisher = Publisher(view)
        publisher.start()
        for cell in known:
            publisher.add(child_of(self.definition, cell.fingerprint, cell.recipe))
        finished = sum(store.result(cell.fingerprint) is not None for cell in known)
        self.progress.begin(total, finished)
        interrupted = False
        if finished < total and self._alone(total):
            interrupted = not run_here(proposals, store, self.execution, **self._hooks(store, publisher))
        elif finished < total:
            with session(self.verbose):
                hooks = self._hooks(store, publisher)
                scratch = study_directory(self.root, self.definition.name) / "tune"
                interrupted = not run_cells(proposals, store, self.execution, scratch, **hooks)
        table = study_table(self.root, self.definition.name)
        complete = not interrupted and table.complete
        status = "KILLED" if interrupted else "FINISHED" if complete else "FAILED"
        sent = publisher.finish(status, table.artifacts())
        return StudyOutcome(
            study=self.definition.name,
            complete=complete,
            interrupted=interrupted,
            mlflow_uri=view.uri,
            mlflow_sent=sent,
            parent_run=view.parent,
            runs=view.runs(),
            page=view.page(),
        )

    def _alone(self, total: int) -> bool:
        """One cell on one CPU worker needs no cluster."""
        return total == 1 and self.execution.chosen() == "inline" and not self.execution.gpus

    def _hooks(self, store: CellStore, publisher: Publisher) -> Hooks:
        def started(cell: Cell) -> None:
            publisher.add(child_of(self.definition, cell.fingerprint, cell.recipe))
            self.progress.started(cell, child_of(self.definition, cell.fingerprint, cell.recipe).name)

        return {
            "on_start": started,
            "on_end": lambda fingerprint, message: self.progress.ended(
                fingerprint, store.result(fingerprint), message
            ),
        }


def child_of(definition: StudyDefinition, fingerprint: str, recipe: Recipe) -> Child:
    """A cell as the study's MLflow run shows it, named by its row or by what it changes."""
    varies = varying(definition.base(), recipe)
    places = ((row.label, seed) for row in definition.rows for seed, f in row.cells.items() if f == fingerprint)
    label, seed = next(places, (describe(varies), recipe.seeds.init))
    name = f"{label} · seed {seed}" if definition.rows else label
    tags = {
        "interplay.row": label,
        "interplay.seed": str(seed),
        "interplay.varies": ", ".join(varies) or "nothing",
        "interplay.recipe": recipe.name,
        "interplay.dataset": recipe.data.dataset,
    }
    # names and paths may change without changing the cell, MLflow's parameters may not: those two are tags
    params = {k: v for k, v in flatten(recipe).items() if k not in ("name", "data.dataset")}
    return Child(fingerprint, name, params, tags)


def sync_study(root: Path, name: str) -> tuple[bool, StudyRun]:
    """Sends MLflow what it does not have yet of a study. Doing it again changes nothing.

    Returns:
        Whether MLflow took all of it, and the study's runs.

    Raises:
        InterplayError: if there is no such study, or it is being run.
    """
    definition = read_definition(root, name)
    with study_lock(study_directory(root, name)):
        table = study_table(root, name)
        view = StudyRun(root, name, description=definition.question, kind=definition.kind)
        publisher = Publisher(view)
        store = CellStore(root)
        for fingerprint in table.cells:
            if store.journal(fingerprint).is_file():
                recipe = read_recipe(store.directory(fingerprint) / "recipe.yaml")
                publisher.add(child_of(definition, fingerprint, recipe))
        publisher.start()
        sent = publisher.finish("FINISHED" if table.complete else "KILLED", table.artifacts())
    return sent, view


def _plain(changes: Any) -> dict[str, Any]:
    return {k: v.model_dump(mode="json") if hasattr(v, "model_dump") else v for k, v in dict(changes).items()}


def best_recipe(root: Path, name: str) -> Recipe:
    """The recipe of a search that is best on the validation split, called `best of NAME`.

    Raises:
        InterplayError: if there is no such search or it has no finished cell.
    """
    return best_cell(root, name).model_copy(update={"name": f"best of {name}"})
