"""Real Ray on this machine, started once for all tests of a module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from interplay.cluster.session import session

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")  # others of this process start clusters of their own
def ray_session() -> Iterator[None]:
    os.environ["PYTHONPATH"] = f"{ROOT / 'platform'}{os.pathsep}{ROOT}"  # for the workers
    with session():
        yield
