"""Ten kills of drivers and of the processes that train cells; with `test_drill_jobs` twenty."""

from __future__ import annotations

from pathlib import Path

from tests.faults.drills import MARKS, survive

pytestmark = MARKS


def test_ten_kills(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "driver", "trial", cells=4, moments=5)


def test_storage_loses_what_it_has_promised(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "storage", cells=2, moments=1)
