"""One run of a study: cells to the executors, journals to MLflow, progress to the person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from interplay.report.page import study_page
from interplay.report.study import study_table
from interplay.studies.naming import child_of, study_view
from interplay.study.definition import StudyDefinition, study_directory, write_definition
from interplay.study.driving.dispatch import Dispatch
from interplay.study.driving.execution import Execution, run_here
from interplay.study.driving.ledger import Ledger
from interplay.study.driving.lock import study_lock
from interplay.study.driving.schedulers import Rungs
from interplay.study.driving.tuning import run_cells
from interplay.study.search.proposals import Proposals
from interplay.tracking.journal import read
from interplay.tracking.lease import Leases
from interplay.tracking.mlflow import Child
from interplay.tracking.publisher import Publisher
from interplay.tracking.store import STOPPED, Cell, CellResult, CellStore


class Progress:
    """What a study tells while it runs. The base class says nothing."""

    def begin(self, total: int, finished: int) -> None:
        """`total` cells, of which `finished` need no training."""

    def remark(self, sentence: str) -> None:
        """Something a person should know before the first cell."""

    def started(self, cell: Cell, name: str) -> None:
        """A cell is being trained."""

    def ended(self, cell: Cell, name: str, result: CellResult | None, message: str) -> None:
        """A cell has ended, here or elsewhere; without a result it failed, and `message` says why."""


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
        stopped: a sentence if a budget is used up and cells are missing.
    """

    study: str
    complete: bool
    interrupted: bool
    mlflow_uri: str
    mlflow_sent: bool
    parent_run: str
    runs: dict[str, str]
    page: str
    stopped: str = ""


@contextmanager
def locked_study(root: Path, definition: StudyDefinition) -> Iterator[Path]:
    directory = study_directory(root, definition.name)
    with study_lock(directory):
        write_definition(root, definition)
        yield directory


@dataclass(frozen=True)
class Run:
    """One run of a study: cells to Tune, which needs a cluster, journals to MLflow, progress to the person."""

    root: Path
    definition: StudyDefinition
    execution: Execution
    progress: Progress
    verbose: bool

    def __call__(self, proposals: Proposals, *, total: int, known: Sequence[Cell]) -> StudyOutcome:
        store = CellStore(self.root)
        view = study_view(self.root, self.definition)
        publisher = Publisher(view)
        finished = 0
        for cell in known:
            finished += store.result(cell.fingerprint) is not None
            if store.journal(cell.fingerprint).is_file():  # the others are followed from when they start
                publisher.add(child_of(self.definition, cell.fingerprint, cell.recipe))
        self.progress.begin(total, finished)
        interrupted, stopped = False, ""
        if finished < total:
            dispatch = self._dispatch(proposals, store, publisher, known, total)
            with dispatch:
                interrupted = not self._train(dispatch, total)
            stopped = dispatch.stopped
        table = study_table(self.root, self.definition.name)
        complete = not interrupted and table.complete and (not stopped or len(table.cells) >= total)
        status = "KILLED" if interrupted else "FINISHED" if complete else "FAILED"
        page = partial(study_page, self.root, self.definition.name)
        sent = publisher.finish(status, lambda: {**table.artifacts(), "report.html": page()})
        return StudyOutcome(
            study=self.definition.name,
            complete=complete,
            interrupted=interrupted,
            mlflow_uri=view.uri,
            mlflow_sent=sent,
            parent_run=view.parent,
            runs=view.runs(),
            page=view.page(),
            stopped="" if complete else stopped,
        )

    def _train(self, dispatch: Dispatch, total: int) -> bool:
        """False if it was interrupted."""
        if self.execution.alone(total):
            return run_here(dispatch, self.execution)
        return run_cells(dispatch, self.execution, self._directory() / "tune")

    def _directory(self) -> Path:
        return study_directory(self.root, self.definition.name)

    def _dispatch(
        self, proposals: Proposals, store: CellStore, publisher: Publisher, known: Sequence[Cell], total: int
    ) -> Dispatch:
        def child(cell: Cell) -> Child:
            return child_of(self.definition, cell.fingerprint, cell.recipe)

        def started(cell: Cell) -> None:
            publisher.started(run := child(cell))
            self.progress.started(cell, run.name)

        def ended(cell: Cell, message: str) -> None:
            publisher.ended(run := child(cell))
            self.progress.ended(cell, run.name, store.result(cell.fingerprint), message)

        budget = self.execution.budget
        leases = Leases(store.root / "cells", self.definition.name)

        def used_up(why: str) -> None:
            if budget.hard:
                leases.stop_all(STOPPED)

        return Dispatch(
            proposals,
            store,
            leases=leases,
            ledger=Ledger(self._directory(), budget, used_up, total=total),
            cuts=self._rungs(store, known),
            on_start=started,
            on_end=ended,
        )

    def _rungs(self, store: CellStore, known: Sequence[Cell]) -> Rungs | None:
        """The scheduler as it was when the study's last driver ended, if there is one."""
        if self.execution.scheduler == "none":
            return None
        rungs = Rungs(self.execution, self.definition.base().schedule.epochs)
        followed = [cell.fingerprint for cell in known if rungs.follows(cell)]
        rungs.replay({fingerprint: read(store.journal(fingerprint))[0] for fingerprint in followed})
        return rungs
