"""Batched affine operations with one parameter per image: [B, 3, H, W] in 0..255 float -> the same."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = (124.0, 116.0, 104.0)
"""What is outside the image: the mean colour of ImageNet, as timm fills it."""


def affine(x: Tensor, matrix: Tensor) -> Tensor:
    """Samples `x` at `matrix` [B, 2, 3] (output pixel from the centre -> input pixel from the centre), bilinear.

    As in Pillow, an edge is sharp: what falls within the image is not blended with `FILL`.
    """
    height, width = x.shape[2:]
    half = x.new_tensor([width / 2.0, height / 2.0])
    scaled = matrix.clone()
    scaled[:, :, :2] = matrix[:, :, :2] * half[None, None, :] / half[None, :, None]
    scaled[:, :, 2] = matrix[:, :, 2] / half[None, :]
    grid = F.affine_grid(scaled, list(x.shape), align_corners=False)
    fill = x.new_tensor(FILL).view(1, 3, 1, 1)
    moved = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1.0).all(dim=3)[:, None]
    return torch.where(inside, moved, fill).round()


def _identity(values: Tensor) -> Tensor:
    return torch.eye(2, 3, device=values.device, dtype=torch.float32).repeat(len(values), 1, 1)


def rotate(x: Tensor, degrees: Tensor) -> Tensor:
    """Counter-clockwise by `degrees` [B] about the centre."""
    angle = -torch.deg2rad(degrees.float())
    matrix = _identity(degrees)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle)
    matrix[:, 0, 1], matrix[:, 1, 0] = torch.sin(angle), -torch.sin(angle)
    return affine(x, matrix)


def shear_x(x: Tensor, amount: Tensor) -> Tensor:
    """Moves each row by `amount` [B] times its height below the top edge."""
    matrix = _identity(amount)
    matrix[:, 0, 1] = amount
    matrix[:, 0, 2] = amount * x.shape[2] / 2.0
    return affine(x, matrix)


def shear_y(x: Tensor, amount: Tensor) -> Tensor:
    """Moves each column by `amount` [B] times its distance from the left edge."""
    matrix = _identity(amount)
    matrix[:, 1, 0] = amount
    matrix[:, 1, 2] = amount * x.shape[3] / 2.0
    return affine(x, matrix)


def translate_x(x: Tensor, share: Tensor) -> Tensor:
    """Shifts left by `share` [B] of the width."""
    matrix = _identity(share)
    matrix[:, 0, 2] = share * x.shape[3]
    return affine(x, matrix)


def translate_y(x: Tensor, share: Tensor) -> Tensor:
    """Shifts up by `share` [B] of the height."""
    matrix = _identity(share)
    matrix[:, 1, 2] = share * x.shape[2]
    return affine(x, matrix)
