"""What residual branches are multiplied by (thesis S3.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NoScale(nn.Module):
    """Residual branches are added as they are. The others override `add`."""

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        """`x + scale * branch`, in one pass over memory."""
        return x + branch


class LayerScale(NoScale):
    """A learned diagonal: [..., D] -> [..., D]; entries start at `init`.

    `uniform`: they start anywhere in [0, 2 init].
    """

    def __init__(self, width: int, init: float, *, uniform: bool = False, learned: bool = True) -> None:
        super().__init__()
        self.init, self.uniform = init, uniform
        values = torch.rand(width) * 2 * init if uniform else torch.full((width,), init)
        self.gamma = nn.Parameter(values, requires_grad=learned)

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        return torch.addcmul(x, branch, self.gamma)

    def extra_repr(self) -> str:
        return f"init={self.init:g}, uniform={self.uniform}, learned={self.gamma.requires_grad}"


class MapScale(LayerScale):
    """LayerScale of a feature map: [B, D, H, W] -> [B, D, H, W]."""

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        return torch.addcmul(x, branch, self.gamma[:, None, None])


class ScalarScale(NoScale):
    """One learned number, and with `bias` another that is added.

    `start` names how the branch's weights start, which is this scaling's other half.
    """

    def __init__(self, init: float, *, bias: bool = False, start: str = "truncated_normal") -> None:
        super().__init__()
        self.init, self.start = init, start
        self.gamma = nn.Parameter(torch.tensor(init))
        self.bias = nn.Parameter(torch.tensor(0.0)) if bias else None

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        out = torch.addcmul(x, branch, self.gamma)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"init={self.init:g}, bias={self.bias is not None}, start={self.start}"


class ScalarBias(nn.Module):
    """Adds one learned number."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias
