"""`interplay check` and `--dry-run`: what a study needs, and what cannot work, said before anything is trained."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from interplay.data import read_manifest
from interplay.data.manifest import Manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.draw import DASH
from interplay.report.noise import effect_text, seed_noise
from interplay.studies.plans import RowsPlan, SearchPlan
from interplay.study.ablation import BASELINE, Ablation
from interplay.study.cells import cell_of
from interplay.study.driving.execution import Execution
from interplay.study.foresight.forecast import Forecast, Memory, forecast, gigabytes
from interplay.study.search.objectives import count
from interplay.study.search.proposals import Search
from interplay.tracking.store import CellStore

PUBLISHED_NOISE = 0.1
"""Spread of top-1 over seeds on ImageNet's validation set that the thesis prints; 0.2 on V2."""


def check_recipe(
    recipe: Recipe, root: Path, execution: Execution | None = None, *, probing: bool = False
) -> list[str]:
    """Lines that say what training `recipe` means on its data set.

    Args:
        recipe: what is to be trained.
        root: the storage root.
        execution: how.
        probing: train two steps if no finished cell tells how fast it is.

    Raises:
        InterplayError: if it cannot be trained.
    """
    execution = execution or Execution()
    execution.chosen()
    cell = cell_of(recipe, root)
    found = forecast([cell], root, execution, probing=probing)
    result = CellStore(root).result(cell.fingerprint)
    return [
        *_recipe_lines(recipe, cell.dataset),
        f"cell        {cell.fingerprint} ({result.status if result else 'not trained yet'})",
        *_forecast_lines(found),
    ]


def search_lines(plan: SearchPlan, root: Path, execution: Execution, *, probing: bool = False) -> list[str]:
    """Lines that say what a search means; of its cells a sample is looked at.

    Raises:
        InterplayError: if it cannot work.
    """
    target = plan.search.target
    found = forecast(plan.sample, root, execution, total=target, done=min(plan.done, target), probing=probing)
    return [
        *_recipe_lines(plan.definition.base(), plan.dataset),
        _space_line(plan.definition.space, plan.dimensions),
        f"search      {plan.search.sampler}, for {', '.join(plan.definition.objectives)}{_generations(plan.search)}",
        f"models      {_range(found.parameters)} parameters in a sample of {len(plan.sample)} cells",
        *(f"            {remark}" for remark in plan.remarks),
        *_forecast_lines(found),
    ]


def _generations(search: Search) -> str:
    if not search.population:
        return ""
    return f"; a population of {search.population}, {-(-search.target // search.population)} generations"


def ablation_lines(
    plan: RowsPlan,
    ablation: Ablation,
    root: Path,
    execution: Execution,
    *,
    seeds: int | None,
    noise: str | None = None,
    probing: bool = False,
) -> list[str]:
    """Lines that say what an ablation means.

    Args:
        plan: of its cells.
        ablation: its rows.
        root: the storage root.
        execution: how its cells are trained.
        seeds: of each row; None if they are added where needed.
        noise: see `check_effect`; None is the spread of the baseline's finished seeds, or the published one.
        probing: train two steps of models of which no finished cell tells how fast they are.

    Raises:
        InterplayError: if it cannot work.
    """
    recipe = plan.definition.base()
    found = forecast(plan.cells, root, execution, probing=probing)
    return [
        *_recipe_lines(recipe, Path(plan.definition.dataset)),
        _rows_line(ablation, sum(not row.same_as for row in ablation.rows if not row.not_run)),
        f"models      {_range(found.parameters)} parameters",
        *(f"            {sentence}" for sentence in plan.shared),
        *_forecast_lines(found),
        _effect_line(plan, ablation, root, seeds) if noise is None else check_effect(ablation, seeds, noise, root),
    ]


def check_effect(ablation: Ablation, seeds: int | None, noise: str, root: Path) -> str:
    """A line that says which differences the ablation can show.

    Args:
        ablation: its rows count: the more there are, the more each has to show.
        seeds: of each row; None if they are added where needed.
        noise: standard deviation of a row over seeds in points, or the name of a study to take it from.
        root: the storage root.

    Raises:
        InterplayError: if it can show none, or the study has no spread.
    """
    try:
        std = float(noise)
    except ValueError:
        std = seed_noise(root, noise)
    rows = sum(not row.not_run for row in ablation.rows)
    return f"seeds       {effect_text(rows, seeds, std)}"


