"""The measurement protocol of the thesis: throughput, peak memory, parameters and multiply-adds of a model.

The thesis measures at the largest batch that fits (T3.5) or at a given one, mean of 30 runs; here it is their median
with its spread, after a warm-up. Numbers of different protocols are not to be compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.models import build
from interplay.models.counts import node, size_of
from interplay.recipe import TimmModel, find_recipe
from interplay.recipe.architecture import Model
from interplay.recipe.catalogue import ARCHITECTURES
from interplay.training.meter import PeakMemory, device_name
from interplay.training.precision import autocast, dtype_of

_LARGEST = 4096


@dataclass(frozen=True)
class Measured:
    """One model on one device.

    Attributes:
        name: as it was asked for.
        device: its name.
        precision: what it computed in.
        batch: images at a time.
        runs: how many were measured.
        rate: images per second, median of the runs.
        low: of the slowest tenth of the runs.
        high: of the fastest tenth.
        training: images per second of forward and backward, median; None if not measured.
        peak_mb: largest memory: the device's on CUDA, the process's on CPU; None where the system does not tell.
        parameters: trainable ones.
        macs: multiply-adds for one image.
    """

    name: str
    device: str
    precision: str
    batch: int
    runs: int
    rate: float
    low: float
    high: float
    training: float | None
    peak_mb: float | None
    parameters: int
    macs: int


def measure_model(
    name: str,
    *,
    batch: int | None = None,
    resolution: int = 224,
    runs: int = 30,
    precision: str = "auto",
    training: bool = False,
) -> Measured:
    """Measures the model that `name` means, with 1,000 classes.

    Args:
        name: an architecture of the thesis, `timm:NAME`, or a recipe.
        batch: images at a time; None is the largest power of two that fits on a GPU, and 16 on a CPU.
        resolution: side of the images.
        runs: measured runs; as many as a third of them, at most 10, warm up.
        precision: auto (bf16 where the device computes in it), fp32, bf16 or fp16.
        training: measure forward and backward too.

    Raises:
        InterplayError: if there is no such model, or nothing fits.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype_of(precision, device)
    described = _described(name)
    model = build(described, classes=1000, image_size=resolution).to(device)
    peak = PeakMemory(device)
    if batch is None:
        batch = _largest(model, resolution, device, dtype, training) if device.type == "cuda" else 16
    images = torch.randn(batch, 3, resolution, resolution, device=device)
    rates = _rates(lambda: _forward(model.eval(), images, dtype), batch, runs, device)
    steps = _rates(lambda: _backward(model.train(), images, dtype), batch, runs, device) if training else None
    size = size_of(described, resolution)
    ordered = sorted(rates)
    tenth = max(1, runs // 10)
    return Measured(
        name=name,
        device=device_name(device),
        precision=str(dtype or torch.float32).removeprefix("torch."),
        batch=batch,
        runs=runs,
        rate=statistics.median(rates),
        low=statistics.mean(ordered[:tenth]),
        high=statistics.mean(ordered[-tenth:]),
        training=statistics.median(steps) if steps is not None else None,
        peak_mb=peak.megabytes(),
        parameters=size.parameters,
        macs=size.macs,
    )


def header() -> str:
    """The columns of `row`."""
    return (
        f"{'model':22s} {'params M':>9s} {'MACs G':>8s} {'batch':>6s} {'images/s':>9s} {'slow to fast tenth':>20s} "
        f"{'training':>9s} {'peak MB':>8s}  device"
    )


def row(measured: Measured) -> str:
    """A line of the table."""
    spread = f"{measured.low:.1f} to {measured.high:.1f}"
    step = "-" if measured.training is None else f"{measured.training:.1f}"
    peak = "-" if measured.peak_mb is None else f"{measured.peak_mb:.0f}"
    return (
        f"{measured.name:22s} {measured.parameters / 1e6:9.3f} {measured.macs / 1e9:8.3f} {measured.batch:6d} "
        f"{measured.rate:9.1f} {spread:>20s} {step:>9s} {peak:>8s}  "
        f"{measured.device}, {measured.precision}, {measured.runs} runs, torch {torch.__version__}"
    )


def _described(name: str) -> Model:
    if name.startswith("timm:"):
        return TimmModel(name=name.removeprefix("timm:"))
    return node(name) if name in ARCHITECTURES or "." not in name else find_recipe(name).model


@torch.inference_mode()
def _forward(model: nn.Module, images: Tensor, dtype: torch.dtype | None) -> None:
    with autocast(images.device, dtype):
        model(images)


def _backward(model: nn.Module, images: Tensor, dtype: torch.dtype | None) -> None:
    model.zero_grad(set_to_none=True)
    with autocast(images.device, dtype):
        answer = model(images)
    answer.float().logsumexp(dim=-1).mean().backward()


def _rates(work: Callable[[], None], batch: int, runs: int, device: torch.device) -> list[float]:
    def seconds() -> float:
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in range(min(10, max(1, runs // 3))):
        seconds()
    return [batch / seconds() for _ in range(runs)]


def _largest(
    model: nn.Module, resolution: int, device: torch.device, dtype: torch.dtype | None, training: bool
) -> int:
    """The largest power of two of images that fits, at most 4,096."""
    batch = 0
    size = 1
    while size <= _LARGEST:
        try:
            images = torch.empty(size, 3, resolution, resolution, device=device)
            (_backward if training else _forward)(model, images, dtype)
        except torch.OutOfMemoryError:
            break
        batch, size = size, size * 2
    torch.cuda.empty_cache()
    if not batch:
        raise InterplayError("not even one image fits on this device; use a smaller model or --resolution")
    return batch
