"""Which cell is trained now, and what becomes of it: between proposals and executors.

A cell is handed out when this driver has its lease. One that another driver trains is put aside: the study goes on
with others first, then waits, and takes it over if the other dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol

from interplay.cluster.orders import LOST
from interplay.data.manifest import read_manifest
from interplay.study.driving.ledger import Ledger
from interplay.study.search.proposals import Later, Proposals
from interplay.tracking.journal import Journal, Record, read
from interplay.tracking.lease import Leases
from interplay.tracking.store import (
    EARLIER_DIVERGED,
    FINISHED,
    PRUNED,
    Cell,
    CellResult,
    CellStore,
    write_result,
)

OnStart = Callable[[Cell], None]
OnEnd = Callable[[Cell, str], None]
"""Given a cell and, if it has no result, why."""

CUT = "cut by the scheduler"
NO_START = "its earlier stage failed"

LOOK_S = 1.0
"""Seconds between two looks at the cells that others train."""


class Cuts(Protocol):
    """A scheduler that cuts cells."""

    def follows(self, cell: Cell) -> bool:
        """Whether the cell can be cut at all."""
        ...

    def cut(self, cell: Cell, records: list[Record]) -> bool:
        """Whether what the cell's journal says already is enough to cut it."""
        ...


class Dispatch:
    """Hands out cells, one driver's; a context, in which leases are renewed.

    Args:
        proposals: which cells there are.
        store: where they are.
        leases: of this driver.
        ledger: where their use is noted, with the budget.
        cuts: of a scheduler, if there is one.
        on_start: told of each cell that is handed out.
        on_end: told of each cell that has ended, also of one that another driver trained.
    """

    def __init__(
        self,
        proposals: Proposals,
        store: CellStore,
        *,
        leases: Leases | None = None,
        ledger: Ledger | None = None,
        cuts: Cuts | None = None,
        on_start: OnStart = lambda cell: None,
        on_end: OnEnd = lambda cell, message: None,
    ) -> None:
        self.store, self.ledger, self.cuts = store, ledger, cuts
        self.leases = leases or Leases(store.root / "cells")
        self.stopped = ""  # which budget is used up
        self._proposals, self._on_start, self._on_end = proposals, on_start, on_end
        self._training: dict[str, Cell] = {}
        self._elsewhere: dict[str, Cell] = {}
        self._has_process: dict[str, bool] = {}  # of cells in training that had one
        self._look_at = 0.0
        self._entered = ExitStack()

    def __enter__(self) -> Dispatch:
        self._entered.enter_context(self.leases)
        if self.ledger is not None:
            self._entered.enter_context(self.ledger)
        return self

    def __exit__(self, *exception: object) -> None:
        self._entered.close()

    def next(self) -> Cell | Later | None:
        """The next cell to train; None when none is left, or the budget."""
        if self.ledger is not None and (why := self.ledger.used_up()):
            self.stopped = why
            return None
        if (cell := self._from_elsewhere()) is not None:
            return cell
        while (found := self._proposals.next()) is not None:
            if isinstance(found, Later) or self._is_ours(found):
                return found
        return Later.WAIT if self._elsewhere else None

    def begun(self, fingerprint: str, cpus: float, gpus: float, device: str = "") -> None:
        """A process trains the cell now."""
        self._has_process[fingerprint] = True
        if self.ledger is not None:
            self.ledger.begin(fingerprint, cpus, gpus, device)

    def broken(self, fingerprint: str) -> None:
        """That process has died; another may go on."""
        if fingerprint in self._has_process:
            self._has_process[fingerprint] = False
        if self.ledger is not None:
            self.ledger.end(fingerprint, "lost", self._device(fingerprint))

    def given_up(self, fingerprint: str, message: str) -> None:
        """Its processes died too often, says the executor. One that is given up between two is offered again.

        Tune hears of one death twice if it had just given the cell to the process that died: the second time it takes
        for the end of a trial that waits for its next process, however few it had.
        """
        if self._has_process.get(fingerprint, True):
            self.ended(fingerprint, message)
        else:
            self.ended(fingerprint, stopped=LOST)

    @property
    def left(self) -> bool:
        """Whether there are cells again after `next` had none left."""
        return bool(self._elsewhere) and not self.stopped

    def ended(self, fingerprint: str, message: str = "", stopped: str = "") -> None:
        """Nothing trains the cell any more. `message` says what failed, `stopped` why its driver ended it."""
        cell = self._training.pop(fingerprint)
        self._has_process.pop(fingerprint, None)
        if self.ledger is not None:
            self.ledger.end(fingerprint, stopped or ("failed" if message else "ended"), self._device(fingerprint))
        self.leases.release(fingerprint)
        if stopped == LOST:
            self._elsewhere[fingerprint] = cell
        elif stopped == PRUNED:
            self._prune(cell)
        elif stopped:  # not settled: the next run goes on with it
            self._on_end(cell, f"{stopped}: {self.stopped or 'the budget is used up'}")
        else:
            self._proposals.settle(fingerprint, message or None)
            self._on_end(cell, message)

    def interrupted(self, fingerprint: str) -> None:
        """The person stopped the study; the cell stays as it is."""
        self._training.pop(fingerprint, None)
        self.leases.release(fingerprint)

    def _from_elsewhere(self) -> Cell | None:
        if not self._elsewhere or time.monotonic() < self._look_at:
            return None
        self._look_at = time.monotonic() + LOOK_S
        for cell in list(self._elsewhere.values()):
            if self._is_ours(cell):
                return cell
        return None

    def _is_ours(self, cell: Cell) -> bool:
        """Whether this driver is to train the cell now; what needs no training is settled."""
        fingerprint = cell.fingerprint
        if self._has_no_start(cell):
            return False
        if self.store.result(fingerprint) is None:
            if not self.leases.take(fingerprint):
                self._elsewhere[fingerprint] = cell
                return False
            self._elsewhere.pop(fingerprint, None)
            if self.store.result(fingerprint) is None:  # it may have come just before the lease
                if not self._is_cut(cell):
                    self._training[fingerprint] = cell
                    self._on_start(cell)
                    return True
                self.leases.release(fingerprint)
                self._prune(cell)
                return False
            self.leases.release(fingerprint)
        self._elsewhere.pop(fingerprint, None)
        self._proposals.settle(fingerprint)
        self._on_end(cell, "")
        return False

    def _has_no_start(self, cell: Cell) -> bool:
        """Whether the stage that the cell starts from has nothing to start from; the cell has ended then.

        If that stage diverged, this is a result: it would again. If it failed, the next run tries it once more.
        """
        if cell.earlier is None or self.store.result(cell.fingerprint) is not None:
            return False
        earlier = self.store.result(cell.earlier.fingerprint)
        if earlier is not None and earlier.status == FINISHED:
            return False
        self._on_start(cell)
        if earlier is not None:
            _end_before_the_start(self.store, cell)
        message = "" if earlier is not None else NO_START
        self._proposals.settle(cell.fingerprint, message or None)
        self._on_end(cell, message)
        return True

    def _is_cut(self, cell: Cell) -> bool:
        """Whether the scheduler has cut it before: a decision that a killed driver took with it is taken again."""
        if self.cuts is None:
            return False
        journal = self.store.journal(cell.fingerprint)
        records, _ = read(journal)
        if not self.cuts.cut(cell, records):
            return False
        if records[-1].get("status") != PRUNED:
            Journal(journal).append("end", status=PRUNED, message="the cell was pruned by its driver")
        return True

    def _prune(self, cell: Cell) -> None:
        self._proposals.settle(cell.fingerprint, CUT, pruned=True)
        self._on_end(cell, CUT)

    def _device(self, fingerprint: str) -> str:
        """What the cell's last worker said it runs on; only prices of GPUs need it."""
        records, _ = read(self.store.journal(fingerprint))
        starts = [record for record in records if record["event"] == "start"]
        return str(starts[-1]["evidence"].get("device", "")) if starts else ""


def _end_before_the_start(store: CellStore, cell: Cell) -> None:
    """The result of a cell whose earlier stage diverged; one that another driver writes meanwhile is the same."""
    evidence = {
        "earlier_stage": cell.earlier.fingerprint if cell.earlier is not None else "",
        "seeds": cell.recipe.seeds.model_dump(),
        "dataset_digest": read_manifest(cell.dataset).digest,
    }
    directory = store.prepare(cell)
    Journal(store.journal(cell.fingerprint)).append("end", status=EARLIER_DIVERGED, metrics={})
    write_result(directory, CellResult(cell.fingerprint, EARLIER_DIVERGED, {}, evidence))
