"""How ResMLP's patches talk: the rows of its linear maps as images, and their sparsity (thesis F4.2, F4.3)."""

# L layers, N patches, h w the grid
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interplay.explain.capture import as_maps, named
from interplay.models.backbone import Backbone
from interplay.models.parts.communication import LinearOverPatches, MlpOverPatches
from interplay.models.parts.mlp import Mlp

SMALL = 0.05
"""An entry is small if it is below this share of its matrix's largest."""


@dataclass(frozen=True)
class Sparsity:
    """Share of small entries of each matrix by layer: `A` over patches, `B` and `C` of the MLP over channels."""

    layers: list[int]
    shares: dict[str, list[float]]


def patch_rows(model: nn.Module) -> Tensor:
    """What each patch reads: the rows of `A` of every layer as maps, [L, N, h, w], those of patch 0 first."""
    weights_LNN = torch.stack([module.weight.detach().float().cpu() for _, module in _linear(model)])
    return as_maps(weights_LNN)


def sparsity(model: nn.Module) -> Sparsity:
    """The share of entries below 5 % of the largest, in magnitude, for the matrices of each block."""
    assert isinstance(model, Backbone)
    layers: list[int] = []
    shares: dict[str, list[float]] = {}
    for name, block in model.blocks.items():
        layers.append(int(name))
        for matrix, weight in _matrices(block).items():
            shares.setdefault(matrix, []).append(small_share(weight))
    return Sparsity(layers, shares)


def small_share(weight: Tensor) -> float:
    """Share of entries of a matrix whose magnitude is below `SMALL` of the largest."""
    magnitude = weight.detach().abs()
    return float((magnitude < SMALL * magnitude.max()).double().mean())


def why_no_rows(model: nn.Module) -> str | None:
    """What is missing for rows of `A`, None if nothing is."""
    return None if _linear(model) else "its patches do not talk through one linear map"


def why_no_sparsity(model: nn.Module) -> str | None:
    """What is missing for sparsity, None if nothing is."""
    over_patches = isinstance(model, Backbone) and named(model.blocks, MlpOverPatches)
    return None if over_patches or _linear(model) else "its patches do not talk through linear maps"


def _linear(model: nn.Module) -> list[tuple[str, LinearOverPatches]]:
    return named(model.blocks, LinearOverPatches) if isinstance(model, Backbone) else []


def _matrices(block: nn.Module) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for _, module in named(block, LinearOverPatches):
        found["A"] = module.weight
    for _, over_patches in named(block, MlpOverPatches):
        found |= {"A1": over_patches.fc1.weight, "A2": over_patches.fc2.weight}
    for _, mlp in named(block, Mlp):
        if not isinstance(mlp, MlpOverPatches):
            found |= {"B": mlp.fc1.weight, "C": mlp.fc2.weight}
    return found
