"""Ten kills of workers and controllers of Ray Train jobs."""

from __future__ import annotations

from pathlib import Path

from tests.faults.drills import MARKS, survive

pytestmark = MARKS


def test_ten_kills(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "worker", "controller", cells=4, moments=5)
