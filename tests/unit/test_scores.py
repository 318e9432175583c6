"""What is said of a model's answers: against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch

from interplay.errors import InterplayError
from interplay.training.scores import (
    Answers,
    calibration_error,
    confusion,
    disagreement,
    per_class,
    several_right,
    summary,
)


def answers(best: list[int], labels: list[int], confidence: float = 0.9, classes: int = 7) -> Answers:
    """Each sample's best class has probability `confidence`, the others share the rest."""
    rest = (1 - confidence) / (classes - 1)
    probabilities = torch.full((len(best), classes), rest)
    probabilities[torch.arange(len(best)), torch.tensor(best)] = confidence
    return Answers(probabilities.log(), torch.tensor(labels), torch.arange(len(best)))


def test_the_summary_counts() -> None:
    found = summary(answers([0, 1, 2, 3], [0, 1, 2, 4], confidence=0.4))
    assert found["top1"] == 75.0
    assert found["loss"] == pytest.approx(-(3 * math.log(0.4) + math.log(0.1)) / 4)
    ranked = Answers(torch.arange(7.0).repeat(7, 1), torch.arange(7), torch.arange(7))
    assert summary(ranked)["top5"] == pytest.approx(500 / 7)


@pytest.mark.parametrize(("confidence", "right", "expected"), [(0.9, 9, 0.0), (0.9, 5, 40.0), (0.6, 10, 40.0)])
def test_the_calibration_error_is_the_gap(confidence: float, right: int, expected: float) -> None:
    labels = [0] * right + [1] * (10 - right)
    assert calibration_error(answers([0] * 10, labels, confidence)) == pytest.approx(expected, abs=1e-4)


def test_calibration_weighs_the_bins() -> None:
    sure, unsure = answers([0] * 30, [0] * 30, 0.95), answers([0] * 10, [1] * 10, 0.5)
    both = Answers(*(torch.cat([getattr(a, n) for a in (sure, unsure)]) for n in ("logits", "labels", "index")))
    assert calibration_error(both) == pytest.approx((30 * 5 + 10 * 50) / 40, abs=1e-4)


def test_classes_and_their_confusion() -> None:
    found = answers([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], classes=4)
    assert per_class(found, 4) == [50.0, 50.0, 100.0, None]
    assert confusion(found, 4) == [[1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_several_labels_may_be_right() -> None:
    """An image without right labels is left out."""
    found = several_right(answers([0, 1, 2, 3], [0, 0, 0, 0]), {0: [0, 5], 1: [4], 2: [2], 3: []})
    assert found["images"] == 3
    assert found["top1"] == pytest.approx(200 / 3)
    assert found["top1"] <= found["top5"] <= 100


def test_labels_of_other_images_are_refused() -> None:
    with pytest.raises(InterplayError, match="positions in the split"):
        several_right(answers([0], [0]), {7: [0]})


def test_disagreement_does_not_depend_on_the_order() -> None:
    one, other = answers([0, 1, 2, 3], [0] * 4), answers([0, 1, 1, 3], [0] * 4)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = Answers(other.logits[order], other.labels[order], other.index[order])
    assert disagreement(one, shuffled) == disagreement(one, other) == 25.0
    assert disagreement(one, one) == 0.0
    with pytest.raises(InterplayError, match="same images"):
        disagreement(one, Answers(one.logits[:3], one.labels[:3], one.index[:3]))
