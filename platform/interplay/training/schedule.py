"""Learning rates: pure functions of progress, so a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from interplay.recipe.procedure import AnySchedule, Cosine, InverseSquareRoot, Steps


def learning_rate(schedule: AnySchedule, peak: float, epochs_done: float) -> float:
    """The rate after `epochs_done` epochs: linear warm-up to `peak`, then what the schedule says.

    A cosine runs over all epochs, warm-up included, as timm's scheduler and DeiT do it. With `per: epoch` the
    rate is constant within an epoch.
    """
    t = math.floor(epochs_done) if schedule.per == "epoch" else epochs_done
    if t < schedule.warmup_epochs:
        return schedule.warmup_lr + t * (peak - schedule.warmup_lr) / schedule.warmup_epochs
    if isinstance(schedule, Cosine):
        cosine = 0.5 * (1.0 + math.cos(math.pi * t / schedule.epochs))
        return schedule.min_lr + (peak - schedule.min_lr) * cosine
    if isinstance(schedule, Steps):
        return peak * schedule.factor ** (t // schedule.every)
    if isinstance(schedule, InverseSquareRoot):
        return peak * math.sqrt(schedule.warmup_epochs / t)
    return peak


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    """`rate`, times the share of it that a group of parameters has (layer-wise decay)."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_scale"]
