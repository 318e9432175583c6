"""What the tests of faults share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _importable_by_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'platform'}{os.pathsep}{ROOT}")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
