"""What the tests of looking into a `.beton` and of its damages share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from interplay.data.manifest import manifest_path
from interplay.data.origins import origins_path
from interplay.data.write import write_beton
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
