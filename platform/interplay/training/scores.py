"""What is said of a model's answers on a whole split: pure functions of logits and labels."""

# N samples, K classes
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from interplay.errors import InterplayError


@dataclass(frozen=True)
class Answers:
    """A model's answers to every sample of a split, on the CPU.

    Attributes:
        logits: [N, K] float32.
        labels: [N] int64.
        index: [N] int64 positions of the samples in their split.
    """

    logits: Tensor
    labels: Tensor
    index: Tensor

    @property
    def best(self) -> Tensor:
        """[N] the classes answered."""
        return self.logits.argmax(dim=1)


def summary(answers: Answers) -> dict[str, float]:
    """`top1`, `top5` and calibration error `ece` in per cent, and mean cross-entropy `loss`."""
    top = answers.logits.topk(min(5, answers.logits.shape[1]), dim=1).indices == answers.labels[:, None]
    return {
        "top1": _percent(top[:, 0]),
        "top5": _percent(top.any(dim=1)),
        "loss": float(F.cross_entropy(answers.logits, answers.labels)),
        "ece": calibration_error(answers),
    }


def several_right(answers: Answers, right: Mapping[int, Sequence[int]]) -> dict[str, float]:
    """`top1` and `top5` where several labels are right for an image, as for ImageNet Real.

    An answer counts if it is one of the right ones; images without any are left out, and `images` says how many
    remain. (Beyer et al. 2020; used for the column Real of the thesis's tables.)

    Args:
        answers: of a split.
        right: a sample's position in its split -> its right labels.

    Raises:
        InterplayError: if no image of the split has labels.
    """
    rows = [(row, right[int(i)]) for row, i in enumerate(answers.index) if right.get(int(i))]
    if not rows:
        raise InterplayError("none of the split's images has labels there; the keys are positions in the split")
    chosen = answers.logits[[row for row, _ in rows]]
    top = chosen.topk(min(5, chosen.shape[1]), dim=1).indices.tolist()
    hits = [[answer in labels for answer in line] for line, (_, labels) in zip(top, rows, strict=True)]
    count = len(rows)
    return {
        "top1": 100.0 * sum(line[0] for line in hits) / count,
        "top5": 100.0 * sum(any(line) for line in hits) / count,
        "images": float(count),
    }


def per_class(answers: Answers, classes: int) -> list[float | None]:
    """Top-1 in per cent of each class's images; None for a class without any."""
    right = torch.zeros(classes).index_add_(0, answers.labels, (answers.best == answers.labels).float())
    count = torch.bincount(answers.labels, minlength=classes)
    return [100.0 * r / c if c else None for r, c in zip(right.tolist(), count.tolist(), strict=True)]


def confusion(answers: Answers, classes: int) -> list[list[int]]:
    """[K, K] how often class i was answered by class j."""
    pairs = answers.labels * classes + answers.best
    table: list[list[int]] = torch.bincount(pairs, minlength=classes * classes).view(classes, classes).tolist()
    return table


def calibration_error(answers: Answers, bins: int = 15) -> float:
    """Expected calibration error in per cent (Guo et al. 2017): |confidence - accuracy| over equal bins, weighted."""
    confidence, best = answers.logits.softmax(dim=1).max(dim=1)
    right = (best == answers.labels).double()
    place = (confidence * bins).long().clamp(max=bins - 1)
    gap = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, right - confidence.double())
    return 100.0 * float(gap.abs().sum()) / len(right)


def disagreement(one: Answers, other: Answers) -> float:
    """The share of images, in per cent, to which two classifiers give different classes (thesis T3.4).

    Raises:
        InterplayError: if they answered different images.
    """
    first, second = one.index.argsort(), other.index.argsort()
    if not torch.equal(one.index[first], other.index[second]):
        raise InterplayError("the two checkpoints were not asked about the same images")
    return _percent(one.best[first] != other.best[second])


def _percent(hits: Tensor) -> float:
    return 100.0 * float(hits.double().mean())
