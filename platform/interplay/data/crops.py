"""Which square of each image a model is given: pure functions of sizes and counter-based draws.

Every crop of training and evaluation is one `Windows`: a window of the source is resized, and a square is
taken out of the result. So there is one decoder for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interplay.counter_rng import uniform
from interplay.recipe.augmentation import Augment, RandomResizedCrop, SimpleRandomCrop

_ATTEMPTS = 10

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """For each image of a batch, how its square of R x R pixels is made.

    Attributes:
        boxes: [B, 4] the window of the source: left, top, right, bottom. No pixel around it is looked at.
        sizes: [B, 2] width and height that the window is resized to.
        corners: [B, 2] left and top of the square within the resized window. Where the square reaches beyond it,
            the window is mirrored without repeating its border.
        flips: [B] whether the square is mirrored.
    """

    boxes: Integers
    sizes: Integers
    corners: Integers
    flips: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)


def training_windows(
    augment: Augment,
    resolution: int,
    heights: Integers,
    widths: Integers,
    *,
    seed: int,
    epoch: int,
    sample: Integers,
    view: Integers,
) -> Windows:
    """[B] image sizes and identities -> windows of squares of `resolution` pixels."""
    crop = augment.crop
    flips = uniform("flip", seed, epoch, sample, view)[:, 0] < augment.flip
    boxes = _whole(heights, widths)
    if isinstance(crop, SimpleRandomCrop):
        draws = uniform("crop", seed, epoch, sample, view, count=2)
        sizes = _short_side(resolution, heights, widths)
        room = sizes - resolution + 2 * crop.padding + 1
        corners = np.floor(draws * room).astype(np.int64) - crop.padding
        return Windows(boxes, sizes, corners, flips)
    if isinstance(crop, RandomResizedCrop):
        draws = uniform("crop", seed, epoch, sample, view, count=4 * _ATTEMPTS)
        boxes = _random_resized(crop, heights, widths, draws.reshape(-1, _ATTEMPTS, 4))
    sizes = np.full((len(boxes), 2), resolution, dtype=np.int64)
    return Windows(boxes, sizes, np.zeros_like(sizes), flips)


def evaluation_windows(resolution: int, crop_ratio: float, heights: Integers, widths: Integers) -> Windows:
    """Short side to `resolution / crop_ratio`, then the centre.

    The same as torchvision's `Resize(int(resolution / crop_ratio))` and `CenterCrop(resolution)`.
    """
    sizes = _short_side(int(resolution / crop_ratio), heights, widths)
    corners = np.rint((sizes - resolution) / 2.0).astype(np.int64)
    return Windows(_whole(heights, widths), sizes, corners, np.zeros(len(sizes), dtype=np.bool_))


def _whole(heights: Integers, widths: Integers) -> Integers:
    return np.stack([np.zeros_like(widths), np.zeros_like(heights), widths, heights], axis=1)


def _short_side(short: int, heights: Integers, widths: Integers) -> Integers:
    """torchvision's rule: the short side becomes `short`, the long one keeps the ratio, rounded down."""
    shorter = np.minimum(heights, widths)
    return np.stack([(short * side / shorter).astype(np.int64) for side in (widths, heights)], axis=1)


def _random_resized(
    crop: RandomResizedCrop, heights: Integers, widths: Integers, draws: NDArray[np.float64]
) -> Integers:
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
