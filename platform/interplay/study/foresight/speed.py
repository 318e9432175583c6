"""How fast a recipe trains: as cells of the storage root did, or as a few steps do now. Never a guess."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from interplay.augment import policy_in_loader
from interplay.errors import InterplayError
from interplay.recipe import Recipe, read_recipe
from interplay.study.driving.execution import Execution
from interplay.tracking.store import FINISHED, Cell
from interplay.training import Computing, fit

RATE = "throughput/images_per_s"

_WARM_UP, _STEPS = 1, 2


@dataclass(frozen=True)
class Speed:
    """Training images per second of one cell, evaluation not counted, and where the number is from."""

    images_per_s: float
    source: str


class StoredSpeeds:
    """What finished cells of a storage root reached: same model, resolution, batch, views, workers and device."""

    def __init__(self, root: Path, execution: Execution) -> None:
        self._execution = execution
        self._found: dict[Any, list[tuple[float, str]]] = {}
        for path in sorted((root / "cells").glob("*/result.json")):
            if (one := self._read(path)) is not None:
                rate, device, recipe = one
                self._found.setdefault(alike(recipe), []).append((rate, device))

    def of(self, recipe: Recipe) -> Speed | None:
        """The median over such cells; None without one."""
        found = self._found.get(alike(recipe), [])
        if not found:
            return None
        devices = sorted({device for _, device in found})
        cells = f"{len(found)} finished cell{'s' * (len(found) > 1)}"
        return Speed(statistics.median(rate for rate, _ in found), f"{cells} on {', '.join(devices)}")

    def _read(self, path: Path) -> tuple[float, str, Recipe] | None:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            rate, evidence = result["metrics"].get(RATE), result["evidence"]
            if result["status"] != FINISHED or not rate or not self._alike(evidence):
                return None
            return float(rate), str(evidence["device"]), read_recipe(path.with_name("recipe.yaml"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, InterplayError):
            return None  # of an older version, or damaged: whoever needs the cell says so

    def _alike(self, evidence: dict[str, Any]) -> bool:
        ours, device = self._execution, str(evidence["device"])
        if evidence["workers"] != ours.workers or bool(evidence.get("compiled")) != ours.compile:
            return False
        if not ours.gpus:
            return device.startswith("CPU") and evidence["threads"] == ours.threads
        here = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
        return not device.startswith("CPU") and device == (here or device)


def alike(recipe: Recipe) -> Any:
    """What recipes of one speed have in common."""
    return recipe.model, recipe.data.resolution, recipe.data.batch_size, recipe.augment.views


class _Enough(Exception):
    """The probe has its steps."""


def probe(cell: Cell, execution: Execution, steps: int = _STEPS) -> Speed:
    """Trains a few real steps on this machine, on the cell's own data; nothing is written.

    One worker is probed. Weights are those of the seed: of earlier stages and files only values differ.

    Raises:
        InterplayError: if there is no GPU here and `execution` asks for one, or the recipe cannot be trained.
    """
    from interplay.data.loader import beton_loaders  # FFCV

    if execution.gpus and not torch.cuda.is_available():
        raise InterplayError("--probe measures on this machine, which has no GPU; leave --probe or --gpus out")
    if execution.workers > 1:
        raise InterplayError(f"--probe measures one worker, not {execution.workers}; leave --probe out")
    device = torch.device("cuda" if execution.gpus else "cpu")
    recipe = cell.recipe.model_copy(update={"after": None, "start": None})
    policy = policy_in_loader(recipe.augment, recipe.seeds.augment) if device.type == "cpu" else None
    loaders = beton_loaders(cell.dataset, recipe, threads=execution.threads, policy=policy)
    times: list[float] = []

    def after_step(state: Callable[[], Any]) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter())
        if len(times) == _WARM_UP + steps:
            raise _Enough

    before = torch.get_num_threads()
    torch.set_num_threads(execution.threads)
    computing = Computing(execution.micro_batch or None, execution.compile, execution.channels_last)
    try:
        fit(recipe, loaders, device=device, computing=computing, after_step=after_step)
    except _Enough:
        pass
    finally:
        torch.set_num_threads(before)
    if len(times) <= _WARM_UP:
        raise InterplayError("--probe needs a training of at least 2 steps; leave it out")
    measured = len(times) - _WARM_UP
    rate = measured * recipe.data.batch_size / (times[-1] - times[_WARM_UP - 1])
    return Speed(rate, f"a probe of {measured} steps here")
