"""Training losses on soft targets, and what distillation adds to them."""

# B batch, K classes
from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from interplay.recipe.procedure import (
    BinaryCrossEntropy,
    CrossEntropy,
    Distillation,
    HardDistillation,
    NoDistillation,
    SoftDistillation,
)

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, K] and targets [B, K] that sum to 1 -> a scalar."""

Objective = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Logits [B, K], or [B, 2, K] of two heads, targets [B, K] and the teacher's logits [B, K] if any -> a scalar."""


def make_loss(recipe: CrossEntropy | BinaryCrossEntropy) -> LossFunction:
    """The loss that `recipe` describes."""
    if isinstance(recipe, CrossEntropy):
        return lambda logits, targets: F.cross_entropy(logits, _smooth(targets, recipe.smoothing))
    return lambda logits, targets: _binary(recipe, logits, targets)


def make_objective(loss: CrossEntropy | BinaryCrossEntropy, distillation: Distillation) -> Objective:
    """The loss, with the teacher's term if there is a teacher.

    One answer learns both. Of two answers the first learns the labels and the second the teacher; without a
    teacher both learn the labels, half each.
    """
    of_labels = make_loss(loss)

    def objective(logits: Tensor, targets_BK: Tensor, taught_BK: Tensor | None) -> Tensor:
        first, second = logits.unbind(dim=1) if logits.ndim == 3 else (logits, logits)
        if taught_BK is None or isinstance(distillation, NoDistillation):
            one = of_labels(first, targets_BK)
            return one if second is first else (one + of_labels(second, targets_BK)) / 2
        weight, term = distillation.weight, teacher_term(distillation, second, taught_BK)
        return (1.0 - weight) * of_labels(first, targets_BK) + weight * term

    return objective


def teacher_term(distillation: SoftDistillation | HardDistillation, student_BK: Tensor, taught_BK: Tensor) -> Tensor:
    """How far the student is from the teacher: a scalar, means over the batch (thesis eq. 3.2 and 3.3).

    Soft: tau^2 * KL(teacher || student) at temperature tau, summed over classes. (The authors' code divides by
    the number of classes as well, the thesis does not.) Hard: cross-entropy with the teacher's class.
    """
    if isinstance(distillation, HardDistillation):
        return F.cross_entropy(student_BK, taught_BK.argmax(dim=1))
    tau = distillation.tau
    student, taught = (student_BK / tau).log_softmax(dim=1), (taught_BK / tau).log_softmax(dim=1)
    return F.kl_div(student, taught, reduction="batchmean", log_target=True) * tau**2


def _smooth(targets_BK: Tensor, smoothing: float) -> Tensor:
    """A share of `smoothing` is spread evenly over all classes, as timm's mixup does it."""
    return targets_BK * (1.0 - smoothing) + smoothing / targets_BK.shape[1] if smoothing else targets_BK


def _binary(recipe: BinaryCrossEntropy, logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
    targets_BK = _smooth(targets_BK, recipe.smoothing)
    if recipe.threshold is not None:
        targets_BK = targets_BK.gt(recipe.threshold).to(logits_BK.dtype)
    return F.binary_cross_entropy_with_logits(logits_BK, targets_BK)
