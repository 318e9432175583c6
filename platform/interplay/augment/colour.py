"""Batched colour operations with one parameter per image: [B, 3, H, W] in 0..255 float -> the same.

Each follows the Pillow operation that timm applies one image at a time.
"""

# B batch, C channels, H W sides
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_LUMA = (19595.0, 38470.0, 7471.0)  # Pillow's weights, in 1/65536: sums of whole grey levels are exact in float32


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def grey(x: Tensor) -> Tensor:
    """[B, 1, H, W] luma, as Pillow's mode L."""
    weights = x.new_tensor(_LUMA).view(1, 3, 1, 1)
    return torch.floor(((x * weights).sum(dim=1, keepdim=True) + 32768.0) / 65536.0)


def grayscale(x: Tensor) -> Tensor:
    return grey(x).expand_as(x)


def solarise(x: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the pixels at or above `threshold` [B]."""
    return torch.where(x < _per_image(threshold), x, 255.0 - x)


def solarise_add(x: Tensor, add: Tensor, threshold: float = 128.0) -> Tensor:
    """Adds `add` [B] to the pixels below `threshold`."""
    return torch.where(x < threshold, (x + _per_image(add)).clamp(0.0, 255.0), x)


def invert(x: Tensor) -> Tensor:
    return 255.0 - x


def posterise(x: Tensor, bits: Tensor) -> Tensor:
    """Keeps the `bits` [B] highest bits of each pixel."""
    step = _per_image(2.0 ** (8.0 - bits))
    return torch.floor(x / step) * step


def _blend(other: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    return (other + _per_image(factor) * (x - other)).clamp(0.0, 255.0).round()


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(torch.zeros_like(x), x, factor)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(grey(x).mean(dim=(1, 2, 3), keepdim=True).round(), x, factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(grey(x), x, factor)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Blends with Pillow's SMOOTH filter; the border keeps its pixels."""
    kernel = x.new_tensor([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13.0
    inner = F.conv2d(x, kernel.expand(3, 1, 3, 3), groups=3).round()
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = inner
    return _blend(smooth, x, factor)


def autocontrast(x: Tensor) -> Tensor:
    """Stretches every channel to 0..255; a constant channel stays."""
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    scale = 255.0 / (high - low)
    return torch.where(high > low, ((x - low) * scale).floor().clamp(0.0, 255.0), x)


def equalise(x: Tensor) -> Tensor:
    """Pillow's histogram equalisation, per channel."""
    batch, channels, height, width = x.shape
    levels = x.round().long().clamp(0, 255).view(batch * channels, height * width)
    counts = torch.zeros(batch * channels, 256, dtype=torch.long, device=x.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    last = torch.where(counts > 0, torch.arange(256, device=x.device), -1).amax(dim=1, keepdim=True)
    step = (counts.sum(dim=1, keepdim=True) - counts.gather(1, last)) // 255
    table = (step // 2 + counts.cumsum(dim=1) - counts) // step.clamp(min=1)
    table = torch.where(step > 0, table.clamp(0, 255), torch.arange(256, device=x.device))
    return table.gather(1, levels).view_as(x).to(x.dtype)


def gaussian_blur(x: Tensor, radius: Tensor, largest: float) -> Tensor:
    """Pillow's blur of standard deviation `radius` [B] pixels: three box blurs each way, borders repeated.

    `largest` bounds `radius` and sets the window. The batch must not set it: an image would then be blurred a
    little differently beside other images.
    """
    box = _per_image(_box_radius(radius.to(x.dtype)))
    half = int(_box_radius(torch.tensor(largest))) + 1
    weights = [(box + 1.0 - abs(offset)).clamp(0.0, 1.0) / (2.0 * box + 1.0) for offset in range(-half, half + 1)]
    for dim, padding in ((3, (half, half, 0, 0)), (2, (0, 0, half, half))):
        for _ in range(_BOX_BLURS):
            # sums of shifted images: a convolution may add in another order, or in TF32, on another device
            padded = F.pad(x, padding, mode="replicate")
            shifted = (weight * padded.narrow(dim, k, x.shape[dim]) for k, weight in enumerate(weights))
            x = sum(shifted, torch.zeros_like(x)).round()
    return x


_BOX_BLURS = 3


def _box_radius(sigma: Tensor) -> Tensor:
    """Radius of the box, with a fraction, that three times over has the Gaussian's variance (Pillow's rule)."""
    variance = sigma**2 / _BOX_BLURS
    whole = torch.floor((torch.sqrt(12.0 * variance + 1.0) - 1.0) / 2.0)
    rest = (2.0 * whole + 1.0) * (whole * (whole + 1.0) - 3.0 * variance) / (6.0 * (variance - (whole + 1.0) ** 2))
    return whole + rest
