"""The faults of `interplay drill` at random moments: after each the study's table is the undisturbed one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from interplay.drill import drill, drill_table
from interplay.report.draw import to_text
from interplay.tracking.journal import Record, read
from interplay.tracking.store import FINISHED, PREEMPTED

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("INTERPLAY_DRILL_SEED", "0"))

pytestmark = [
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


@pytest.fixture(autouse=True)
def _importable_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'platform'}{os.pathsep}{ROOT}")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_twenty_kills(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "driver", "trial", "worker", "controller", cells=4, moments=5)


def test_the_tracker_goes_and_cells_break(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "mlflow-killed", "mlflow-hung", "nan", "memory", cells=2, moments=1)


def test_machines_are_taken_away(tmp_path: Path) -> None:
    """Three raylets and a head on this machine: one is lost below a job of two workers, others get a spot notice."""
    folder = tmp_path / "drill"
    survive(folder, "node", "notice", cells=2, moments=2)
    lost, noticed = journals(folder / "node"), journals(folder / "notice")
    assert begun_again(lost) >= 1
    moved = [records for records in noticed if any(r.get("status") == PREEMPTED for r in records)]
    assert begun_again(moved) >= 1
    assert all(records[-1]["status"] == FINISHED for records in moved)


def test_storage_loses_what_it_has_promised(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "storage", cells=2, moments=2)


def journals(root: Path) -> list[list[Record]]:
    return [read(path)[0] for path in root.glob("cells/*/journal.jsonl")]


def begun_again(found: list[list[Record]]) -> int:
    """Cells that went on from a checkpoint within their training."""
    starts = [[r["epoch"] for r in records if r["event"] == "start"] for records in found]
    return sum(max(epochs[1:], default=0) >= 1 for epochs in starts)
