"""What a worker is to do while it trains: go on, take a checkpoint, or stop, and why. All workers do the same."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from interplay.cluster.job import Job
from interplay.cluster.notice import Notice
from interplay.tracking.lease import is_held, read_answer
from interplay.tracking.store import PREEMPTED, PRUNED, STOPPED
from interplay.training import Ranks

METRIC = "val/top1"
"""What schedulers compare."""

LOST = "lost"
"""Another driver has taken the cell over."""

LOOK_S = 2.0
"""Seconds between two looks."""

MOST_STEPS = 50
"""Steps between two looks of several workers: each look waits for all of them, and for their devices."""

CHECKPOINT = "checkpoint"
"""Take one, and go on."""

ANSWER_S = 20.0
"""A driver that does not answer for so long is not waited for: its worker goes on."""

_ORDERS = ["", CHECKPOINT, PREEMPTED, STOPPED, PRUNED, LOST]  # a later one stands above those before it

Tell = Callable[[dict[str, float]], None]
"""Reports an epoch's metrics to the scheduler, on every rank."""


class Stopped(Exception):
    """A cell's training was ended before its end; `reason` is `pruned`, `stopped`, `preempted` or `lost`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Orders:
    """Of one worker. Without a lease nobody stops it.

    Args:
        job: the cell.
        ranks: of the workers.
        device: of this one.
        due: whether it is time for a checkpoint; the first rank is asked.
        tell: reports epochs to a scheduler.
        notice: of this worker's machine, if it can be taken away; one such worker stops all.
    """

    def __init__(
        self,
        job: Job,
        ranks: Ranks,
        device: torch.device,
        *,
        due: Callable[[], bool] = lambda: False,
        tell: Tell | None = None,
        notice: Notice | None = None,
    ) -> None:
        self._job, self._ranks, self._device, self._due = job, ranks, device, due
        self._tell, self._notice = tell, notice
        self._directory = Path(job.directory)
        self._every_s = min(LOOK_S, job.checkpoint_every_s)
        self._looked_at, self._steps, self._look_at_step = time.monotonic(), 0, 1

    def lost(self) -> bool:
        """Whether another driver has the cell: then this worker must write nothing more. Known to the first rank."""
        return bool(self._job.lease) and self._ranks.first and not is_held(self._directory, self._job.lease)

    def at_start(self) -> str:
        """Why not to begin, the same on every rank: a process that is started again may be one too many."""
        return self._agreed(self._reason())[0]

    def after_step(self) -> str:
        """Why to stop now, or `CHECKPOINT`, the same on every rank."""
        self._steps += 1
        now = time.monotonic()
        if self._steps < self._look_at_step or (self._ranks.world == 1 and now - self._looked_at < self._every_s):
            return ""
        order = self._reason() or (CHECKPOINT if self._ranks.first and self._due() else "")
        if self._ranks.world > 1:
            order, step_s = self._agreed(order, (now - self._looked_at) / self._steps)
            self._look_at_step = max(1, min(MOST_STEPS, int(self._every_s / max(step_s, 1e-6))))
        self._looked_at, self._steps = now, 0
        return order

    def after_epoch(self, metrics: dict[str, float], epochs: int) -> str:
        """Reports the epoch to the scheduler, if one asks, and waits for its answer. Why to stop, on every rank.

        The last epoch of `epochs` is not reported: there is nothing left to cut.
        """
        if not self._job.lease:
            return ""
        epoch = int(metrics["epoch"])
        if self._tell is not None and self._job.asks and METRIC in metrics and epoch < epochs:
            self._tell({"epoch": epoch, METRIC: metrics[METRIC]})
            self._wait_for(epoch)
        return self._agreed(self._reason() if epoch < epochs else "")[0]

    def _wait_for(self, epoch: int) -> None:
        deadline = time.monotonic() + ANSWER_S
        while self._ranks.first and time.monotonic() < deadline:
            answer = read_answer(self._directory, self._job.lease)
            if answer.epoch >= epoch or answer.stop:
                return
            time.sleep(0.05)

    def _reason(self) -> str:
        if not self._job.lease:
            return ""
        taken_away = PREEMPTED if self._notice is not None and self._notice.came else ""
        if not self._ranks.first:
            return taken_away
        return LOST if self.lost() else read_answer(self._directory, self._job.lease).stop or taken_away

    def _agreed(self, order: str, step_s: float = 0.0) -> tuple[str, float]:
        """The order above those of all workers, and the longest of their steps."""
        if self._ranks.world == 1:
            return order, step_s
        said = torch.tensor([_ORDERS.index(order), step_s], dtype=torch.float64, device=self._device)
        code, slowest = self._ranks.max(said).tolist()
        return _ORDERS[int(code)], slowest
