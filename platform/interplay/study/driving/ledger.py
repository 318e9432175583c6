"""The ledger of a study: who used what, from when to when. `studies/NAME/ledger.jsonl`, append-only.

- `open`, `alive`, `close`: a run of the driver, with its budget and its command; `alive` every few seconds, so that
  the use of a driver that was killed is counted until then;
- `begin`, `end`: one attempt at a cell, with its CPUs and GPUs. An attempt without an end was lost with its driver.

A cell that two studies share is in the ledger of the one that trained it.
"""

from __future__ import annotations

import logging
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from interplay.study.driving.budget import Budget, Prices, Use, budget_of
from interplay.tracking.journal import Journal, Record, read

BEAT_S = 10.0
LEDGER = "ledger.jsonl"
LOST = "lost"
_log = logging.getLogger(__name__)


@dataclass
class _Attempt:
    run: str
    began: float
    cpus: float
    gpus: float
    device: str


@dataclass
class Tally:
    """The sum of a ledger's records, added one by one: memory grows with its runs, not with its cells."""

    spans: dict[str, list[float]] = field(default_factory=dict)  # run -> first and last sign of life
    open: dict[tuple[str, str], _Attempt] = field(default_factory=dict)
    cpu_s: float = 0.0
    gpu_s: dict[str, float] = field(default_factory=dict)  # by the device's name
    attempts: int = 0
    lost: int = 0
    budget: Budget = field(default_factory=Budget)

    def add(self, record: Record) -> None:
        run, at = record["run"], record["at"]
        self.spans.setdefault(run, [at, at])[1] = at
        if record["event"] == "open":
            self.budget = budget_of(record["budget"])
        elif record["event"] == "begin":
            self.attempts += 1
            attempt = _Attempt(run, at, record["cpus"], record["gpus"], record["device"])
            self.open[run, record["cell"]] = attempt
        elif record["event"] == "end" and (ended := self.open.pop((run, record["cell"]), None)):
            self.lost += record["status"] == LOST
            ended.device = record["device"] or ended.device
            self._count(ended, at - ended.began)
        elif record["event"] == "close":
            for key in [key for key in self.open if key[0] == run]:
                attempt = self.open.pop(key)
                self._count(attempt, at - attempt.began)

    def _count(self, attempt: _Attempt, seconds: float) -> None:
        self.cpu_s += attempt.cpus * seconds
        self.gpu_s[attempt.device] = self.gpu_s.get(attempt.device, 0.0) + attempt.gpus * seconds

    def use(self, prices: Prices | None, live: str = "", now: float = 0.0) -> Use:
        """What was used; by the run `live` until `now`, by others until their last sign of life."""
        ends = {run: max(now, last) if run == live else last for run, (_, last) in self.spans.items()}
        total = Tally(cpu_s=self.cpu_s, gpu_s=dict(self.gpu_s))
        for attempt in self.open.values():
            total._count(attempt, ends[attempt.run] - attempt.began)
        cpu_hours = total.cpu_s / 3600
        gpu_hours = {device: seconds / 3600 for device, seconds in total.gpu_s.items()}
        return Use(
            hours=sum(ends[run] - first for run, (first, _) in self.spans.items()) / 3600,
            cpu_hours=cpu_hours,
            gpu_hours=sum(gpu_hours.values()),
            cost=None if prices is None else prices.cost(cpu_hours, gpu_hours),
            attempts=self.attempts,
            lost=self.lost + sum(attempt.run != live for attempt in self.open.values()),
        )


def read_ledger(directory: Path) -> Tally:
    """The ledger of the study in `directory`; empty if it has not been run."""
    tally = Tally()
    for record in read(directory / LEDGER)[0]:
        tally.add(record)
    return tally


def use_of_study(directory: Path) -> dict[str, Any] | None:
    """What the study in `directory` has used, and what is left of its last budget; None if it has not been run."""
    tally = read_ledger(directory)
    if not tally.spans:
        return None
    return tally.budget.plain(tally.use(tally.budget.prices))


def command_line(arguments: Sequence[str]) -> str:
    """The command as it can be typed again, without passwords in addresses; empty if it is not `interplay`."""
    started = Path(arguments[0]) if arguments else Path()
    if started.name != "interplay" and (started.parent.name, started.name) != ("interplay", "__main__.py"):
        return ""
    shown = [re.sub(r"(://[^\s/:@]*):[^\s/@]*@", r"\1:***@", argument) for argument in arguments[1:]]
    return shlex.join(["interplay", *shown])


class Ledger:
    """The ledger as one run of the driver writes it, with a sign of life every `beat_s` seconds.

    Args:
        directory: of the study.
        budget: of this run; what earlier runs used counts.
        on_used_up: called once, from a thread, when the budget is used up.
        beat_s: seconds between signs of life.
        total: cells that the study shall have; 0 if that is not known.
    """

    def __init__(
        self,
        directory: Path,
        budget: Budget,
        on_used_up: Callable[[str], None] = lambda why: None,
        beat_s: float = BEAT_S,
        total: int = 0,
    ) -> None:
        self._journal, self._total = Journal(directory / LEDGER), total
        self._tally, self._budget, self._on_used_up = read_ledger(directory), budget, on_used_up
        self._run, self._beat_s = uuid4().hex[:12], beat_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="ledger", daemon=True)

    def __enter__(self) -> Ledger:
        self._note("open", budget=asdict(self._budget), total=self._total, command=command_line(sys.argv))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._note("close")

    def begin(self, cell: str, cpus: float, gpus: float, device: str = "") -> None:
        """An attempt at a cell begins on these CPUs and GPUs."""
        self._note("begin", cell=cell, cpus=cpus, gpus=gpus, device=device)

    def end(self, cell: str, status: str, device: str = "") -> None:
        """It has ended; `device` is what it says it ran on."""
        if (self._run, cell) in self._tally.open:
            self._note("end", cell=cell, status=status, device=device)

    def use(self) -> Use:
        """Of all runs until now."""
        with self._lock:
            return self._tally.use(self._budget.prices, self._run, time.time())

    def used_up(self) -> str:
        """A sentence if the budget is; empty otherwise."""
        return self._budget.used_up(self.use())

    def _note(self, event: str, **fields: Any) -> None:
        with self._lock:
            record = {"at": time.time(), "event": event, "run": self._run, **fields}
            self._journal.write(record)
            self._tally.add(record)

    def _beat(self) -> None:
        told = False
        while not self._stop.wait(self._beat_s):
            try:
                self._note("alive")
            except OSError as error:
                _log.warning("the ledger %s could not be written (%s)", self._journal.path, error)
            if not told and (why := self.used_up()):
                told = True
                self._on_used_up(why)
