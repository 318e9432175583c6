"""MLflow goes, and cells that cannot be trained."""

from __future__ import annotations

from pathlib import Path

from tests.faults.drills import MARKS, survive

pytestmark = MARKS


def test_the_tracker_goes_and_cells_break(tmp_path: Path) -> None:
    survive(tmp_path / "drill", "mlflow-killed", "mlflow-hung", "nan", "memory", cells=2, moments=1)
