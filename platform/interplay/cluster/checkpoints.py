"""The checkpoints of one cell: when they are taken, and which are kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from interplay.cluster.job import Job
from interplay.errors import InterplayError
from interplay.training import Ranks, State, Writer, load

BEST_BY = "val/top1"
_log = logging.getLogger(__name__)


class Checkpoints:
    """Writes to `folder` on the first rank; others write nothing. As a context it ends with all on disk.

    `last.pt` is what a restart goes on from, an epoch's end or not. Within an epoch a checkpoint is taken on all
    ranks together, since each knows a part of it.
    """

    def __init__(self, folder: Path, job: Job, epochs: int, ranks: Ranks) -> None:
        self._folder, self._job, self._epochs, self._first = folder, job, epochs, ranks.first
        self._writer = Writer()
        self._saved_at = time.monotonic()
        self._best = -1.0

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def latest(self) -> State | None:
        """What to go on from, if there is anything: a file that storage has damaged is as good as none."""
        if self._job.keep_best and (best := _read(self._folder / "best.pt")) is not None:
            self._best = float(best["metrics"].get(BEST_BY, self._best))
        kept = sorted(self._folder.glob("epoch-*.pt"), reverse=True)
        found = (_read(path) for path in (self._folder / "last.pt", *kept))
        return next((state for state in found if state is not None), None)

    def due(self) -> bool:
        """Whether enough time has passed for the next one."""
        return time.monotonic() - self._saved_at >= self._job.checkpoint_every_s

    def within_epoch(self, state: Callable[[], State]) -> None:
        """Takes one after a step, on all ranks together."""
        self._save(state, self._folder / "last.pt")

    def after_epoch(self, metrics: dict[str, float], state: Callable[[], State]) -> None:
        """Takes one if enough time has passed, it is the last, or it is to be kept."""
        epoch = int(metrics["epoch"])
        if not self._first:
            return
        paths = [self._folder / "last.pt"] if self.due() or epoch == self._epochs else []
        if self._job.keep_best and metrics.get(BEST_BY, -1.0) > self._best:
            self._best = metrics[BEST_BY]
            paths.append(self._folder / "best.pt")
        if self._job.keep_last:
            paths.append(self._folder / f"epoch-{epoch:04d}.pt")
            (self._folder / f"epoch-{epoch - self._job.keep_last:04d}.pt").unlink(missing_ok=True)
        if paths:
            self._save(state, *paths)

    def now(self, state: Callable[[], State]) -> None:
        """As `within_epoch`, whole on disk on return: training stops here."""
        self.within_epoch(state)
        self._writer.wait()

    def _save(self, state: Callable[[], State], *paths: Path) -> None:
        taken = state()
        if self._first:
            self._writer.save(taken, *paths)
        self._saved_at = time.monotonic()


def _read(path: Path) -> State | None:
    if not path.is_file():
        return None
    try:
        return load(path)
    except InterplayError as error:
        _log.warning("%s; the cell goes on from an earlier one, or begins again", error)
        return None
