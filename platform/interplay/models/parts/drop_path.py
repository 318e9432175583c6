"""Drop path (stochastic depth) and its rules over depth (thesis S3.5.2)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a residual branch for whole samples with chance `rate`; survivors are divided by 1 - rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
        return x * (mask / keep if keep else mask)

    def extra_repr(self) -> str:
        return f"rate={self.rate:g}"


def drop_path_rates(rate: float, depth: int, rule: Literal["linear", "uniform"]) -> list[float]:
    """The rate of each block: from 0 to `rate` (`linear`, DeiT) or `rate` everywhere (`uniform`, DeiT III)."""
    if rule == "uniform" or depth == 1:
        return [rate] * depth
    return [rate * block / (depth - 1) for block in range(depth)]
