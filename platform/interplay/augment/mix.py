"""Mixup and CutMix: one object owns images and targets, so they cannot disagree."""

# B batch, K classes
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from interplay.counter_rng import beta, uniform
from interplay.recipe.tree import Augment


@dataclass(frozen=True)
class Mixing:
    """How one global batch is mixed: `share` of the image itself, and the CutMix box if any."""

    share: float
    box: tuple[int, int, int, int] | None  # top, bottom, left, right


def draw_mixing(augment: Augment, seed: int, epoch: int, step: int, side: int) -> Mixing | None:
    """The same draw on every rank: it depends on the seed, epoch and step alone. None leaves the batch as it is."""
    if not (augment.mixup or augment.cutmix):
        return None
    apply, switch, centre_y, centre_x = uniform("mix", seed, epoch, step, count=4)[0]
    if apply >= augment.mix_prob:
        return None
    if augment.cutmix and (not augment.mixup or switch < augment.mix_switch_prob):
        share = beta("cutmix", augment.cutmix, seed, epoch, step)
        cut = int(side * (1.0 - share) ** 0.5)
        y, x = int(centre_y * side), int(centre_x * side)
        top, bottom = max(0, y - cut // 2), min(side, y + cut // 2)
        left, right = max(0, x - cut // 2), min(side, x + cut // 2)
        share = 1.0 - (bottom - top) * (right - left) / (side * side)
        return Mixing(share, (top, bottom, left, right))
    return Mixing(beta("mixup", augment.mixup, seed, epoch, step), None)


def mix(images: Tensor, labels: Tensor, classes: int, mixing: Mixing | None) -> tuple[Tensor, Tensor]:
    """Mixes image i with image B-1-i.

    Args:
        images: [B, 3, H, W] float.
        labels: [B] int64.
        classes: K.
        mixing: from `draw_mixing`.

    Returns:
        Images [B, 3, H, W] and targets [B, K] that sum to 1.
    """
    targets = F.one_hot(labels, classes).to(torch.float32)
    if mixing is None:
        return images, targets
    partner = images.flip(0)
    if mixing.box is None:
        images = images * mixing.share + partner * (1.0 - mixing.share)
    else:
        top, bottom, left, right = mixing.box
        images = images.clone()
        images[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
    return images, targets * mixing.share + targets.flip(0) * (1.0 - mixing.share)
