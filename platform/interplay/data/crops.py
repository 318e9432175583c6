"""Where an image is cropped and whether it is flipped: pure functions of counter-based draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interplay.counter_rng import uniform
from interplay.recipe.tree import Augment, RandomResizedCrop

_ATTEMPTS = 10


@dataclass(frozen=True)
class Windows:
    """For each image of a batch the source window (left, top, right, bottom) and whether it is mirrored."""

    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]


def training_windows(
    augment: Augment,
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    sample: NDArray[np.int64],
    view: NDArray[np.int64],
) -> Windows:
    """[B] image sizes and identities -> [B, 4] windows and [B] flips."""
    flips = uniform("flip", seed, epoch, sample, view)[:, 0] < augment.flip
    if isinstance(augment.crop, RandomResizedCrop):
        draws = uniform("crop", seed, epoch, sample, view, count=4 * _ATTEMPTS)
        boxes = _random_resized(augment.crop, heights, widths, draws.reshape(-1, _ATTEMPTS, 4))
    else:
        boxes = np.stack([np.zeros_like(widths), np.zeros_like(heights), widths, heights], axis=1)
    return Windows(boxes, flips)


def _random_resized(
    crop: RandomResizedCrop,
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    draws: NDArray[np.float64],
) -> NDArray[np.int64]:
    """torchvision's rule: up to ten attempts, the first that fits, otherwise the largest centred window."""
    h, w = heights[:, None].astype(np.float64), widths[:, None].astype(np.float64)
    area = h * w * (crop.scale[0] + draws[..., 0] * (crop.scale[1] - crop.scale[0]))
    low, high = np.log(crop.ratio)
    ratio = np.exp(low + draws[..., 1] * (high - low))
    crop_w = np.rint(np.sqrt(area * ratio))
    crop_h = np.rint(np.sqrt(area / ratio))
    fits = (crop_w > 0) & (crop_w <= w) & (crop_h > 0) & (crop_h <= h)
    first = fits.argmax(axis=1)
    row = np.arange(len(heights))
    size_w, size_h = crop_w[row, first], crop_h[row, first]
    left = np.floor(draws[row, first, 2] * (widths - size_w + 1))
    top = np.floor(draws[row, first, 3] * (heights - size_h + 1))

    image_ratio = widths / heights
    centred_w = np.where(image_ratio > crop.ratio[1], np.rint(heights * crop.ratio[1]), widths)
    centred_h = np.where(image_ratio < crop.ratio[0], np.rint(widths / crop.ratio[0]), heights)
    none = ~fits.any(axis=1)
    size_w, size_h = np.where(none, centred_w, size_w), np.where(none, centred_h, size_h)
    left = np.where(none, (widths - size_w) // 2, left)
    top = np.where(none, (heights - size_h) // 2, top)
    return np.stack([left, top, left + size_w, top + size_h], axis=1).astype(np.int64)
