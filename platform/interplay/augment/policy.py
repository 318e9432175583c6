"""Augmentation policies: which operation each image gets, drawn on the CPU and applied on the device.

The draws are NumPy arrays made from counters, so grouping images by operation needs no transfer from the
device, and the same image gets the same operation whatever batch or rank it is in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interplay.augment import colour, geometry
from interplay.counter_rng import normal, uniform
from interplay.recipe.tree import NoPolicy, RandAugment, ThreeAugment

Operation = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Keys:
    """What identifies the images of a batch: the seed, the epoch, and [B] samples and views."""

    seed: int
    epoch: int
    sample: NDArray[np.int64]
    view: NDArray[np.int64]

    def uniform(self, operation: str, count: int = 1) -> NDArray[np.float64]:
        """[B, count] uniforms that belong to these images."""
        return uniform(operation, self.seed, self.epoch, self.sample, self.view, count=count)

    def normal(self, operation: str, count: int = 1) -> NDArray[np.float64]:
        """[B, count] standard normals that belong to these images."""
        return normal(operation, self.seed, self.epoch, self.sample, self.view, count=count)


def apply_policy(policy: NoPolicy | ThreeAugment | RandAugment, x: Tensor, keys: Keys) -> Tensor:
    """[B, 3, H, W] in 0..255 float -> the same, each image changed by its own draw."""
    if isinstance(policy, ThreeAugment):
        return _three_augment(policy, x, keys)
    if isinstance(policy, RandAugment):
        for layer in range(policy.layers):
            x = _rand_augment_layer(policy, x, keys, layer)
    return x


def _apply(x: Tensor, rows: NDArray[np.int64], operation: Operation, argument: NDArray[np.float64]) -> Tensor:
    if len(rows):
        where = torch.from_numpy(rows).to(x.device)
        value = torch.from_numpy(argument[rows]).to(x.device, torch.float32)
        x = x.index_copy(0, where, operation(x.index_select(0, where), value))
    return x


def _three_augment(policy: ThreeAugment, x: Tensor, keys: Keys) -> Tensor:
    draws = keys.uniform("three_augment", 2)
    choice = (draws[:, 0] * len(policy.ops)).astype(np.int64)
    low, high = policy.blur_radius
    radius = low + draws[:, 1] * (high - low)
    operations: dict[str, tuple[Operation, NDArray[np.float64]]] = {
        "grayscale": (lambda x, _: colour.grayscale(x), radius),
        "solarise": (colour.solarise, np.full_like(radius, 128.0)),
        "blur": (lambda x, radius: colour.gaussian_blur(x, radius, high), radius),
    }
    for number, name in enumerate(policy.ops):
        operation, argument = operations[name]
        x = _apply(x, np.flatnonzero(choice == number), operation, argument)
    return x


# The operations of timm's "inc1" set. Each takes a level in [0, 10] and a sign, and gives its argument.
_Argument = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def _enhance(level: NDArray[np.float64], sign: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(0.1, 1.0 + sign * level / 10.0 * 0.9)


RAND_AUGMENT: dict[str, tuple[Operation | geometry.Affine, _Argument]] = {
    "autocontrast": (lambda x, _: colour.autocontrast(x), lambda level, sign: level),
    "equalise": (lambda x, _: colour.equalise(x), lambda level, sign: level),
    "invert": (lambda x, _: colour.invert(x), lambda level, sign: level),
    "rotate": (geometry.rotate, lambda level, sign: sign * level / 10.0 * 30.0),
    # one bit at least: timm's zero bits at level 10 is an error in Pillow
    "posterise": (colour.posterise, lambda level, sign: np.maximum(1.0, 4.0 - np.floor(level / 10.0 * 4.0))),
    "solarise": (colour.solarise, lambda level, sign: 256.0 - np.floor(level / 10.0 * 256.0)),
    "solarise_add": (colour.solarise_add, lambda level, sign: np.minimum(128.0, np.floor(level / 10.0 * 110.0))),
    "colour": (colour.saturation, _enhance),
    "contrast": (colour.contrast, _enhance),
    "brightness": (colour.brightness, _enhance),
    "sharpness": (colour.sharpness, _enhance),
    "shear_x": (geometry.shear_x, lambda level, sign: sign * level / 10.0 * 0.3),
    "shear_y": (geometry.shear_y, lambda level, sign: sign * level / 10.0 * 0.3),
    "translate_x": (geometry.translate_x, lambda level, sign: sign * level / 10.0 * 0.45),
    "translate_y": (geometry.translate_y, lambda level, sign: sign * level / 10.0 * 0.45),
}


def _rand_augment_layer(policy: RandAugment, x: Tensor, keys: Keys, layer: int) -> Tensor:
    draws = keys.uniform(f"rand_augment.{layer}", 3)
    choice = (draws[:, 0] * len(RAND_AUGMENT)).astype(np.int64)
    applied = draws[:, 1] < policy.probability
    sign = np.where(draws[:, 2] < 0.5, -1.0, 1.0)
    level = policy.magnitude + policy.std * keys.normal(f"rand_augment.{layer}.level")[:, 0]
    level = np.clip(level, 0.0, 10.0)
    height, width = x.shape[2:]
    moved: list[NDArray[np.int64]] = []
    matrices: list[Tensor] = []
    for number, (operation, argument) in enumerate(RAND_AUGMENT.values()):
        rows = np.flatnonzero((choice == number) & applied)
        values = argument(level, sign)
        if isinstance(operation, geometry.Affine):
            if len(rows):
                value = torch.from_numpy(values[rows]).to(x.device, torch.float32)
                moved.append(rows)
                matrices.append(operation.matrix(value, height, width))
        else:
            x = _apply(x, rows, operation, values)
    # an image gets one operation of a layer, so all that move pixels can be one resampling
    if moved:
        where = torch.from_numpy(np.concatenate(moved)).to(x.device)
        x = x.index_copy(0, where, geometry.affine(x.index_select(0, where), torch.cat(matrices)))
    return x
