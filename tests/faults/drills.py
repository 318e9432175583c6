"""Drills as tests: after each fault the study's table is the undisturbed one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interplay.drill import drill, drill_table
from interplay.report.draw import to_text
from interplay.tracking.journal import Record, read

SEED = int(os.environ.get("INTERPLAY_DRILL_SEED", "0"))

MARKS = [
    pytest.mark.faults,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's and its libraries' own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLAlchemy leaves connections to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def survive(folder: Path, *faults: str, cells: int, moments: int) -> None:
    """Prints every moment: `INTERPLAY_DRILL_SEED` and the fault are enough to repeat a failure."""
    outcomes = list(drill(folder, faults, cells=cells, moments=moments, seed=SEED, tell=print))
    print(to_text(drill_table(outcomes)))
    assert [outcome.fault for outcome in outcomes] == list(faults)
    assert [outcome.fault for outcome in outcomes if not outcome.survived] == []


def journals(root: Path) -> list[list[Record]]:
    return [read(path)[0] for path in root.glob("cells/*/journal.jsonl")]


def begun_again(found: list[list[Record]]) -> int:
    """Cells that went on from a checkpoint within their training."""
    starts = [[r["epoch"] for r in records if r["event"] == "start"] for records in found]
    return sum(max(epochs[1:], default=0) >= 1 for epochs in starts)
