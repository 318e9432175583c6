"""Pillow's Gaussian blur for a batch: [B, 3, H, W] uint8 -> the same, with one radius per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_BOX_BLURS = 3


def gaussian_blur(x: Tensor, radius: Tensor, largest: float) -> Tensor:
    """Pillow's blur of standard deviation `radius` [B] pixels: three box blurs each way, borders repeated.

    `largest` bounds `radius` and sets the window; a wider one changes nothing, its outer weights are zero. It is
    given because reading it from `radius` would wait for the device. torchvision's blur has one radius per batch,
    and its kernel is not Pillow's.
    """
    box = _box_radius(radius.float()).view(-1, 1, 1, 1)
    half = int(_box_radius(torch.tensor(largest))) + 1
    weights = [(box + 1.0 - abs(offset)).clamp(0.0, 1.0) / (2.0 * box + 1.0) for offset in range(-half, half + 1)]
    image = x.float()
    added, part = torch.empty_like(image), torch.empty_like(image)
    for dim, padding in ((3, (half, half, 0, 0)), (2, (0, 0, half, half))):
        for _ in range(_BOX_BLURS):
            # sums of shifted images: a convolution may add in another order, or in TF32, on another device; and
            # running sums would round in another way than the cells trained before
            padded = F.pad(image, padding, mode="replicate")
            for k, weight in enumerate(weights):
                shifted = padded.narrow(dim, k, image.shape[dim])
                if k:
                    added.add_(torch.mul(shifted, weight, out=part))
                else:
                    torch.mul(shifted, weight, out=added)
            image = added.round_()  # may be written to again: `padded` is a copy
    return image.to(torch.uint8)


def _box_radius(sigma: Tensor) -> Tensor:
    """Radius of the box, with a fraction, that three times over has the Gaussian's variance (Pillow's rule)."""
    variance = sigma**2 / _BOX_BLURS
    whole = torch.floor((torch.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    rest = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance) / (6.0 * (variance - (whole + 1.0) ** 2))
    return whole + rest
