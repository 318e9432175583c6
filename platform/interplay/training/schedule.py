"""Learning rates: pure functions of progress, so a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from torch.optim import Optimizer

from interplay.recipe.tree import Cosine


def learning_rate(schedule: Cosine, peak: float, epochs_done: float) -> float:
    """The rate after `epochs_done` epochs: linear warm-up to `peak`, then the cosine to `min_lr`.

    The cosine runs over all epochs, warm-up included, as timm's scheduler and DeiT do it. With
    `per: epoch` the rate is constant within an epoch.
    """
    t = math.floor(epochs_done) if schedule.per == "epoch" else epochs_done
    if t < schedule.warmup_epochs:
        return schedule.warmup_lr + t * (peak - schedule.warmup_lr) / schedule.warmup_epochs
    cosine = 0.5 * (1.0 + math.cos(math.pi * t / schedule.epochs))
    return schedule.min_lr + (peak - schedule.min_lr) * cosine


def set_learning_rate(optimiser: Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
