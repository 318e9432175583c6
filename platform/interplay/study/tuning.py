"""One Tune trial for each missing cell. The one importer of `ray.tune`."""

from __future__ import annotations

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # the journal is the record
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray
from ray import tune
from ray.tune.search import Searcher

from interplay.cluster import trainables
from interplay.study.execution import Execution, OnEnd, OnStart, make_job
from interplay.study.proposals import Proposals
from interplay.tracking.store import Cell, CellStore

_HEAD = "node:__internal_head__"
"""A resource every Ray cluster's head node has. Drivers of Ray Train jobs ask for a sliver of it: they take
no CPU from their own workers, and run where no spot notice reaches them."""

MAX_FAILURES = 3
"""How often a cell whose process died is started again, from its last checkpoint."""


def run_cells(
    proposals: Proposals,
    store: CellStore,
    execution: Execution,
    scratch: Path,
    *,
    on_start: OnStart = lambda cell: None,
    on_end: OnEnd = lambda fingerprint, message: None,
) -> bool:
    """Trains every cell that `proposals` hands out.

    Every call builds a fresh Tuner from what is missing: there is no Tune state to restore. What Tune writes
    goes to the folder `scratch`, on storage that every node sees, and is removed afterwards.

    Returns:
        False if it was interrupted.
    """
    executor = execution.chosen()
    concurrency = execution.concurrency or _room(execution, executor)

    def job(cell: Cell) -> dict[str, Any]:
        return make_job(cell, store, execution, executor).plain()

    searcher = _CellSearcher(proposals, job, on_start, on_end)
    if executor == "inline":
        trainable = tune.with_resources(trainables.inline, {"cpu": execution.threads, "gpu": execution.gpus})
    else:
        trainable = tune.with_resources(trainables.ray_train, tune.PlacementGroupFactory([{_HEAD: 0.001}]))
    shutil.rmtree(scratch, ignore_errors=True)  # of a driver that was killed
    with _orderly_stop() as stopped:
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                max_concurrent_trials=concurrency,
                reuse_actors=True,
                trial_name_creator=lambda trial: str(trial.config["fingerprint"]),
                trial_dirname_creator=lambda trial: str(trial.config["fingerprint"]),
            ),
            run_config=tune.RunConfig(
                name="cells",
                storage_path=str(scratch),
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                verbose=0,
            ),
        )
        tuner.fit()
    shutil.rmtree(scratch, ignore_errors=True)
    return not stopped()


class _CellSearcher(Searcher):  # type: ignore[misc]
    """Tune's view of the proposals: a trial is a cell, and the cell store says how it ended."""

    def __init__(
        self,
        proposals: Proposals,
        job: Callable[[Cell], dict[str, Any]],
        on_start: OnStart,
        on_end: OnEnd,
    ) -> None:
        super().__init__()
        self._proposals, self._job, self._on_start, self._on_end = proposals, job, on_start, on_end
        self._cells: dict[str, str] = {}  # Tune's trial id -> fingerprint

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        cell = self._proposals.next()
        if cell is None:
            return str(Searcher.FINISHED)
        self._cells[trial_id] = cell.fingerprint
        self._on_start(cell)
        return self._job(cell)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        fingerprint = self._cells.pop(trial_id, None)
        if fingerprint is None:
            return
        message = "its process died; see the Ray logs" if error else str((result or {}).get("message") or "")
        self._proposals.settle(fingerprint, message or None)
        self._on_end(fingerprint, message)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher to restore from; we never do."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the store and the Optuna study are the truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def _room(execution: Execution, executor: str) -> int:
    total = ray.cluster_resources()
    workers = execution.workers if executor == "train" else 1
    room = int(total.get("CPU", 1) // (workers * execution.threads))
    if execution.gpus:
        room = min(room, int(total.get("GPU", 0) // (workers * execution.gpus)))
    return max(1, room)


@contextmanager
def _orderly_stop() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM end `fit` with its trials stopped; Tune itself listens to SIGINT and SIGUSR1 only."""
    came: list[int] = []

    def stop(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        logging.getLogger(__name__).warning("stopping; run the same command to continue")
        os.kill(os.getpid(), signal.SIGUSR1)

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
