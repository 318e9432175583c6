"""Colour jitter: brightness, contrast, saturation and hue with one draw per image."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interplay.augment import colour
from interplay.augment.keys import Keys
from interplay.augment.operations import Layer, Values, apply_layer, in_parts

NAMES = ("brightness", "contrast", "saturation", "hue")
Strengths = tuple[float, float, float, float]


def colour_jitter(x: Tensor, strengths: Strengths, order: Literal["fixed", "random"], keys: Keys) -> Tensor:
    """torchvision's ColorJitter with one draw per image.

    Args:
        x: [B, 3, H, W] uint8.
        strengths: of brightness, contrast, saturation (factors in [1 - strength, 1 + strength], at most 1) and
            hue (a share of the circle up to 0.5); one of strength 0 is left out.
        order: "fixed" is the order of `NAMES`, "random" one of all orders for each image, equally likely.
        keys: of the images.

    Returns:
        [B, 3, H, W] uint8.
    """
    if order == "fixed":
        values = torch.from_numpy(jitter_values(strengths, keys)).to(x.device, torch.float32)
        operations = (colour.brightness, colour.contrast, colour.saturation, colour.hue)
        for number, operation in enumerate(operations):
            if strengths[number]:
                x = in_parts(operation, x, values[:, number])
        return x
    for layer in random_order(strengths, keys, np.ones(len(keys), dtype=bool)):
        x = apply_layer(x, layer)
    return x


def random_order(strengths: Strengths, keys: Keys, happens: NDArray[np.bool_]) -> list[Layer]:
    """The operations in an order drawn for each image, where it `happens` [B]."""
    values = jitter_values(strengths, keys)
    # of an order of four, the order of those that are on: hue turned on leaves the others' order as it was
    turns = np.argsort(keys.uniform("jitter.order", len(NAMES)), axis=1, kind="stable")
    on = np.array(strengths) > 0.0
    row = np.arange(len(keys))
    return [Layer(NAMES, np.where(on[turn] & happens, turn, -1), values[row, turn]) for turn in turns.T]


def jitter_values(strengths: Strengths, keys: Keys) -> Values:
    """[B, 4] factors of brightness, contrast and saturation, and shares of the hue's circle."""
    factors = 1.0 + np.array(strengths[:3]) * (2.0 * keys.uniform("jitter", 3) - 1.0)
    shares = strengths[3] * (2.0 * keys.uniform("jitter.hue") - 1.0)
    return np.concatenate([factors, shares], axis=1)
