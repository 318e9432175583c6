"""Machines go: three raylets and a head on this one."""

from __future__ import annotations

from pathlib import Path

from interplay.tracking.store import FINISHED, PREEMPTED
from tests.faults.drills import MARKS, begun_again, journals, survive

pytestmark = MARKS


def test_machines_are_taken_away(tmp_path: Path) -> None:
    """One is lost below a job of two workers, others get a spot notice."""
    folder = tmp_path / "drill"
    survive(folder, "node", "notice", cells=2, moments=1)
    lost, noticed = journals(folder / "node"), journals(folder / "notice")
    assert begun_again(lost) >= 1
    moved = [records for records in noticed if any(r.get("status") == PREEMPTED for r in records)]
    assert begun_again(moved) >= 1
    assert all(records[-1]["status"] == FINISHED for records in moved)
