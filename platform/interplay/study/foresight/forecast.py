"""What a study will need: cells, memory, hours, disk. Counted or measured; what neither tells is left open."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from interplay.data.labels import class_count
from interplay.data.manifest import Manifest, read_manifest
from interplay.data.order import check_split
from interplay.errors import InterplayError
from interplay.models.embedding import trunk_width
from interplay.recipe import ByNeighbours, LearntEmbedding, NoProjector, Recipe
from interplay.study.driving.execution import Execution
from interplay.study.foresight.effects import meta_model
from interplay.study.foresight.footprint import Footprint, footprint, kept_for_backward, micro_batch
from interplay.study.foresight.speed import Speed, StoredSpeeds, alike, probe
from interplay.study.foresight.weights import check_weights
from interplay.tracking.store import Cell, CellStore
from interplay.training.grafit.memory import check_room
from interplay.training.precision import dtype_of, weights_dtype
from interplay.training.ranks import Ranks


@dataclass(frozen=True)
class Memory:
    """Bytes of one worker at its largest.

    Attributes:
        recipe: whose.
        resident: weights, gradients, the optimiser's state and the moving average.
        kept: what is kept for backward; None if it cannot be counted.
        images: in memory at a time.
        dtype: that is computed in.
        limit: of the device, as far as this machine knows it.
    """

    recipe: Recipe
    resident: int
    kept: int | None
    images: int
    dtype: str
    limit: int | None

    @property
    def total(self) -> int:
        return self.resident + (self.kept or 0)


@dataclass(frozen=True)
class Forecast:
    """What a study will need.

    Attributes:
        total: cells of the study.
        finished: of them.
        missing: cells that are to be trained, their earlier stages among them.
        memory: of the cell that needs most.
        parameters: trainable ones of the smallest and the largest model.
        speeds: where numbers of time come from; empty without any.
        epoch_s: seconds of an epoch's training steps, of the fastest and the slowest cell; None if one is unknown.
        hours: of all missing cells, so many of them at a time.
        concurrency: cells at a time; None if it depends on a cluster that is not asked.
        cpu_hours: of all missing cells.
        gpu_hours: likewise.
        cost: at the budget's prices; None without them.
        disk: bytes of the checkpoints that are still to come.
        free: bytes of the storage root's disk.
    """

    total: int
    finished: int
    missing: int
    memory: Memory
    parameters: tuple[int, int]
    speeds: tuple[str, ...]
    epoch_s: tuple[float, float] | None
    hours: float | None
    concurrency: int | None
    cpu_hours: float | None
    gpu_hours: float | None
    cost: float | None
    disk: int
    free: int


def forecast(
    cells: Sequence[Cell],
    root: Path,
    execution: Execution,
    *,
    total: int | None = None,
    done: int = 0,
    probing: bool = False,
) -> Forecast:
    """What the study of `cells` will need. Nothing is written, and nothing is trained but by a probe.

    Args:
        cells: of the study, or a sample of those it may still have.
        root: the storage root.
        execution: how they will be trained.
        total: cells of the study, if `cells` is a sample; None otherwise.
        done: finished ones beside the sample.
        probing: train a few steps where no finished cell tells the speed.

    Raises:
        InterplayError: if it cannot work.
    """
    unique = list({cell.fingerprint: cell for cell in cells}.values())
    store = CellStore(root)
    wanted = _missing(unique, store, total, done)
    check_cells(unique, root, execution, total=total, done=done)
    sizes = [_size(cell).parameters for cell in unique]
    memories = _memories(unique, execution)
    if wanted:
        _check_memory(max(memories, key=_total) if total is None else min(memories, key=_total), execution)
    speeds = _speeds([cell for cell, _ in wanted], root, execution, probing)
    seconds = [_epoch_s(cell, speed) for (cell, _), speed in zip(wanted, speeds, strict=True)]
    known = [s for s in seconds if s is not None]
    hours = None
    if known and len(known) == len(wanted):
        lasts = zip(known, wanted, strict=True)
        hours = sum(weight * s * cell.recipe.schedule.epochs for s, (cell, weight) in lasts) / 3600
    concurrency = _concurrency(execution)
    gpu_hours = None if hours is None else hours * execution.workers * execution.gpus
    cpu_hours = None if hours is None else hours * execution.cpus()
    return Forecast(
        total=len(unique) if total is None else total,
        finished=len(unique) - len(store.missing(unique)) if total is None else done,
        missing=round(sum(weight for _, weight in wanted)),
        memory=max(memories, key=_total),
        parameters=(min(sizes), max(sizes)),
        speeds=tuple(dict.fromkeys(speed.source for speed in speeds if speed is not None)),
        epoch_s=(min(known), max(known)) if hours is not None else None,
        hours=None if hours is None else hours / (concurrency or 1),
        concurrency=concurrency,
        cpu_hours=cpu_hours,
        gpu_hours=gpu_hours,
        cost=_cost(execution, cpu_hours, gpu_hours),
        disk=_disk(wanted, store, execution),
        free=_free(root),
    )


def check_cells(
    cells: Sequence[Cell], root: Path, execution: Execution, *, total: int | None = None, done: int = 0
) -> None:
    """Refuses a study whose cells cannot be trained: what is quick to find out, without their activations.

    Args:
        cells: as `forecast` takes them.
        root: the storage root.
        execution: how they will be trained.
        total: as there.
        done: as there.

    Raises:
        InterplayError: if a model cannot be built, weights do not fit, a batch cannot be divided, or memory or disk
            cannot suffice.
    """
    store = CellStore(root)
    wanted = _missing(list({cell.fingerprint: cell for cell in cells}.values()), store, total, done)
    limit = device_memory(execution)
    # a search is not refused for a cell that it may propose while it may propose smaller ones
    judged = wanted if total is None else sorted(wanted, key=lambda one: _size(one[0]).resident)[:1]
    for cell, _ in judged:
        check_weights(cell.recipe, _classes(cell))
        for count in range(execution.least_workers, execution.workers + 1):
            check_split(cell.recipe, count)
        need = _size(cell).resident
        if limit is not None and need > limit:
            raise InterplayError(
                f"{cell.recipe.name}: weights, gradients and the optimiser's state are {gigabytes(need)}, more than "
                f"the {gigabytes(limit)} of the device; choose a smaller model"
            )
        if limit is not None:
            _check_embeddings(cell, execution, limit - need)
    needed, free = _disk(wanted, store, execution), _free(root)
    if needed > free:
        raise InterplayError(
            f"checkpoints of {round(sum(weight for _, weight in wanted))} cells need {gigabytes(needed)}, and {root} "
            f"has {gigabytes(free)} free; make room, or choose another --storage"
        )


def _check_embeddings(cell: Cell, execution: Execution, free: int) -> None:
    """Raises InterplayError if the memory of the kNN loss does not fit in the `free` bytes of a worker's device."""
    recipe, embedding = cell.recipe, cell.recipe.embedding
    if not isinstance(embedding, LearntEmbedding) or not isinstance(embedding.labels, ByNeighbours):
        return
    projector = embedding.projector
    if isinstance(projector, NoProjector):
        width = trunk_width(meta_model(recipe, _classes(cell)), recipe.data.resolution)
    else:
        width = projector.width
    check_room(
        round(read_manifest(cell.dataset).counts["train"] * recipe.data.share),
        width,
        Ranks(0, execution.least_workers),
        torch.device("cuda" if execution.gpus else "cpu"),
        exact=weights_dtype(recipe) is torch.float64,
        free=free,
    )


