"""A whole training step: images per second, and the share of what the device can compute.

    PYTHONPATH=platform:. python -m tests.bench.training_step [--names deit_s ...] [--batch 128] [--rounds 15]

Forward, loss, backward and AdamW, in bf16 where the device computes in it. For each architecture take turns: our
model, the same with its blocks compiled, the same with attention written out (no fused kernel), timm's model of that
name, and that with its blocks compiled. The share counts three forward passes' multiply-adds a step, and is one of
what a large matrix product reaches on this device in the same run: no data sheet is needed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import timm
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from interplay.models import build
from interplay.models.counts import node, published, size_of
from interplay.models.parts.attention import Attention, TalkingHeads, TokenAttention
from interplay.recipe import AdamW, CrossEntropy, NoDistillation
from interplay.training.loss import make_objective
from interplay.training.meter import device_name
from interplay.training.optimiser import make_optimiser
from interplay.training.parts import compile_blocks
from interplay.training.precision import dtype_of
from interplay.training.step import Step
from tests.bench.models import seconds, timms

NAMES = ["deit_s", "deit_b", "cait_s24", "resmlp_s24", "resmlp_b24_p8", "patchconvnet_s60", "patchconvnet_b60"]
CLASSES = 1000
WARM_UP = 3
OPTIMISER = AdamW(lr=1e-4)

Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="*", default=NAMES)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    dtype = dtype_of(options.precision, device)
    print(
        f"{device_name(device)}, {dtype or torch.float32}, torch {torch.__version__}, timm {timm.__version__}, "
        f"batch {options.batch} at {options.side}, median of {options.rounds} rounds\n"
    )
    print("| model | | images/s | range | x timm's | share of peak |\n|---|---|---:|---:|---:|---:|")
    for name in options.names:
        rates, peaks = measure(name, options, device, dtype)
        macs = size_of(node(name), options.side).macs
        for which, found in rates.items():
            against = "" if "timm" not in rates else f"{_middle(found, rates['timm']):.2f}"
            share = statistics.median(6 * macs * rate / peak for rate, peak in zip(found, peaks, strict=True))
            print(
                f"| {name} | {which} | {statistics.median(found):.0f} | {min(found):.0f} to {max(found):.0f} "
                f"| {against} | {share:.0%} |",
                flush=True,
            )


def measure(
    name: str, options: argparse.Namespace, device: torch.device, dtype: torch.dtype | None
) -> tuple[dict[str, list[float]], list[float]]:
    """Images per second of each contender in each round, and the operations per second of a matrix product."""
    contenders = dict(_contenders(name, options, device, dtype))
    product = _product(device, dtype or torch.float32)
    for work in (*contenders.values(), product[0]):
        for _ in range(WARM_UP):
            work()
    rates: dict[str, list[float]] = {which: [] for which in contenders}
    peaks = []
    for _ in range(options.rounds):
        for which, work in contenders.items():
            rates[which].append(options.batch / seconds(work, device))
        peaks.append(product[1] / seconds(product[0], device))
    return rates, peaks


def _contenders(
    name: str, options: argparse.Namespace, device: torch.device, dtype: torch.dtype | None
) -> Iterator[tuple[str, Work]]:
    images = torch.randn(options.batch, 3, options.side, options.side, device=device)
    if options.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    index = torch.arange(options.batch, device=device)
    targets = nn.functional.one_hot(index % CLASSES, CLASSES).float()

    def step(model: nn.Module, *, compiled: bool = False, written_out: bool = False) -> Work:
        model.to(device).train()
        if options.channels_last:
            model.to(memory_format=torch.channels_last)
        if compiled:
            compile_blocks(model)
        whole = Step(
            model=model,
            optimiser=make_optimiser(OPTIMISER, model),
            recipe=OPTIMISER,
            objective=make_objective(CrossEntropy(), NoDistillation()),
            teacher=None,
            autocast=dtype,
            scaler=torch.amp.GradScaler(device.type, enabled=dtype is torch.float16),
        )

        def work() -> None:
            attention: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH) if written_out else nullcontext()
            with attention:
                whole(images, targets, index)

        return work

    ours = partial(build, node(name), classes=CLASSES, image_size=options.side)
    plain = ours()
    yield "ours", step(plain)
    yield "ours, compiled", step(ours(), compiled=True)
    if any(_is_fused(module) for module in plain.modules()):
        yield "ours, attention written out", step(ours(), written_out=True)
    if published()[name].timm:
        yield "timm", step(timms(name, options.side))
        yield "timm, compiled", step(timms(name, options.side), compiled=True)


def _is_fused(module: nn.Module) -> bool:
    return isinstance(module, Attention | TokenAttention) and not isinstance(module, TalkingHeads)


def _product(device: torch.device, dtype: torch.dtype) -> tuple[Work, float]:
    """A large matrix product, and its operations."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    return lambda: a @ b, 2.0 * side**3


def _middle(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


if __name__ == "__main__":
    main()
