"""Mixup and CutMix: one object owns images and targets, so they cannot disagree."""

# B batch, K classes
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from interplay.augment.keys import Keys
from interplay.counter_rng import beta, uniform
from interplay.recipe.augmentation import Augment


@dataclass(frozen=True)
class Mixing:
    """How one global batch is mixed: `share` of the image itself, and the CutMix box if any."""

    share: float
    box: tuple[int, int, int, int] | None  # top, bottom, left, right


@dataclass(frozen=True)
class MixingEach:
    """How each image is mixed: [B] shares of itself, and [B, 4] boxes (top, bottom, left, right) where `cut` [B]."""

    share: NDArray[np.float64]
    cut: NDArray[np.bool_]
    box: NDArray[np.int64]


def draw_mixing(augment: Augment, seed: int, epoch: int, step: int, side: int) -> Mixing | None:
    """The same draw on every rank: it depends on the seed, epoch and step alone. None leaves the batch as it is."""
    if not augment.mixes:
        return None
    apply, switch, centre_y, centre_x = uniform("mix", seed, epoch, step, count=4)[0]
    if apply >= augment.mix_prob:
        return None
    if not augment.mixup or ((augment.cutmix or augment.cutmix_minmax) and switch < augment.mix_switch_prob):
        if augment.cutmix_minmax:
            box = _box_between(augment.cutmix_minmax, uniform("cutmix.minmax", seed, epoch, step, count=4), side)
        else:
            share = np.array([beta("cutmix", augment.cutmix, seed, epoch, step)])
            box = _box_about(share, np.array([[centre_y, centre_x]]), side)
        top, bottom, left, right = box[0].tolist()
        return Mixing(float(_outside(box, side)[0]), (top, bottom, left, right))
    return Mixing(beta("mixup", augment.mixup, seed, epoch, step), None)


def draw_mixing_each(augment: Augment, keys: Keys, side: int) -> MixingEach:
    """A draw for each image that belongs to it, wherever it is; in mode "pair" to the first of image i and B-1-i.

    A rank holds both images of its pairs, the first ones in its first half, so ranks need not agree on anything.
    """
    if augment.mix_mode == "pair":
        half = draw_mixing_each(augment.model_copy(update={"mix_mode": "elem"}), keys[: len(keys) // 2], side)
        return MixingEach(*(np.concatenate([part, part[::-1]]) for part in (half.share, half.cut, half.box)))
    draws = keys.uniform("mix", 4)
    cut = np.full(len(keys), bool(augment.cutmix or augment.cutmix_minmax))
    share = np.ones(len(keys))
    if augment.mixup:
        cut &= draws[:, 1] < augment.mix_switch_prob
        share = keys.beta("mixup", augment.mixup)
    if augment.cutmix_minmax:
        box = _box_between(augment.cutmix_minmax, keys.uniform("cutmix.minmax", 4), side)
    elif augment.cutmix:
        box = _box_about(keys.beta("cutmix", augment.cutmix), draws[:, 2:], side)
    else:
        box = np.zeros((len(keys), 4), dtype=np.int64)
    mixed = draws[:, 0] < augment.mix_prob
    share = np.where(cut, _outside(box, side), share)
    return MixingEach(np.where(mixed, share, 1.0), cut & mixed, box)


def _box_about(share: NDArray[np.float64], centre: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """[n, 4] squares of 1 - `share` [n] of the image about `centre` [n, 2] in [0, 1), cut at its borders.

    As the CutMix paper draws them: half a side, rounded down, each way. Newer timm gives odd sides their last pixel;
    results here would change by it.
    """
    reach = (side * (1.0 - share) ** 0.5).astype(np.int64)[:, None] // 2
    middle = (centre * side).astype(np.int64)
    low, high = np.maximum(0, middle - reach), np.minimum(side, middle + reach)
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], axis=1)


def _box_between(minmax: tuple[float, float], draws: NDArray[np.float64], side: int) -> NDArray[np.int64]:
    """[n, 4] boxes within the image, whose sides are uniform between these shares of `side`; `draws` is [n, 4]."""
    low, high = (int(side * share) for share in minmax)
    size = low + (draws[:, :2] * max(1, high - low)).astype(np.int64)
    start = (draws[:, 2:] * (side - size + 1)).astype(np.int64)
    stop = start + size
    return np.stack([start[:, 0], stop[:, 0], start[:, 1], stop[:, 1]], axis=1)


def _outside(box: NDArray[np.int64], side: int) -> NDArray[np.float64]:
    """[n] shares of the image that are outside `box` [n, 4]."""
    area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
    return np.asarray(1.0 - area / (side * side), dtype=np.float64)


def mix_(images: Tensor, labels: Tensor, classes: int, mixing: Mixing | MixingEach | None) -> tuple[Tensor, Tensor]:
    """Mixes image i with image B-1-i, in place.

    Args:
        images: [B, 3, H, W] float.
        labels: [B] int64.
        classes: K.
        mixing: from `draw_mixing` or `draw_mixing_each`.

    Returns:
        Images [B, 3, H, W] and targets [B, K] that sum to 1.
    """
    targets = F.one_hot(labels, classes).to(torch.float32)
    if mixing is None:
        return images, targets
    share, rest = (torch.as_tensor(part, device=images.device).float() for part in (mixing.share, 1.0 - mixing.share))
    targets = targets * share.view(-1, 1) + targets.flip(0) * rest.view(-1, 1)
    if isinstance(mixing, MixingEach):
        _weigh_(images, _weights(mixing, images))
    elif mixing.box is None:
        _weigh_(images, mixing.share)
    else:
        top, bottom, left, right = mixing.box
        box = images[:, :, top:bottom, left:right]
        box.copy_(box.flip(0))
    return images, targets


def mix(images: Tensor, labels: Tensor, classes: int, mixing: Mixing | MixingEach | None) -> tuple[Tensor, Tensor]:
    """`mix_` that leaves `images` alone."""
    return mix_(images.clone(), labels, classes, mixing)


def _weigh_(images: Tensor, weight: Tensor | float) -> None:
    partner = images.flip(0).mul_(1.0 - weight)
    images.mul_(weight).add_(partner)


def _weights(mixing: MixingEach, images: Tensor) -> Tensor:
    """[B, 1, H, W] share of the image itself in each pixel: 0 in a box and 1 around it, or the same everywhere."""
    numbers = np.concatenate([mixing.share[:, None], mixing.cut[:, None], mixing.box], axis=1)
    sent = torch.from_numpy(numbers).to(images.device, torch.float32)
    share, cut, top, bottom, left, right = (column.view(-1, 1, 1, 1) for column in sent.T)
    y = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
    x = torch.arange(images.shape[3], device=images.device).view(1, 1, 1, -1)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    return torch.where(cut > 0.0, (~inside).to(images.dtype), share.to(images.dtype))
