"""Cutting cells of a search early, with Ray Tune's own asynchronous successive halving.

Ray's scheduler decides; the worker stops by itself, between two epochs and with a checkpoint, when its driver answers
that the cell is cut. So its process goes on with the next cell, and another study can go on with the cut one.

The rungs are rebuilt at every start from the journals of the study's cells, in the order in which the epochs were
written: a decision that was taken is taken again. `hyperband` runs its brackets asynchronously (Li et al. 2020): the
synchronous one pauses cells until the slowest has come, and cannot be rebuilt from what is stored.

Population-based training is no scheduler here, as it changes recipes: see `interplay.study.search.population`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from interplay.cluster.orders import METRIC
from interplay.study.driving.execution import Execution, grace_of
from interplay.tracking.journal import Record
from interplay.tracking.store import Cell

Answer = Callable[[str, int, bool], None]
"""Tells a cell's worker that an epoch was heard of, and whether the cell is cut."""


@dataclass(frozen=True)
class _Named:
    """What Ray's scheduler knows of a trial: here the cell, so that a cell gone on with is not another trial."""

    trial_id: str


class Rungs:
    """Decisions about cells of `epochs` epochs, larger `metric` is better; the same for the same history."""

    def __init__(self, execution: Execution, epochs: int, metric: str = METRIC) -> None:
        grace, eta = grace_of(execution, epochs), execution.eta
        rungs = 1 + int(math.log(epochs / grace) / math.log(eta))
        self._epochs, self._metric = epochs, metric
        self._halving = AsyncHyperBandScheduler(
            time_attr="epoch",
            metric=metric,
            mode="max",
            max_t=epochs,
            grace_period=grace,
            reduction_factor=eta,
            brackets=rungs if execution.scheduler == "hyperband" else 1,
            stop_last_trials=False,
        )
        self._entered: set[str] = set()
        self._cut: set[str] = set()

    def follows(self, cell: Cell) -> bool:
        """Whether the cell is compared with others: a longer or shorter one is never cut."""
        return cell.recipe.schedule.epochs == self._epochs

    def report(self, fingerprint: str, epoch: int, value: float) -> bool:
        """Takes note of the metric after an epoch; True if the cell is cut, now or before."""
        if fingerprint in self._cut or epoch >= self._epochs or not math.isfinite(value):
            return fingerprint in self._cut
        trial = _Named(fingerprint)
        if fingerprint not in self._entered:
            self._entered.add(fingerprint)
            _with_numpy_seed(fingerprint, lambda: self._halving.on_trial_add(None, trial))
        result = {"epoch": epoch, self._metric: value}
        if self._halving.on_trial_result(None, trial, result) == TrialScheduler.STOP:
            self._cut.add(fingerprint)
        return fingerprint in self._cut

    def replay(self, journals: Mapping[str, list[Record]]) -> None:
        """Fills the rungs with what cells have reported before, in the order of time."""
        history = [
            (record["at"], fingerprint, record["epoch"], record["metrics"][self._metric])
            for fingerprint, records in journals.items()
            for record in records
            if record["event"] == "epoch" and self._metric in record["metrics"]
        ]
        for _, fingerprint, epoch, value in sorted(history):
            self.report(fingerprint, epoch, value)

    def cut(self, cell: Cell, records: list[Record]) -> bool:
        """Whether what the cell's journal says already is enough to cut it."""
        if not self.follows(cell):
            return False
        self.replay({cell.fingerprint: records})
        return cell.fingerprint in self._cut


class CellScheduler(FIFOScheduler):  # type: ignore[misc]
    """Tune's view of the rungs: trials are started in order, and never ended by Tune."""

    def __init__(self, rungs: Rungs, answer: Answer) -> None:
        super().__init__()
        self._rungs, self._answer = rungs, answer

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if METRIC in result and "epoch" in result:
            fingerprint, epoch = str(trial.config["fingerprint"]), int(result["epoch"])
            self._answer(fingerprint, epoch, self._rungs.report(fingerprint, epoch, float(result[METRIC])))
        return str(TrialScheduler.CONTINUE)

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its scheduler to restore from; we never do."""
        return {}


def _with_numpy_seed(name: str, work: Callable[[], object]) -> None:
    """Ray draws a trial's bracket from numpy's global generator; a cell must be in the same one at every start."""
    before = np.random.get_state()
    np.random.seed(zlib.crc32(name.encode()))
    try:
        work()
    finally:
        np.random.set_state(before)
