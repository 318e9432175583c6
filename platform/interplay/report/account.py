"""What a study cost, what it was made of, what was tried again, and how to do it again."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interplay.report.story import Story
from interplay.report.tables import when
from interplay.report.view import Column, Command, Grid, Row, Value, number
from interplay.study.definition import SEARCH, study_directory
from interplay.study.driving.budget import use_text
from interplay.study.driving.ledger import BEAT_S, LEDGER, use_of_study
from interplay.tracking.journal import read
from interplay.tracking.store import FINISHED

MOST_RETRIED = 100


@dataclass
class LedgerRun:
    """One run of the driver, from the ledger's records.

    Attributes:
        began: Unix time of its first record.
        last: of its last one.
        closed: it ended by itself.
        command: as it was typed, if it was.
        total: cells that the study should have then; 0 if it was not said.
        begun: cells that it began or went on with.
        ended: status -> how many.
    """

    began: float
    last: float
    closed: bool = False
    command: str = ""
    total: int = 0
    begun: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Account:
    """The ledger of a study: its runs in order, attempts at each cell, and the use of all of it."""

    runs: tuple[LedgerRun, ...]
    attempts: Mapping[str, int]
    use: Mapping[str, Any] | None

    def running(self, now: float) -> bool:
        """Whether its last driver has shown a sign of life lately."""
        return bool(self.runs) and not self.runs[-1].closed and now - self.runs[-1].last < 3 * BEAT_S


def read_account(root: Path, name: str) -> Account:
    """The account of the study `name`; without runs if it has no ledger."""
    directory = study_directory(root, name)
    runs: dict[str, LedgerRun] = {}
    attempts: Counter[str] = Counter()
    for record in read(directory / LEDGER)[0]:
        run = runs.setdefault(record["run"], LedgerRun(record["at"], record["at"]))
        run.last = record["at"]
        if record["event"] == "open":
            run.command = record.get("command", "")
            run.total = record.get("total", 0)
        elif record["event"] == "begin":
            run.begun += 1
            attempts[record["cell"]] += 1
        elif record["event"] == "end":
            run.ended[record["status"]] += 1
        elif record["event"] == "close":
            run.closed = True
    return Account(tuple(runs.values()), attempts, use_of_study(directory))


def ledger_grid(account: Account) -> Grid:
    """One row for each run of the driver."""
    columns = (
        Column("run of the study"),
        Column("hours", number=True),
        Column("cells begun", number=True),
        Column("how they ended"),
        Column("driver"),
    )
    now = time.time()
    rows = []
    for i, run in enumerate(account.runs):
        left = run.begun - sum(run.ended.values())
        ended = [f"{count} {status.replace('_', ' ')}" for status, count in sorted(run.ended.items())]
        live = i == len(account.runs) - 1 and account.running(now)
        if left:
            ended.append(f"{left} running" if live else f"{left} lost")
        driver = "ended" if run.closed else "running" if live else "✕ killed"
        values = (
            Value(f"{when(run.began)} UTC", sort=run.began),
            number((run.last - run.began) / 3600, 3),
            number(float(run.begun), 0),
            Value(", ".join(ended) or "—"),
            Value(driver, mark="bad" if driver.startswith("✕") else ""),
        )
        rows.append(Row(values))
    assert account.use is not None
    return Grid(f"In all {use_text(dict(account.use))}.", columns, tuple(rows))


def retried_grid(story: Story, account: Account) -> Grid | None:
    """Cells that took more than one start; None if there are none."""
    again = [
        cell for cell in story.cells.values() if len(cell.starts) > 1 or account.attempts.get(cell.fingerprint, 0) > 1
    ]
    if not again:
        return None
    columns = (
        Column("cell"),
        Column("row" if story.rows else "trial"),
        Column("starts", number=True),
        Column("from epoch"),
        Column("now"),
    )
    rows = tuple(
        Row(
            (
                Value(cell.fingerprint, href=f"#cell-{cell.fingerprint}", code=True),
                Value(cell.label),
                number(float(max(len(cell.starts), account.attempts.get(cell.fingerprint, 0))), 0),
                Value(", ".join(map(str, cell.starts)) or "—"),
                Value(cell.status.replace("_", " ")),
            )
        )
        for cell in again[:MOST_RETRIED]
    )
    caption = f"{len(again):,} of {len(story.cells):,} cells were begun more than once."
    if len(again) > MOST_RETRIED:
        caption += f" The first {MOST_RETRIED}."
    return Grid(caption, columns, rows)


_EVIDENCE = {
    "dataset_digest": "data set digest",
    "code_revision": "code revision",
    "results_version": "results version",
    "device": "device",
    "host": "host",
    "executor": "executor",
    "workers": "workers of a cell",
    "threads": "threads of a worker",
    "micro_batch": "micro-batch",
    "compiled": "compiled",
}


def materials_grid(story: Story) -> tuple[Grid, list[str]]:
    """The bill of materials from the cells' evidence, and sentences about what differs between cells."""
    found: dict[str, Counter[str]] = {}
    for cell in story.cells.values():
        for key, name in _EVIDENCE.items():
            if key in cell.evidence:
                found.setdefault(name, Counter())[str(cell.evidence[key])] += 1
        for name, version in cell.evidence.get("versions", {}).items():
            found.setdefault(name, Counter())[str(version)] += 1
    rows = [Row((Value("data set"), Value(Path(story.definition.dataset).name), Value()))]
    for name, values in found.items():
        for value, count in values.most_common(8):
            rows.append(Row((Value(name), Value(value, code=True), number(float(count), 0))))
    differ = [name for name, values in found.items() if len(values) > 1 and name not in ("host", "data set digest")]
    notes = []
    if differ:
        notes.append(f"Not the same for all cells: {', '.join(differ)}. Numbers may differ for that reason alone.")
    columns = (Column("what"), Column("which"), Column("cells", number=True))
    return Grid("From the evidence that travels with every number.", columns, tuple(rows), sortable=False), notes


def commands(story: Story, account: Account) -> list[Command]:
    """How to go on with the study, how it was run, and how to train one of its cells again."""
    found = [
        Command("As it was run. The same command goes on with it, or extends it.", command)
        for command in dict.fromkeys(run.command for run in account.runs if run.command)
    ]
    cell = next((c for c in story.cells.values() if c.status == FINISHED), None)
    if cell is not None:
        recipe = story.root / "cells" / cell.fingerprint / "recipe.yaml"
        best = "the best cell" if story.definition.kind == SEARCH else "one cell"
        found.append(
            Command(
                f"Trains {best} once more from its resolved recipe, in a storage of its own "
                f"({cell.label}; other cells likewise).",
                shlex.join(["interplay", "--storage", "again", "train", str(recipe)]),
            )
        )
    name = story.definition.name
    found.append(
        Command(
            "This page anew.",
            shlex.join(["interplay", "--storage", str(story.root), "report", name, "--format", "html"]),
        )
    )
    return found
