"""One Tune trial for each missing cell. The one importer of `ray.tune`."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
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
from interplay.study.driving.dispatch import Dispatch
from interplay.study.driving.execution import Execution, make_job
from interplay.study.driving.room import ACCELERATOR, concurrent, largest
from interplay.study.driving.schedulers import CellScheduler, Rungs
from interplay.study.search.proposals import Later
from interplay.tracking.store import PRUNED, STOPPED, Cell

_HEAD = "node:__internal_head__"
"""A resource every Ray cluster's head node has. Drivers of Ray Train jobs ask for a sliver of it: they take
no CPU from their own workers, and run where no spot notice reaches them."""

MAX_FAILURES = 3
"""How often a cell whose process died is started again, from its last checkpoint."""

STOP_S = 20.0
"""Seconds that cells have for a checkpoint when the study is stopped."""


def run_cells(dispatch: Dispatch, execution: Execution, scratch: Path) -> bool:
    """Trains every cell that `dispatch` hands out, on the cluster that this process has joined.

    Every call builds a fresh Tuner from what is missing: there is no Tune state to restore. What Tune writes
    goes to the folder `scratch`, on storage that every node sees, and is removed afterwards.

    Returns:
        False if it was interrupted.
    """
    concurrency = execution.concurrency or concurrent(execution, ray.cluster_resources(), largest())
    with _orderly_stop(dispatch) as stopped:
        while True:
            shutil.rmtree(scratch, ignore_errors=True)  # of a driver that was killed, or of the round before
            _tuner(dispatch, execution, concurrency, scratch, stopped).fit()
            if stopped() or not dispatch.left:
                break
    shutil.rmtree(scratch, ignore_errors=True)
    return not stopped()


def _tuner(
    dispatch: Dispatch, execution: Execution, concurrency: int, scratch: Path, stopped: Callable[[], bool]
) -> tune.Tuner:
    executor = execution.chosen()

    def job(cell: Cell) -> dict[str, str]:
        return make_job(cell, dispatch, execution, executor).ticket(scratch / "jobs")

    return tune.Tuner(
        _trainable(execution),
        tune_config=tune.TuneConfig(
            search_alg=_CellSearcher(dispatch, job, stopped),
            scheduler=_scheduler(dispatch),
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
            callbacks=[_Attempts(dispatch, execution)],
        ),
    )


def _trainable(execution: Execution) -> Any:
    """What a trial runs, with what it asks the cluster for."""
    if execution.chosen() == "train":
        return tune.with_resources(trainables.ray_train, tune.PlacementGroupFactory([{_HEAD: 0.001}]))
    bundle = {"CPU": execution.threads, "GPU": execution.gpus}
    if execution.accelerator:
        bundle[f"{ACCELERATOR}{execution.accelerator}"] = 0.001
    return tune.with_resources(trainables.inline, tune.PlacementGroupFactory([bundle]))


class _CellSearcher(Searcher):  # type: ignore[misc]
    """Tune's view of the cells: a trial is a cell, and the cell store says how it ended."""

    def __init__(
        self, dispatch: Dispatch, job: Callable[[Cell], dict[str, str]], interrupted: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._dispatch, self._job, self._interrupted = dispatch, job, interrupted
        self._cells: dict[str, str] = {}  # Tune's trial id -> fingerprint

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        cell = None if self._interrupted() else self._dispatch.next()
        if cell is None:
            return str(Searcher.FINISHED)
        if isinstance(cell, Later):
            return None  # Tune asks again
        self._cells[trial_id] = cell.fingerprint
        return self._job(cell)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        fingerprint = self._cells.pop(trial_id, None)
        if fingerprint is None:
            return
        if error:
            self._dispatch.given_up(fingerprint, "its process died; see the Ray logs")
        elif result is None or self._is_stopped(result):
            self._dispatch.interrupted(fingerprint)
        else:
            self._dispatch.ended(fingerprint, str(result["message"]), str(result["stopped"]))

    def _is_stopped(self, result: dict[str, Any]) -> bool:
        """Whether the person stopped the study: before the cell could say its last word, or with a checkpoint."""
        return "message" not in result or (self._interrupted() and result["stopped"] == STOPPED)

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


class _Attempts(tune.Callback):  # type: ignore[misc]
    """Notes in the study's ledger when a process begins with a cell, and when it dies."""

    def __init__(self, dispatch: Dispatch, execution: Execution) -> None:
        self._dispatch = dispatch
        self._cpus, self._gpus = execution.cpus(), execution.workers * execution.gpus
        self._accelerator = execution.accelerator

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._dispatch.begun(
            trial.config["fingerprint"], self._cpus, self._gpus, self._accelerator or _only_accelerator()
        )

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._dispatch.broken(trial.config["fingerprint"])

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its callbacks to restore from; we never do."""
        return {}


def _scheduler(dispatch: Dispatch) -> CellScheduler | None:
    if not isinstance(dispatch.cuts, Rungs):
        return None

    def answer(fingerprint: str, epoch: int, cut: bool) -> None:
        dispatch.leases.answer(fingerprint, epoch, PRUNED if cut else "")

    return CellScheduler(dispatch.cuts, answer)


def _only_accelerator() -> str:
    """The cluster's type of accelerator, if it has one only; a worker's own word replaces it later."""
    types = [name for name in ray.cluster_resources() if name.startswith("accelerator_type:")]
    return types[0].removeprefix("accelerator_type:") if len(types) == 1 else ""


@contextmanager
def _orderly_stop(dispatch: Dispatch) -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM end `fit`: cells are told to take a checkpoint and end, then Tune to stop what has not.

    Tune itself listens to SIGINT and SIGUSR1 only.
    """
    came: list[int] = []

    def stop_cells() -> None:
        # in a thread: a signal's handler must not wait for a lock that the code it interrupted holds
        dispatch.leases.stop_all(STOPPED)
        deadline = time.monotonic() + STOP_S
        while dispatch.leases.held() and time.monotonic() < deadline:
            time.sleep(0.1)
        if not done.wait(3.0):  # it may end by itself now
            os.kill(os.getpid(), signal.SIGUSR1)

    def stop(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        logging.getLogger(__name__).warning("stopping; run the same command to continue")
        threading.Thread(target=stop_cells, name="stop", daemon=True).start()

    done = threading.Event()
    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # one that comes after `fit` has ended
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        yield lambda: bool(came)
    finally:
        done.set()
        for number, handler in previous.items():
            signal.signal(number, handler)
