"""Training losses on soft targets."""

# B batch, K classes
from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from interplay.recipe.tree import BinaryCrossEntropy, CrossEntropy

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, K] and targets [B, K] that sum to 1 -> a scalar."""


def make_loss(recipe: CrossEntropy | BinaryCrossEntropy) -> LossFunction:
    """The loss that `recipe` describes."""
    if isinstance(recipe, CrossEntropy):
        return lambda logits, targets: F.cross_entropy(logits, _smooth(targets, recipe.smoothing))
    return lambda logits, targets: _binary(recipe, logits, targets)


def _smooth(targets_BK: Tensor, smoothing: float) -> Tensor:
    """A share of `smoothing` is spread evenly over all classes, as timm's mixup does it."""
    return targets_BK * (1.0 - smoothing) + smoothing / targets_BK.shape[1] if smoothing else targets_BK


def _binary(recipe: BinaryCrossEntropy, logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
    targets_BK = _smooth(targets_BK, recipe.smoothing)
    if recipe.threshold is not None:
        targets_BK = targets_BK.gt(recipe.threshold).to(logits_BK.dtype)
    return F.binary_cross_entropy_with_logits(logits_BK, targets_BK)
