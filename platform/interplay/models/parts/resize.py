"""Learned things that belong to places of a grid, taken to another grid."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resize_grid(x_1ND: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """[1, h w, D] -> [1, h' w', D], bicubic: bilinear would shrink the vectors' norms (thesis S3.4)."""
    if old == new:
        return x_1ND
    grid_1Dhw = x_1ND.reshape(1, *old, -1).permute(0, 3, 1, 2).float()
    resized = F.interpolate(grid_1Dhw, size=new, mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).flatten(1, 2).to(x_1ND.dtype)


def resize_inputs(weight_MN: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A map from the places of a grid to anything: [M, h w] -> [M, h' w'].

    It does to an input what the old one did to that input in the old grid's size, bicubic. So each row's sum stays
    the same: with `resize_grid` it would grow with the number of places, and the outputs with it.
    """
    if old == new:
        return weight_MN
    places = torch.eye(new[0] * new[1], device=weight_MN.device).view(-1, 1, *new)
    to_old_grid = F.interpolate(places, size=old, mode="bicubic", align_corners=False, antialias=True).flatten(1)
    return (weight_MN.float() @ to_old_grid.T).to(weight_MN.dtype)


def resize_outputs(weight_NM: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A map from anything to the places of a grid: [h w, M] -> [h' w', M], its outputs interpolated, bicubic."""
    return resize_grid(weight_NM[None], old, new)[0]


def resize_map(weight_NN: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A map from the places of a grid to themselves: [h w, h w] -> [h' w', h' w']."""
    return resize_outputs(resize_inputs(weight_NN, old, new), old, new)
