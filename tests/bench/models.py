"""Speed of our models as a ratio to timm's models of the same name.

    python tests/bench/models.py [--names cait_s24 ...] [--batch 16] [--threads 2] [--rounds 5] [--device cuda]

Both do the same step in turn, several rounds of it, and the medians are compared: machines drift. Above 1 ours is
faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import timm
import torch
from torch import Tensor, nn

from interplay.models import build
from interplay.models.counts import node, published

SMALL = [
    "deit_ti",
    "deit_s",
    "deit_ti_dist",
    "vit_s",
    "cait_xxs24",
    "cait_xxs36",
    "cait_xs24",
    "cait_s24",
    "resmlp_s12",
    "resmlp_s24",
    "resmlp_s36",
]
LARGE = ["deit_b", "deit_b_dist", "vit_b", "cait_s36", "resmlp_b24_p8"]
"""Seconds for each step on two cores."""


def timms(name: str, side: int) -> nn.Module:
    model: nn.Module = timm.create_model(published()[name].timm, img_size=side, num_classes=1000)
    return model


def forward(model: nn.Module, images: Tensor) -> None:
    with torch.inference_mode():
        model(images)


def step(model: nn.Module, images: Tensor) -> None:
    model(images).float().square().mean().backward()


def seconds(work: Callable[[], None], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(
    one: Callable[[], None], other: Callable[[], None], rounds: int, device: torch.device
) -> tuple[float, list[float]]:
    """Median seconds of `one`, and how many times as long `other` took in each round, sorted; both ran in turn."""
    taken, ratios = [], []
    for round_number in range(rounds + 1):
        # who is first changes: the second finds warm caches
        times = {which: seconds((one, other)[which], device) for which in ((0, 1), (1, 0))[round_number % 2]}
        if round_number:  # the first is for warming up
            taken.append(times[0])
            ratios.append(times[1] / times[0])
    return statistics.median(taken), sorted(ratios)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", nargs="*", default=SMALL)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, "
        f"batch {options.batch}, {options.threads} threads, {device}"
    )
    print(f"{'model':16}{'forward s':>12}{'ratio (middle half)':>22}{'fwd+bwd s':>12}{'ratio (middle half)':>22}")
    for name in options.names:
        ours = build(node(name), classes=1000, image_size=options.side).to(device)
        theirs = timms(name, options.side).to(device)
        images = torch.randn(options.batch, 3, options.side, options.side, device=device)
        cells = []
        for training, work in ((False, forward), (True, step)):
            one, other = partial(work, ours.train(training), images), partial(work, theirs.train(training), images)
            taken, ratios = compare(one, other, options.rounds, device)
            middle = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
            ratio = f"{statistics.median(ratios):.2f} ({middle[0]:.2f} to {middle[1]:.2f})"
            cells += [f"{taken:12.3f}", f"{ratio:>22}"]
        print(f"{name:16}{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