def _missing(cells: Sequence[Cell], store: CellStore, total: int | None, done: int) -> list[tuple[Cell, float]]:
    """Earlier stages and cells that are to be trained, each with the number of those it stands for."""
    earlier = store.missing([cell.earlier for cell in cells if cell.earlier is not None])
    left = list(cells) if total is not None else store.missing(list(cells))
    weight = 1.0 if total is None or not left else max(0, total - done) / len(left)
    return [*((cell, 1.0) for cell in earlier), *((cell, weight) for cell in left if weight)]


def device_memory(execution: Execution) -> int | None:
    """Bytes of the device that a worker has, if it is one of this machine."""
    if os.environ.get("RAY_ADDRESS"):
        return None
    if execution.gpus:
        return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None
    import psutil

    return int(psutil.virtual_memory().total)


def gigabytes(count: float) -> str:
    """`3.2 GB`, `41 MB`."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _classes(cell: Cell) -> int:
    """Outputs of the classifier."""
    return class_count(_manifest(cell.dataset, cell.dataset.stat().st_mtime_ns), cell.recipe)


@lru_cache(maxsize=64)
def _manifest(dataset: Path, written_ns: int) -> Manifest:
    return read_manifest(dataset)


def _size(cell: Cell) -> Footprint:
    return footprint(cell.recipe, _classes(cell))


def _memories(cells: Sequence[Cell], execution: Execution) -> list[Memory]:
    """Of each kind of cell once."""
    different = {
        (alike(cell.recipe), cell.recipe.optimiser.kind, cell.recipe.precision, cell.recipe.trainable): cell
        for cell in cells
    }
    return [_memory(cell, execution) for cell in different.values()]


def _total(memory: Memory) -> int:
    return memory.total


def _check_memory(memory: Memory, execution: Execution) -> None:
    """Raises InterplayError if a training cannot fit: what is kept for backward is all there at one moment."""
    if memory.limit is None or memory.total <= memory.limit or execution.compile or not memory.kept:
        return
    fits = int(memory.images * (memory.limit - memory.resident) / memory.kept)
    fix = f"set --micro-batch {fits} or less, or use more workers" if fits else "choose a smaller model"
    raise InterplayError(
        f"{memory.recipe.name} needs {gigabytes(memory.total)} with {memory.images} images in memory, more than the "
        f"{gigabytes(memory.limit)} of the device; {fix}"
    )


def _memory(cell: Cell, execution: Execution) -> Memory:
    recipe, device = cell.recipe, torch.device("cuda" if execution.gpus else "cpu")
    dtype = dtype_of(recipe.precision, device)
    if execution.gpus and recipe.precision == "auto" and not torch.cuda.is_available():
        dtype = torch.bfloat16  # of a GPU that is not here
    images = micro_batch(recipe, execution.least_workers, execution.micro_batch)
    computed = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(dtype) if dtype is not None else None
    return Memory(
        recipe=recipe,
        resident=_size(cell).resident,
        kept=kept_for_backward(recipe, _classes(cell), images, dtype),
        images=images,
        dtype=computed or ("fp64" if recipe.precision == "fp64" else "fp32"),
        limit=device_memory(execution),
    )


def _speeds(missing: Sequence[Cell], root: Path, execution: Execution, probing: bool) -> list[Speed | None]:
    stored = StoredSpeeds(root, execution)
    probed: dict[object, Speed] = {}
    found: list[Speed | None] = []
    for cell in missing:
        speed = stored.of(cell.recipe)
        if speed is None and probing:
            key = alike(cell.recipe)
            if key not in probed:
                probed[key] = probe(cell, execution)
            speed = probed[key]
        found.append(speed)
    return found


def _epoch_s(cell: Cell, speed: Speed | None) -> float | None:
    if speed is None:
        return None
    data = cell.recipe.data
    images = round(read_manifest(cell.dataset).counts["train"] * data.share) // data.batch_size * data.batch_size
    return images / speed.images_per_s


def _concurrency(execution: Execution) -> int | None:
    """Cells at a time; None on a cluster, which is not asked before it is joined."""
    if execution.concurrency:
        return execution.concurrency
    if os.environ.get("RAY_ADDRESS"):
        return None
    room = int((os.cpu_count() or 1) // execution.cpus())
    if execution.gpus:
        room = min(room, int(torch.cuda.device_count() // (execution.workers * execution.gpus)))
    return max(1, room)


def _cost(execution: Execution, cpu_hours: float | None, gpu_hours: float | None) -> float | None:
    prices = execution.budget.prices
    if prices is None or cpu_hours is None or gpu_hours is None:
        return None
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return prices.cost(cpu_hours, {device: gpu_hours})


def _disk(wanted: Sequence[tuple[Cell, float]], store: CellStore, execution: Execution) -> int:
    """Bytes that checkpoints will still take, and one that is written before it replaces another."""
    kept = 1 + execution.keep_best + execution.keep_last
    sizes = [_size(cell).checkpoint for cell, _ in wanted]
    there = sum(
        file.stat().st_size for cell, _ in wanted for file in store.checkpoint(cell.fingerprint).parent.glob("*.pt")
    )
    coming = sum(kept * weight * size for size, (_, weight) in zip(sizes, wanted, strict=True))
    return max(0, math.ceil(coming) - there) + max(sizes, default=0)


def _free(root: Path) -> int:
    there = next(path for path in (root, *root.parents) if path.exists())
    return shutil.disk_usage(there).free
