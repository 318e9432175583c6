"""Tokens: where they are, which join the patches, and which the classifier sees."""

# B batch, N patches, T tokens, D width
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from interplay.models.parts.residual import Residual
from interplay.models.parts.resize import resize_grid
from interplay.models.parts.scale import NoScale


class PositionEmbedding(nn.Module):
    """Adds a learned vector to each patch: [B, N, D] -> [B, N, D]."""

    def __init__(self, grid: tuple[int, int], width: int) -> None:
        super().__init__()
        self.grid = grid
        self.pos_embed = nn.Parameter(torch.zeros(1, grid[0] * grid[1], width))

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND + self.pos_embed

    @torch.no_grad()
    def set_grid(self, grid: tuple[int, int]) -> None:
        """Takes another number of patches; embeddings between the old places are interpolated."""
        if grid == self.grid:
            return  # the parameter stays the one that an optimiser knows
        self.pos_embed = nn.Parameter(resize_grid(self.pos_embed, self.grid, grid))
        self.grid = grid


class JoinTokens(nn.Module):
    """Puts learned tokens before the patches: [B, N, D] -> [B, T + N, D]; they may have position embeddings."""

    def __init__(self, count: int, width: int, *, with_position: bool) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, count, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, count, width)) if with_position else None

    def forward(self, x_BND: Tensor) -> Tensor:
        token = self.token if self.pos_embed is None else self.token + self.pos_embed
        return torch.cat([token.expand(x_BND.shape[0], -1, -1), x_BND], dim=1)


class TokenResidual(nn.Module):
    """`tokens + scale * mix(norm(tokens), norm(keys))`: tokens look at patches, which stay as they are.

    [B, T, D], [B, N, D] -> [B, T, D]. `see_themselves`: the keys are tokens and patches.
    """

    def __init__(self, norm: nn.Module, mix: nn.Module, scale: NoScale, *, see_themselves: bool) -> None:
        super().__init__()
        self.norm, self.mix, self.scale, self.see_themselves = norm, mix, scale, see_themselves

    def forward(self, tokens_BTD: Tensor, patches_BND: Tensor) -> Tensor:
        queries, keys = self.queries_and_keys(tokens_BTD, patches_BND)
        return self.scale.add(tokens_BTD, self.mix(queries, keys))

    def queries_and_keys(self, tokens_BTD: Tensor, patches_BND: Tensor) -> tuple[Tensor, Tensor]:
        """What the mixing part is given."""
        queries, keys = self.norm(tokens_BTD), self.norm(patches_BND)
        return queries, torch.cat([queries, keys], dim=1) if self.see_themselves else keys

    def extra_repr(self) -> str:
        return f"see_themselves={self.see_themselves}"


class TokenLayer(nn.Module):
    """Tokens look at the patches, then each goes through an MLP: [B, T, D], [B, N, D] -> [B, T, D]."""

    def __init__(self, look: TokenResidual, mlp: Residual) -> None:
        super().__init__()
        self.look, self.mlp = look, mlp

    def forward(self, tokens_BTD: Tensor, patches_BND: Tensor) -> Tensor:
        out: Tensor = self.mlp(self.look(tokens_BTD, patches_BND))
        return out


class TokenStage(nn.Module):
    """Learned tokens that gather the image in some layers: [B, N, D] patches -> [B, T + N, D]."""

    def __init__(self, count: int, width: int, layers: Sequence[TokenLayer]) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, count, width))
        self.layers = nn.ModuleList(layers)

    def forward(self, x_BND: Tensor) -> Tensor:
        tokens_BTD = self.token.expand(x_BND.shape[0], -1, -1)
        for layer in self.layers:
            tokens_BTD = layer(tokens_BTD, x_BND)
        return torch.cat([tokens_BTD, x_BND], dim=1)

    @torch.no_grad()
    def attention_maps(self, x_BND: Tensor) -> Tensor:
        """Weights of the last layer's attention from each token to the patches: [B, H, T, N]."""
        tokens_BTD = self.token.expand(x_BND.shape[0], -1, -1)
        *before, last = self.layers
        for layer in before:
            tokens_BTD = layer(tokens_BTD, x_BND)
        look: Any = last.look
        queries, keys = look.queries_and_keys(tokens_BTD, x_BND)
        weights: Tensor = look.mix.attention_map(queries, keys)
        return weights[..., keys.shape[1] - x_BND.shape[1] :]


class FirstTokens(nn.Module):
    """The tokens before the patches: [B, T + N, D] -> [B, T, D]."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND[:, : self.count]

    def extra_repr(self) -> str:
        return f"count={self.count}"


class Mean(nn.Module):
    """The mean of all tokens: [B, N, D] -> [B, 1, D]."""

    def forward(self, x_BND: Tensor) -> Tensor:
        return x_BND.mean(dim=1, keepdim=True)
