"""Batched affine operations with one parameter per image: [B, 3, H, W] uint8 -> the same.

`grid_sample` is what kornia calls too; torchvision's operations take one parameter for a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

FILL = (124.0, 116.0, 104.0)
"""What is outside the image: the mean colour of ImageNet, as timm fills it."""

BLACK = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Resampling:
    """Between pixels, and outside the image."""

    mode: Literal["nearest", "bilinear"] = "bilinear"
    fill: tuple[float, float, float] = FILL


TIMMS = Resampling()


def affine(x: Tensor, matrix: Tensor, resampling: Resampling = TIMMS) -> Tensor:
    """Samples `x` at `matrix` [B, 2, 3] (output pixel from the centre -> input pixel from the centre).

    As in Pillow, an edge is sharp: what falls within the image is not blended with the fill.
    """
    height, width = x.shape[2:]
    half = matrix.new_tensor([width / 2.0, height / 2.0])
    scaled = matrix.clone()
    scaled[:, :, :2] = matrix[:, :, :2] * half[None, None, :] / half[None, :, None]
    scaled[:, :, 2] = matrix[:, :, 2] / half[None, :]
    grid = F.affine_grid(scaled, list(x.shape), align_corners=False)
    fill = matrix.new_tensor(resampling.fill).view(1, 3, 1, 1)
    moved = F.grid_sample(x.float(), grid, mode=resampling.mode, padding_mode="border", align_corners=False)
    inside = (grid.abs() <= 1.0).all(dim=3)[:, None]
    return torch.where(inside, moved, fill).round_().to(torch.uint8)


@dataclass(frozen=True)
class Affine:
    """An operation that moves pixels: `matrix` gives [B, 2, 3] for [B] values and the image's height and width.

    Called on [B, 3, H, W] and [B] values. Several operations on different images can share one `affine`.
    """

    matrix: Callable[[Tensor, int, int], Tensor]

    def __call__(self, x: Tensor, values: Tensor, resampling: Resampling = TIMMS) -> Tensor:
        return affine(x, self.matrix(values, x.shape[2], x.shape[3]), resampling)


def _identity(values: Tensor) -> Tensor:
    return torch.eye(2, 3, device=values.device, dtype=torch.float32).repeat(len(values), 1, 1)


def _rotation(degrees: Tensor, height: int, width: int) -> Tensor:
    """Counter-clockwise by `degrees` [B] about the centre."""
    angle = -torch.deg2rad(degrees.float())
    matrix = _identity(degrees)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle)
    matrix[:, 0, 1], matrix[:, 1, 0] = torch.sin(angle), -torch.sin(angle)
    return matrix


def _shear_x(amount: Tensor, height: int, width: int) -> Tensor:
    """Moves each row by `amount` [B] times its height below the top edge."""
    matrix = _identity(amount)
    matrix[:, 0, 1] = amount
    matrix[:, 0, 2] = amount * height / 2.0
    return matrix


def _shear_y(amount: Tensor, height: int, width: int) -> Tensor:
    """Moves each column by `amount` [B] times its distance from the left edge."""
    matrix = _identity(amount)
    matrix[:, 1, 0] = amount
    matrix[:, 1, 2] = amount * width / 2.0
    return matrix


def _translation_x(share: Tensor, height: int, width: int) -> Tensor:
    """Shifts left by `share` [B] of the width."""
    matrix = _identity(share)
    matrix[:, 0, 2] = share * width
    return matrix


def _translation_y(share: Tensor, height: int, width: int) -> Tensor:
    """Shifts up by `share` [B] of the height."""
    matrix = _identity(share)
    matrix[:, 1, 2] = share * height
    return matrix


rotate = Affine(_rotation)
shear_x, shear_y = Affine(_shear_x), Affine(_shear_y)
translate_x, translate_y = Affine(_translation_x), Affine(_translation_y)
