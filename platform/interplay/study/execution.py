"""How cells are trained: none of it changes a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

from interplay.cluster.job import Job
from interplay.cluster.revision import code_revision
from interplay.cluster.trial import train_cell
from interplay.errors import InterplayError
from interplay.study.proposals import Proposals
from interplay.tracking.store import Cell, CellStore

OnStart = Callable[[Cell], None]
OnEnd = Callable[[str, str], None]
"""Given a cell's fingerprint and, if it has no result, why."""


class Hooks(TypedDict):
    """What is called when a cell starts and ends."""

    on_start: OnStart
    on_end: OnEnd


Executor = Literal["auto", "inline", "train"]
EXECUTORS = ("auto", "inline", "train")


@dataclass(frozen=True)
class Execution:
    """How cells are trained. None of it changes a result.

    Attributes:
        executor: `inline` (one worker inside a reused Tune actor), `train` (a Ray Train job), or `auto`.
        workers: workers of each cell.
        threads: CPU threads of each worker.
        gpus: GPUs of each worker.
        concurrency: cells trained at the same time; 0 is as many as the cluster has room for now.
        checkpoint_every_s: least time between two checkpoints of a cell.
        keep_best: keep the checkpoint with the best validation top-1 beside the last.
        keep_last: keep the checkpoints of the last so many epochs.
        micro_batch: images of a worker in memory at a time, 0 is all: the batch stays what the recipe says.
        compile: let torch compile the model's blocks.
        channels_last: keep images and maps in that memory format.
    """

    executor: Executor = "auto"
    workers: int = 1
    threads: int = 1
    gpus: float = 0.0
    concurrency: int = 0
    checkpoint_every_s: float = 30.0
    keep_best: bool = False
    keep_last: int = 0
    micro_batch: int = 0
    compile: bool = False
    channels_last: bool = False

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
        if self.micro_batch < 0 or self.keep_last < 0:
            raise InterplayError("--micro-batch and --keep-last are whole numbers from 0 on")
        if not 0 <= self.gpus < float("inf") or self.concurrency < 0 or not self.checkpoint_every_s >= 0:
            raise InterplayError("--gpus, --concurrency and --checkpoint-every are numbers from 0 on")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise InterplayError(f"{self.gpus:g} GPUs for a worker: more than one GPU must be a whole number")
        if self.executor == "inline" and self.workers > 1:
            raise InterplayError(
                f"the inline executor trains with one worker, not {self.workers}; use --executor train"
            )
        if self.executor == "auto":
            return "inline" if self.workers == 1 and not self.gpus else "train"
        return self.executor


def make_job(cell: Cell, store: CellStore, execution: Execution, executor: Literal["inline", "train"]) -> Job:
    """The cell as plain data for a worker; its directory and resolved recipe are written."""
    return Job(
        fingerprint=cell.fingerprint,
        recipe=cell.recipe.model_dump(mode="json"),
        dataset=str(cell.dataset),
        directory=str(store.prepare(cell)),
        start=str(store.checkpoint(cell.earlier.fingerprint)) if cell.earlier is not None else "",
        executor=executor,
        workers=execution.workers,
        threads=execution.threads,
        gpus=execution.gpus,
        code_revision=code_revision(),
        checkpoint_every_s=execution.checkpoint_every_s,
        keep_best=execution.keep_best,
        keep_last=execution.keep_last,
        micro_batch=execution.micro_batch,
        compile=execution.compile,
        channels_last=execution.channels_last,
    )


def run_here(
    proposals: Proposals, store: CellStore, execution: Execution, *, on_start: OnStart, on_end: OnEnd
) -> bool:
    """Trains every cell in this process, one after the other. False if it was interrupted."""
    while (cell := proposals.next()) is not None:
        message = ""
        on_start(cell)
        try:
            train_cell(make_job(cell, store, execution, "inline"), "cpu")
        except KeyboardInterrupt:
            return False
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
        proposals.settle(cell.fingerprint, message or None)
        on_end(cell.fingerprint, message)
    return True
