"""The moving average of the weights that is evaluated instead of them."""

from __future__ import annotations

import math

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from interplay.recipe.procedure import Ema


def decay_per_step(average: Ema, batch_size: int) -> float:
    """What an old weight keeps in one step of `batch_size` images: exp(-batch_size / horizon)."""
    return math.exp(-batch_size / average.horizon)


def make_average(average: Ema, model: nn.Module, batch_size: int) -> AveragedModel:
    """The average of `model`'s weights and buffers, which starts at what they are now, as timm's does."""
    ema = get_ema_multi_avg_fn(decay_per_step(average, batch_size))  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=ema, use_buffers=True)
    averaged.n_averaged += 1  # otherwise the first update would copy the weights
    return averaged
