"""Residual branches: what every family's blocks are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from interplay.models.parts.scale import NoScale


class Residual(nn.Module):
    """`x + scale * drop_path(mix(norm(x)))`: an ablation exchanges a part, `nn.Identity()` for no norm or drop.

    Scale and sum are one pass over memory (`scale.add`). Dropping before scaling is the same: both are products.
    """

    def __init__(self, norm: nn.Module, mix: nn.Module, scale: NoScale, drop_path: nn.Module) -> None:
        super().__init__()
        self.norm, self.mix, self.scale, self.drop_path = norm, mix, scale, drop_path

    def branch(self, x: Tensor) -> Tensor:
        """What is scaled and added to `x`."""
        out: Tensor = self.drop_path(self.mix(self.norm(x)))
        return out

    def forward(self, x: Tensor) -> Tensor:
        return self.scale.add(x, self.branch(x))


class PostNormResidual(Residual):
    """`norm(x + scale * drop_path(mix(x)))`, as in the transformer of 2017."""

    def branch(self, x: Tensor) -> Tensor:
        out: Tensor = self.drop_path(self.mix(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(super().forward(x))
        return out


class Parallel(nn.Module):
    """Branches that see the same input, their outputs summed (thesis S6.3, ViT-H26x2)."""

    def __init__(self, branches: Sequence[Residual]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for branch in self.branches:
            assert isinstance(branch, Residual)
            out = branch.scale.add(out, branch.branch(x))
        return out
