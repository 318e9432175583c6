"""A pre-norm residual block, composed by value."""

from __future__ import annotations

from torch import Tensor, nn


class Block(nn.Module):
    """`x + drop_path(scale(mixer(norm(x))))`, then the same with the MLP: [B, N, D] -> [B, N, D].

    An ablation exchanges a part: `nn.Identity()` for no scale, another mixer, another norm.
    """

    def __init__(
        self,
        norm1: nn.Module,
        attn: nn.Module,
        ls1: nn.Module,
        norm2: nn.Module,
        mlp: nn.Module,
        ls2: nn.Module,
        drop_path: nn.Module,
    ) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = norm1, attn, ls1
        self.norm2, self.mlp, self.ls2 = norm2, mlp, ls2
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        out: Tensor = x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))
        return out
