"""One run of a study: cells to the executors, journals to MLflow, progress to the person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interplay.cluster.session import session
from interplay.report.study import study_table
from interplay.studies.naming import child_of
from interplay.study.definition import StudyDefinition, study_directory, write_definition
from interplay.study.execution import Execution, Hooks, run_here
from interplay.study.lock import study_lock
from interplay.study.proposals import Proposals
from interplay.study.tuning import run_cells
from interplay.tracking.mlflow import Publisher, StudyRun
from interplay.tracking.store import Cell, CellResult, CellStore


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


@contextmanager
def locked_study(root: Path, definition: StudyDefinition) -> Iterator[Path]:
    directory = study_directory(root, definition.name)
    with study_lock(directory):
        write_definition(root, definition)
        yield directory


@dataclass(frozen=True)
class Run:
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
