"""A real MLflow server on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interplay.drill.tracker import Tracker


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of a server over `home/mlflow.db`, until the end of the context."""
    with Tracker(home, {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}) as tracker:
        yield tracker.uri
