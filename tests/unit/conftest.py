"""What tests share: a `.beton` to look into or to damage, and seeds for draws that are not ours."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from interplay.data.manifest import Manifest, manifest_path, write_manifest
from interplay.data.origins import origins_path
from interplay.data.write import write_beton
from interplay.tracking.store import CellStore
from tests.unit import pieces


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "small.beton"
    write_beton(pieces.hard_to_draw(), path, val=0.25)
    return path


@pytest.fixture
def beton(written: Path, tmp_path: Path) -> Path:
    """A file of its own for each test, to be damaged."""
    path = tmp_path / written.name
    for file in (written, manifest_path(written), origins_path(written)):
        shutil.copy(file, tmp_path / file.name)
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Only the manifest: a cell's fingerprint needs no more."""
    path = tmp_path / "none.beton"
    write_manifest(path, Manifest("none", [["a", "b"]], {"train": 64}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))
    return path


@pytest.fixture
def store(tmp_path: Path) -> CellStore:
    return CellStore(tmp_path)


@pytest.fixture
def seeded() -> Iterator[None]:
    """Python's and NumPy's own generators, which timm draws from, start at 0 and are put back."""
    state = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(0)
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with its tables: making them takes seconds, copying them none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
