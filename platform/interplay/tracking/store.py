"""The cell store: what has been trained, by fingerprint. It is the truth about what is finished."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from interplay.atomic import write_text
from interplay.data.manifest import read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe, fingerprint, to_yaml
from interplay.recipe.part import LAST_CHECKPOINT

FINISHED, DIVERGED, OUT_OF_MEMORY, FAILED = "finished", "diverged", "out_of_memory", "failed"
"""How a cell can end. The first two are results and are kept; the others leave none in the store."""

EARLIER_DIVERGED = "earlier stage diverged"
"""A result too: of a cell that was never trained, because the stage that it starts from diverged."""

PRUNED, STOPPED, PREEMPTED = "pruned", "stopped", "preempted"
"""How it can be ended before its end: cut by a scheduler, because a budget is used up or the study is stopped, or as
its machine is taken away. Its last checkpoint stays, and whoever needs the whole cell goes on from there."""


@dataclass(frozen=True)
class Cell:
    """A resolved recipe and the data set it is trained on: the unit that is trained, stored and counted.

    `earlier` is the cell whose last weights it starts from, if its recipe has an earlier stage.
    """

    recipe: Recipe
    dataset: Path
    earlier: Cell | None = None

    @cached_property
    def fingerprint(self) -> str:
        after = self.earlier.fingerprint if self.earlier is not None else ""
        return fingerprint(self.recipe, read_manifest(self.dataset).digest, after)

    @property
    def seed(self) -> int:
        return self.recipe.seeds.init


@dataclass(frozen=True)
class CellResult:
    """What `result.json` holds.

    Attributes:
        fingerprint: of the cell.
        status: `finished`, `diverged`, or `earlier stage diverged`.
        metrics: of the last epoch and, under `test/`, of the test split.
        evidence: device, versions, code revision, data set digest, seeds, times, executor.
    """

    fingerprint: str
    status: str
    metrics: dict[str, float]
    evidence: dict[str, Any]

    def metric(self, name: str) -> float | None:
        """The metric, if the cell finished and it is a finite number."""
        value = self.metrics.get(name)
        return value if self.status == FINISHED and value is not None and math.isfinite(value) else None


class CellStore:
    """Cells under `root/cells/FINGERPRINT/`: recipe.yaml, journal.jsonl, checkpoint/ and result.json.

    While a driver has a cell trained, lease.json is there too.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, fingerprint: str) -> Path:
        return self.root / "cells" / fingerprint

    def journal(self, fingerprint: str) -> Path:
        return self.directory(fingerprint) / "journal.jsonl"

    def checkpoint(self, fingerprint: str) -> Path:
        """The cell's last checkpoint."""
        return self.directory(fingerprint) / LAST_CHECKPOINT

    def prepare(self, cell: Cell) -> Path:
        """The cell's directory, with its resolved recipe in it."""
        directory = self.directory(cell.fingerprint)
        directory.mkdir(parents=True, exist_ok=True)
        recipe = directory / "recipe.yaml"
        if not recipe.exists():
            write_text(recipe, to_yaml(cell.recipe))
        return directory

    def result(self, fingerprint: str) -> CellResult | None:
        """The result, or None if the cell is not finished."""
        return read_result(self.directory(fingerprint))

    def missing(self, cells: list[Cell]) -> list[Cell]:
        """The cells that are not finished, each once, in order."""
        unique = {cell.fingerprint: cell for cell in cells}
        return [cell for key, cell in unique.items() if self.result(key) is None]


def read_result(directory: Path) -> CellResult | None:
    """The result in a cell's directory, or None if there is none."""
    path = directory / "result.json"
    try:
        return CellResult(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InterplayError(f"{path} is damaged ({error}); remove it to train the cell again") from None


def write_result(directory: Path, result: CellResult) -> None:
    """Writes `result.json`, atomically: it exists if and only if the cell is finished."""
    write_text(directory / "result.json", json.dumps(vars(result), indent=1))


def default_root() -> Path:
    """`$INTERPLAY_STORAGE`, or `./runs`; inside a submitted Ray job, whose folder is a copy, `~/interplay`."""
    if root := os.environ.get("INTERPLAY_STORAGE"):
        return Path(root).expanduser().resolve()
    if os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR"):
        return (Path.home() / "interplay").resolve()
    return Path("runs").resolve()
