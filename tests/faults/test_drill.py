"""What `interplay drill` breaks; faults of one drill share their cluster and its undisturbed study."""

from __future__ import annotations

from pathlib import Path

from interplay.tracking.store import FINISHED, PREEMPTED
from tests.faults.drills import MARKS, begun_again, journals, survive

pytestmark = MARKS


def test_twenty_kills(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "driver", "trial", "worker", "controller", cells=6, moments=5)


def test_storage_and_the_tracker_go_and_cells_break(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "storage", "mlflow-killed", "mlflow-hung", "nan", "memory", cells=2, moments=1)


def test_machines_are_taken_away(tmp_path: Path) -> None:
    """One is lost below a job of two workers, others get a spot notice; on another one a process is killed."""
    folder = tmp_path / "drill"
    survive(folder, "node", "notice", "trial", cells=2, moments=1)
    lost, noticed = journals(folder / "node"), journals(folder / "notice")
    assert begun_again(lost) >= 1
    moved = [records for records in noticed if any(r.get("status") == PREEMPTED for r in records)]
    assert begun_again(moved) >= 1
    assert all(records[-1]["status"] == FINISHED for records in moved)
