"""From pooled tokens to logits."""

# B batch, T tokens, D width, K classes
from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

MakeHead = Callable[[int], nn.Module]
"""A head for so many classes."""


class NoHead(nn.Module):
    """What comes before the classifier: [B, T, D] -> [B, D]."""

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD.mean(dim=1)


class LinearHead(nn.Linear):
    """One linear classifier: [B, 1, D] -> [B, K]."""

    def forward(self, x_B1D: Tensor) -> Tensor:
        return super().forward(x_B1D[:, 0])

    def maker(self) -> MakeHead:
        """Makes others like it, not initialised."""
        return partial(LinearHead, self.in_features)


class TwoHeads(nn.Module):
    """A classifier for each of two tokens, fused late (thesis S3.3): [B, 2, D] -> [B, K].

    `trained_on`: whose labels the second answer learns, the teacher's (`distillation`) or the true ones
    (`class`). `fusion` is how the answers become one; a sum of softmaxes is given as its logarithm, which is a
    logit. With `separate` on, which a training loop sets, training gives both answers: [B, 2, K].
    """

    def __init__(self, width: int, classes: int, fusion: str, *, trained_on: str = "distillation") -> None:
        super().__init__()
        self.fusion, self.separate, self.trained_on = fusion, False, trained_on
        self.first, self.second = nn.Linear(width, classes), nn.Linear(width, classes)

    def forward(self, x_B2D: Tensor) -> Tensor:
        first, second = self.first(x_B2D[:, 0]), self.second(x_B2D[:, 1])
        if self.separate and self.training:
            return torch.stack([first, second], dim=1)
        return fuse(first, second, self.fusion)

    def maker(self) -> MakeHead:
        """Makes others like it, not initialised."""
        return partial(TwoHeads, self.first.in_features, fusion=self.fusion, trained_on=self.trained_on)

    def extra_repr(self) -> str:
        return f"fusion={self.fusion}, trained_on={self.trained_on}"


def fuse(first: Tensor, second: Tensor, fusion: str) -> Tensor:
    """Two answers as one: [B, K], [B, K] -> [B, K]."""
    if fusion == "sum_of_softmaxes":
        return torch.logaddexp(first.log_softmax(dim=-1), second.log_softmax(dim=-1))
    if fusion == "mean_of_logits":
        return (first + second) / 2
    return first if fusion == "first" else second


class PerClassHead(nn.Module):
    """Each class has its own token, and a classifier from its token to one logit: [B, K, D] -> [B, K]."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x_BKD: Tensor) -> Tensor:
        return (x_BKD * self.weight).sum(dim=-1) + self.bias
