"""The feed-forward part of a block."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "hardswish": F.hardswish,
}


class Mlp(nn.Module):
    """Two linear layers with an activation between: [..., D] -> [..., D], hidden width `ratio` * D."""

    def __init__(self, width: int, ratio: float = 4.0, dropout: float = 0.0, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = activation
        self.act = ACTIVATIONS[activation]
        self.fc1 = nn.Linear(width, int(ratio * width))
        self.fc2 = nn.Linear(int(ratio * width), width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))
        return out

    def extra_repr(self) -> str:
        return f"activation={self.activation}"
