"""What the driver tells a worker while it trains: go on, or stop, and why."""

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
"""Seconds between two looks of a lone worker."""

LOOK_STEPS = 50
"""Steps between two looks of several workers, who must all stop at the same one."""

ANSWER_S = 20.0
"""A driver that does not answer for so long is not waited for: its worker goes on."""

_REASONS = ["", PREEMPTED, STOPPED, PRUNED, LOST]  # a later one stands above those before it

Tell = Callable[[dict[str, float]], None]
"""Reports an epoch's metrics to the scheduler, on every rank."""


class Stopped(Exception):
    """A cell's training was ended before its end; `reason` is `pruned`, `stopped`, `preempted` or `lost`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Orders:
    """Of one worker. Without a lease there are none.

    Args:
        job: the cell.
        ranks: of the workers.
        device: of this one.
        tell: reports epochs to a scheduler.
        notice: of this worker's machine, if it can be taken away; one such worker stops all.
    """

    def __init__(
        self, job: Job, ranks: Ranks, device: torch.device, tell: Tell | None, notice: Notice | None = None
    ) -> None:
        self._job, self._ranks, self._device, self._tell, self._notice = job, ranks, device, tell, notice
        self._directory = Path(job.directory)
        self._looked_at, self._steps = time.monotonic(), 0

    def lost(self) -> bool:
        """Whether another driver has the cell: then this worker must write nothing more. Known to the first rank."""
        return bool(self._job.lease) and self._ranks.first and not is_held(self._directory, self._job.lease)

    def at_start(self) -> str:
        """Why not to begin, the same on every rank: a process that is started again may be one too many."""
        return self._agreed(self._reason()) if self._job.lease else ""

    def after_step(self) -> str:
        """Why to stop now, the same on every rank."""
        if not self._job.lease:
            return ""
        self._steps += 1
        if self._ranks.world > 1:
            return self._agreed(self._reason()) if self._steps % LOOK_STEPS == 0 else ""
        if time.monotonic() - self._looked_at < LOOK_S:
            return ""
        self._looked_at = time.monotonic()
        return self._reason()

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
        return self._agreed(self._reason() if epoch < epochs else "")

    def _wait_for(self, epoch: int) -> None:
        deadline = time.monotonic() + ANSWER_S
        while self._ranks.first and time.monotonic() < deadline:
            answer = read_answer(self._directory, self._job.lease)
            if answer.epoch >= epoch or answer.stop:
                return
            time.sleep(0.05)

    def _reason(self) -> str:
        taken_away = PREEMPTED if self._notice is not None and self._notice.came else ""
        if not self._ranks.first:
            return taken_away
        return LOST if self.lost() else read_answer(self._directory, self._job.lease).stop or taken_away

    def _agreed(self, reason: str) -> str:
        if self._ranks.world == 1:
            return reason
        code = torch.tensor(_REASONS.index(reason), device=self._device)
        return _REASONS[int(self._ranks.max(code))]
