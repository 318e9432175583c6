"""Classifiers of frozen embeddings (thesis T2.2, T2.16): one linear map, or an MLP. For any number of images.

Images are read a bounded number of bytes at a time, and the whole batch decides each step of the linear map: the
optimum is scikit-learn's `LogisticRegression`, which cannot leave the main memory, nor be had where models train.
"""

# S images, B of them at a time, D width, K classes
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.errors import InterplayError

Kind = Literal["linear", "mlp"]

BOUND = 1 << 28
"""Bytes of standardised embeddings, logits and their gradients at a time."""

STRENGTH = 10.0
"""What the sum of the losses weighs against half the squared weights, scikit-learn's C."""

_STEPS, _HISTORY = 500, 10
_BATCH, _EPOCHS, _LEAST_STEPS, _RATE, _DECAY = 256, 100, 1000, 1e-3, 1e-4


@dataclass(frozen=True)
class Probe:
    """A classifier that was fitted.

    Attributes:
        network: standardised embeddings [B, D] -> logits [B, K].
        mean: [D] of the training images.
        scale: [D] one over their standard deviation; 1 where that is 0.
        classes: [K] labels that it knows, rising.
    """

    network: nn.Module
    mean: Tensor
    scale: Tensor
    classes: Tensor

    def standardised(self, vectors_BD: Tensor) -> Tensor:
        """[B, D] of mean 0 and deviation 1 over the training images."""
        return (vectors_BD.to(self.mean.dtype) - self.mean) * self.scale

    @torch.no_grad()
    def probabilities(self, vectors_SD: Tensor, bound: int = BOUND) -> Tensor:
        """[S, K] p(class), for the labels `classes`."""
        size = rows_within(bound, vectors_SD.shape[1], len(self.classes), self.mean.element_size())
        parts = [self.network(self.standardised(part)).softmax(dim=1) for part in _split(vectors_SD, size)]
        return torch.cat(parts)

    @torch.no_grad()
    def predicted(self, vectors_SD: Tensor, bound: int = BOUND) -> Tensor:
        """[S] the likeliest labels."""
        size = rows_within(bound, vectors_SD.shape[1], len(self.classes), self.mean.element_size())
        parts = [self.network(self.standardised(part)).argmax(dim=1) for part in _split(vectors_SD, size)]
        return self.classes[torch.cat(parts)]


def fit_probe(
    vectors_SD: Tensor, labels_S: Tensor, *, kind: Kind = "linear", seed: int = 0, bound: int = BOUND
) -> Probe:
    """A classifier that has learnt `labels_S` from embeddings, on their device.

    Linear is multinomial logistic regression with a weak L2 penalty, by L-BFGS on all images. An MLP has one hidden
    layer of the embedding's width and learns by AdamW in batches of 256, for 100 epochs or 1000 steps if that is
    more.

    Args:
        vectors_SD: embeddings; in float64 the fit is too, otherwise in float32.
        labels_S: class numbers.
        kind: of classifier.
        seed: of an MLP's weights and batches.
        bound: bytes to work with besides the embeddings themselves.

    Raises:
        InterplayError: if there is one class alone.
    """
    classes, targets_S = torch.unique(labels_S, return_inverse=True)
    if len(classes) < 2:
        raise InterplayError("the images have one class: there is nothing to classify; choose another label level")
    mean, scale = _moments(vectors_SD, bound)
    width, count = vectors_SD.shape[1], len(classes)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if kind == "linear":
            network: nn.Module = nn.Linear(width, count)
        else:
            network = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, count))
        found = Probe(network.to(mean.device, mean.dtype), mean, scale, classes)
        # embeddings come from inference, whose tensors no gradient may keep
        if kind == "linear":
            _descend(found, vectors_SD, targets_S.clone(), bound)
        else:
            _learn(found, vectors_SD, targets_S.clone())
    return found


def rows_within(bound: int, width: int, classes: int, size: int = 4) -> int:
    """How many images at a time keep within `bound` bytes; at least one.

    An image takes its embedding twice, and logits with their softmax and gradients six times.
    """
    return max(1, bound // (size * (2 * width + 6 * classes)))


def _descend(probe: Probe, vectors_SD: Tensor, targets_S: Tensor, bound: int) -> None:
    """Logistic regression from zero weights: the mean loss plus |W|^2 / (2 C S)."""
    network = probe.network
    assert isinstance(network, nn.Linear)
    nn.init.zeros_(network.weight)
    nn.init.zeros_(network.bias)
    count = len(vectors_SD)
    rows = rows_within(bound, vectors_SD.shape[1], len(probe.classes), probe.mean.element_size())
    exact = probe.mean.dtype == torch.float64
    optimiser = torch.optim.LBFGS(
        network.parameters(),
        max_iter=_STEPS,
        history_size=_HISTORY,
        tolerance_grad=1e-9 if exact else 1e-6,
        tolerance_change=1e-13 if exact else 1e-9,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimiser.zero_grad()
        penalty = network.weight.square().sum() / (2.0 * STRENGTH * count)
        penalty.backward()  # type: ignore[no-untyped-call]
        total = penalty.detach()
        for part, wanted in zip(_split(vectors_SD, rows), _split(targets_S, rows), strict=True):
            piece = F.cross_entropy(network(probe.standardised(part)), wanted, reduction="sum") / count
            piece.backward()  # type: ignore[no-untyped-call]
            total = total + piece.detach()
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]


def _learn(probe: Probe, vectors_SD: Tensor, targets_S: Tensor) -> None:
    """AdamW on shuffled batches, its rate falling as a cosine to zero."""
    count = len(vectors_SD)
    batch = min(_BATCH, count)
    epochs = max(_EPOCHS, math.ceil(_LEAST_STEPS * batch / count))
    steps = epochs * math.ceil(count / batch)
    optimiser = torch.optim.AdamW(probe.network.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(epochs):
        for rows in _split(torch.randperm(count).to(vectors_SD.device), batch):
            optimiser.zero_grad()
            logits = probe.network(probe.standardised(vectors_SD[rows]))
            F.cross_entropy(logits, targets_S[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()


def _moments(vectors_SD: Tensor, bound: int) -> tuple[Tensor, Tensor]:
    """Mean and one over the standard deviation of each channel, summed in float64."""
    count, width = vectors_SD.shape
    rows = max(1, bound // (16 * width))
    mean = torch.zeros(width, dtype=torch.float64, device=vectors_SD.device)
    variance = torch.zeros_like(mean)
    for part in _split(vectors_SD, rows):
        mean += part.double().sum(dim=0) / count
    for part in _split(vectors_SD, rows):
        variance += (part.double() - mean).square().sum(dim=0) / count
    dtype = torch.float64 if vectors_SD.dtype == torch.float64 else torch.float32
    deviation = variance.sqrt()
    scale = torch.where(deviation > 1e-12, 1.0 / deviation.clamp(min=1e-12), torch.ones_like(deviation))
    return mean.to(dtype), scale.to(dtype)


def _split(x_S: Tensor, rows: int) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = x_S.split(rows)  # type: ignore[no-untyped-call]
    return found