def _effect_line(plan: RowsPlan, ablation: Ablation, root: Path, seeds: int | None) -> str:
    """As `check_effect`, by the spread of the baseline's own seeds if two are finished."""
    if seeds is not None and seeds < 2:
        return "seeds       one seed of each row can show no difference; --seeds 3 or more can"
    store = CellStore(root)
    (baseline,) = [row for row in plan.definition.rows if row.label == BASELINE]
    results = [store.result(cell) for cell in baseline.cells.values()]
    values = [v for result in results if result is not None and (v := result.metric("test/top1")) is not None]
    std = statistics.stdev(values) if len(values) > 1 else 0.0
    line = check_effect(ablation, seeds, str(std or PUBLISHED_NOISE), root)
    whose = f"of {len(values)} finished seeds of the {BASELINE}" if std else "as the thesis prints it for ImageNet"
    return f"{line}; the spread is {whose}"


# ---------------------------------------------------------------------------------------------- drawing
def _recipe_lines(recipe: Recipe, dataset: Path) -> list[str]:
    manifest = read_manifest(dataset)
    images = round(manifest.counts["train"] * recipe.data.share)
    return [
        f"recipe      {recipe.name}",
        f"model       {_sizes(recipe, manifest)}, {recipe.model.family}",
        f"data        {dataset.name}: {', '.join(f'{n} {s}' for s, n in manifest.counts.items())}; "
        f"{_classes(manifest)}; digest {manifest.digest[:16]}",
        f"training    {recipe.schedule.epochs} epochs of {images // recipe.data.batch_size} steps of "
        f"{recipe.data.batch_size} images",
    ]


def _sizes(recipe: Recipe, manifest: Manifest) -> str:
    try:
        sizes = count(recipe, manifest)
    except InterplayError:
        return "cannot be counted without training"
    return f"{sizes['parameters'] / 1e6:.3f} M parameters, {sizes['macs'] / 1e9:.3f} G multiply-adds for an image"


def _range(parameters: tuple[int, int]) -> str:
    small, large = (f"{number / 1e6:.3f}" for number in parameters)
    return f"{small} M" if small == large else f"{small} to {large} M"


def _classes(manifest: Manifest) -> str:
    text = f"{' and '.join(str(len(names)) for names in manifest.classes)} classes"
    per_class = manifest.writing.per_class.get("train") if manifest.writing is not None else None
    if not per_class:
        return text
    return f"{text} of {min(per_class[0])} to {max(per_class[0])} training images"


def _space_line(name: str, dimensions: Sequence[str]) -> str:
    return f"space       {name}: {len(dimensions)} dimensions, each changes the training: {', '.join(dimensions)}"


def _rows_line(ablation: Ablation, different: int) -> str:
    rows = [row for row in ablation.rows if not row.not_run]
    known = len(rows) - different
    said = f", but for {known} that have the cells of another" if known else ""
    return f"ablation    {len(rows)} rows, each differs from the {BASELINE}{said}"


def _forecast_lines(found: Forecast) -> list[str]:
    missing = f"{found.missing} to train"
    return [
        f"cells       {found.total}: {found.finished} finished, {missing}",
        f"memory      {_memory_text(found.memory)}",
        f"time        {_time_text(found)}",
        f"use         {_use_text(found)}",
        f"disk        {gigabytes(found.disk)} of checkpoints, {gigabytes(found.free)} free",
    ]


def _memory_text(memory: Memory) -> str:
    of = f" of {gigabytes(memory.limit)}" if memory.limit is not None else ""
    kept = DASH if memory.kept is None else gigabytes(memory.kept)
    return (
        f"{gigabytes(memory.total)}{of} for each worker: {gigabytes(memory.resident)} of weights, gradients and "
        f"optimiser, {kept} of activations ({memory.images} images, {memory.dtype})"
    )


def _time_text(found: Forecast) -> str:
    if not found.missing:
        return "none: every cell is finished"
    if found.epoch_s is None or found.hours is None:
        return f"{DASH} (no finished cell tells of these models on this device; --probe measures)"
    fast, slow = found.epoch_s
    epoch = f"{fast:.3g} s an epoch" if fast == slow else f"{fast:.3g} to {slow:.3g} s an epoch"
    at_a_time = "one at a time" if found.concurrency is None else f"{found.concurrency} at a time"
    return (
        f"{epoch}, {found.hours:.3g} hours with {at_a_time}; evaluation not counted "
        f"(from {' and '.join(found.speeds)})"
    )


def _use_text(found: Forecast) -> str:
    if not found.missing:
        return "none"
    if found.cpu_hours is None or found.gpu_hours is None:
        return DASH
    cost = "" if found.cost is None else f", cost {found.cost:.3g}"
    return f"{found.cpu_hours:.3g} CPU-hours, {found.gpu_hours:.3g} GPU-hours{cost}"
