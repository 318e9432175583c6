"""Random erasing, one draw per image: some boxes of a normalised batch are filled with noise, a colour or zeros."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interplay.augment.keys import Keys
from interplay.recipe.augmentation import Augment

_ATTEMPTS = 10


def erase_(x: Tensor, augment: Augment, keys: Keys) -> Tensor:
    """Erases boxes of some normalised images [B, 3, H, W] in place, as timm does; returns `x`.

    torchvision's RandomErasing draws one box for a whole batch, and timm's loops over images.
    """
    height, width = x.shape[2:]
    happens = keys.uniform("erasing", 1)[:, 0] < augment.erasing
    count = np.ones(len(keys))
    if augment.erasing_count > 1:
        count = 1.0 + np.floor(keys.uniform("erasing.count")[:, 0] * augment.erasing_count)
    for number in range(augment.erasing_count):
        boxes, fits = draw_boxes(augment, keys, number, count, height, width)
        rows = np.flatnonzero(happens & fits & (number < count))
        if len(rows):
            keyed = (keys[rows].uniform(_name(number, "noise"))[:, 0] * 2.0**53).astype(np.int64)
            _fill_(x, rows, boxes[rows], augment.erasing_mode, keyed)
    return x


def draw_boxes(
    augment: Augment, keys: Keys, number: int, count: NDArray[np.float64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """[B, 4] boxes (top, left, height, width) of that `number` in images with `count` [B] of them, and whether
    one of ten attempts gave a box smaller than the image."""
    # the first box shares its draws with the question whether there is one, as it always did
    skipped = 0 if number else 1
    draws = keys.uniform(_name(number), skipped + 4 * _ATTEMPTS)
    tries = draws[:, skipped:].reshape(-1, _ATTEMPTS, 4)
    low, high = augment.erasing_area
    area = height * width * (low + tries[..., 0] * (high - low)) / count[:, None]
    flat, tall = np.log(augment.erasing_aspect), np.log(1.0 / augment.erasing_aspect)
    ratio = np.exp(flat + tries[..., 1] * (tall - flat))
    tall, wide = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (tall < height) & (wide < width)
    first, row = fits.argmax(axis=1), np.arange(len(draws))
    tall, wide = tall[row, first], wide[row, first]
    top = np.floor(tries[row, first, 2] * (height - tall + 1))
    left = np.floor(tries[row, first, 3] * (width - wide + 1))
    return np.stack([top, left, tall, wide], axis=1).astype(np.int64), fits.any(axis=1)


def _name(number: int, what: str = "") -> str:
    return ".".join(filter(None, ("erasing", str(number) if number else "", what)))


def _fill_(x: Tensor, rows: NDArray[np.int64], boxes: NDArray[np.int64], mode: str, keyed: NDArray[np.int64]) -> None:
    """Fills `boxes` [n, 4] of the images `rows` [n], with noise that belongs to `keyed` [n]."""
    channels, height, width = x.shape[1:]
    sizes = boxes[:, 2] * boxes[:, 3]
    total = int(sizes.sum())
    sent = torch.from_numpy(np.stack([rows, *boxes.T, sizes, sizes.cumsum() - sizes, keyed])).to(x.device)
    # only the pixels within are listed: most of an image is outside, and noise is what costs
    box = torch.arange(len(rows), device=x.device).repeat_interleave(sent[5], output_size=total)
    row, top, left, _, wide, _, before, key = sent[:, box]
    within = torch.arange(total, device=x.device) - before
    pixel = (top + within // wide) * width + left + within % wide
    flat = x.view(len(x), channels, height * width)
    for channel in range(channels):
        if mode == "const":
            value = torch.zeros(total, device=x.device)
        elif mode == "rand":
            value = _normal_noise(sent[7], torch.full_like(sent[7], channel), channels)[box]
        else:
            value = _normal_noise(key, channel * height * width + pixel, channels * height * width)
        flat[row, channel, pixel] = value.to(x.dtype)


def _normal_noise(key: Tensor, place: Tensor, size: int) -> Tensor:
    """Standard normals [n] of `place` [n] in a sequence of `size` that belongs to `key` [n] int64.

    SplitMix64 and Box-Muller on the device: torch's generators give other numbers there, and in other batches.
    """

    def bits(offset: int) -> Tensor:
        x = key + (place + 1 + offset) * -7046029254386353131  # the golden ratio's 64 bits, as a signed integer
        for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
            x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
        x = x ^ ((x >> 31) & ((1 << 33) - 1))
        return ((x >> 11) & ((1 << 53) - 1)).double() * 2.0**-53

    return torch.sqrt(-2.0 * torch.log1p(-bits(0))) * torch.cos(2.0 * torch.pi * bits(size))
