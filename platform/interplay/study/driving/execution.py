"""How cells are trained: none of it changes a result."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from interplay.cluster.job import Job
from interplay.cluster.orders import METRIC, Stopped
from interplay.cluster.revision import code_revision
from interplay.cluster.trial import train_cell
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.driving.budget import Budget
from interplay.study.driving.dispatch import LOOK_S, Dispatch
from interplay.study.search.proposals import Later
from interplay.tracking.store import Cell

Executor = Literal["auto", "inline", "train"]
EXECUTORS = ("auto", "inline", "train")
Scheduler = Literal["none", "asha", "hyperband"]
SCHEDULERS = ("none", "asha", "hyperband")


@dataclass(frozen=True)
class Execution:
    """How cells are trained. None of it changes a result.

    Attributes:
        executor: `inline` (one worker inside a reused Tune actor), `train` (a Ray Train job), or `auto`.
        workers: workers of each cell.
        fewest_workers: with how many a cell begins, and goes on, while the cluster has no room for more; 0 is
            `workers`. Batches stay whole.
        threads: CPU threads of each worker.
        gpus: GPUs of each worker.
        accelerator: type of these GPUs as Ray calls it (`A10G`, `H100`); empty for any.
        concurrency: cells trained at the same time; 0 is as many as the cluster has room for now.
        checkpoint_every_s: least time between two checkpoints of a cell.
        keep_best: keep the checkpoint with the best validation top-1 beside the last.
        keep_last: keep the checkpoints of the last so many epochs.
        micro_batch: images of a worker in memory at a time, 0 is all: the batch stays what the recipe says.
        compile: let torch compile the model's blocks.
        channels_last: keep images and maps in that memory format.
        scheduler: cuts cells of a search that are behind, compared with those of as many epochs; `none` trains all
            to their end.
        grace: epochs before the first cut; 0 is a quarter of the recipe's. Early accuracy misleads (thesis S6.3.4).
        eta: at each cut the best 1/eta go on.
        budget: what the study may use.
    """

    executor: Executor = "auto"
    workers: int = 1
    fewest_workers: int = 0
    threads: int = 1
    gpus: float = 0.0
    accelerator: str = ""
    concurrency: int = 0
    checkpoint_every_s: float = 30.0
    keep_best: bool = False
    keep_last: int = 0
    micro_batch: int = 0
    compile: bool = False
    channels_last: bool = False
    scheduler: Scheduler = "none"
    grace: int = 0
    eta: float = 3.0
    budget: Budget = field(default_factory=Budget)

    def chosen(self) -> Literal["inline", "train"]:
        """Inline for one CPU worker, whose start-up would otherwise be most of its time; Ray Train for the rest.

        Raises:
            InterplayError: if the choice cannot work.
        """
        if self.executor not in EXECUTORS:
            raise InterplayError(f"there is no executor {self.executor!r}; use {', '.join(EXECUTORS)}")
        for name, value, least in (("workers", self.workers, 1), ("threads", self.threads, 1)):
            if value < least:
                raise InterplayError(f"--{name} {value} is too few; use at least {least}")
        if not 0 <= self.fewest_workers <= self.workers:
            raise InterplayError(
                f"--fewest-workers {self.fewest_workers} is not a number from 1 to the {self.workers} of --workers"
            )
        if self.micro_batch < 0 or self.keep_last < 0:
            raise InterplayError("--micro-batch and --keep-last are whole numbers from 0 on")
        if not 0 <= self.gpus < float("inf") or self.concurrency < 0 or not self.checkpoint_every_s >= 0:
            raise InterplayError("--gpus, --concurrency and --checkpoint-every are numbers from 0 on")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise InterplayError(f"{self.gpus:g} GPUs for a worker: more than one GPU must be a whole number")
        if self.accelerator and not self.gpus:
            raise InterplayError(
                f"--accelerator {self.accelerator} says which GPUs; give --gpus too, or leave it out"
            )
        if self.scheduler not in SCHEDULERS:
            raise InterplayError(f"there is no scheduler {self.scheduler!r}; use {', '.join(SCHEDULERS)}")
        if self.grace < 0 or not 1 < self.eta < float("inf"):
            raise InterplayError("--grace is a number of epochs from 0 on, and --eta a number above 1")
        self.budget.check(self.workers * self.gpus)
        if self.executor == "inline" and self.workers > 1:
            raise InterplayError(
                f"the inline executor trains with one worker, not {self.workers}; use --executor train"
            )
        if self.executor == "auto":
            return "inline" if self.workers == 1 and not self.gpus else "train"
        return self.executor

    @property
    def least_workers(self) -> int:
        """Workers that a cell may have to do with."""
        return self.fewest_workers or self.workers

    def cpus(self) -> float:
        """CPUs of a cell."""
        return float(self.workers * self.threads)

    def alone(self, cells: int) -> bool:
        """Whether so many cells need no cluster: one cell on one CPU worker."""
        return cells == 1 and self.chosen() == "inline" and not self.gpus

    def whole(self) -> Execution:
        """The same with all cells trained to their end: earlier stages of a search are."""
        return replace(self, scheduler="none")

    def refuse_cuts(self, study: str) -> None:
        """For studies whose cells must all be trained to their end.

        Raises:
            InterplayError: if a scheduler is asked for.
        """
        if self.scheduler != "none":
            raise InterplayError(
                f"the cells of {study} are never cut: their numbers are compared; leave --scheduler out"
            )

    def check_cuts(self, recipe: Recipe, objectives: Sequence[str] = ()) -> None:
        """Refuses a scheduler that could never cut a cell of a search around `recipe`, or would by the wrong measure.

        Args:
            recipe: the base.
            objectives: of the search, none for `val/top1`.

        Raises:
            InterplayError: saying what to change.
        """
        if self.scheduler == "none":
            return
        if any(objective.split(":")[0] != METRIC for objective in objectives) or len(objectives) > 1:
            raise InterplayError(
                f"--scheduler {self.scheduler} cuts by {METRIC} alone, which would bend a search for "
                f"{', '.join(objectives)}; leave --scheduler out"
            )
        epochs, every = recipe.schedule.epochs, recipe.evaluation.every
        grace = grace_of(self, epochs)
        if not any(epoch % every == 0 for epoch in range(grace, epochs)):
            raise InterplayError(
                f"--scheduler {self.scheduler} sees no accuracy between epochs {grace} and {epochs}, as the recipe "
                f"is evaluated every {every} epochs; set -s evaluation.every=1 or a smaller --grace"
            )


def grace_of(execution: Execution, epochs: int) -> int:
    """Epochs before the first cut.

    Raises:
        InterplayError: if none would be left.
    """
    grace = execution.grace or -(-epochs // 4)
    if grace >= epochs:
        raise InterplayError(f"--grace {grace} is not less than the recipe's {epochs} epochs; nothing could be cut")
    return grace


def make_job(cell: Cell, dispatch: Dispatch, execution: Execution, executor: Literal["inline", "train"]) -> Job:
    """The cell as plain data for a worker; its directory and resolved recipe are written."""
    store = dispatch.store
    return Job(
        fingerprint=cell.fingerprint,
        recipe=cell.recipe.model_dump(mode="json"),
        dataset=str(cell.dataset),
        directory=str(store.prepare(cell)),
        start=str(store.checkpoint(cell.earlier.fingerprint)) if cell.earlier is not None else "",
        executor=executor,
        workers=execution.workers,
        fewest_workers=execution.fewest_workers,
        threads=execution.threads,
        gpus=execution.gpus,
        accelerator=execution.accelerator,
        code_revision=code_revision(),
        checkpoint_every_s=execution.checkpoint_every_s,
        keep_best=execution.keep_best,
        keep_last=execution.keep_last,
        micro_batch=execution.micro_batch,
        compile=execution.compile,
        channels_last=execution.channels_last,
        lease=dispatch.leases.holder,
        asks=dispatch.cuts is not None and dispatch.cuts.follows(cell),
    )


def run_here(dispatch: Dispatch, execution: Execution) -> bool:
    """Trains every cell in this process, one after the other. False if it was interrupted, by Ctrl-C or SIGTERM."""
    with _sigterm_as_ctrl_c():
        return _run_here(dispatch, execution)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """`interplay stop` and the end of a job send SIGTERM. Only a main thread can listen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run_here(dispatch: Dispatch, execution: Execution) -> bool:
    while (cell := dispatch.next()) is not None:
        if isinstance(cell, Later):
            try:
                time.sleep(LOOK_S)
            except KeyboardInterrupt:
                return False
            continue
        outcome: dict[str, Any] = {}
        dispatch.begun(cell.fingerprint, execution.cpus(), 0.0)
        try:
            train_cell(make_job(cell, dispatch, execution, "inline"), "cpu")
        except KeyboardInterrupt:
            dispatch.interrupted(cell.fingerprint)
            return False
        except Stopped as stopped:
            outcome["stopped"] = stopped.reason
        except Exception as error:
            outcome["message"] = f"{type(error).__name__}: {error}"
        dispatch.ended(cell.fingerprint, **outcome)
    return True
