"""Batched colour operations with one parameter per image: [B, 3, H, W] uint8 -> the same.

Each follows the Pillow operation that timm applies one image at a time. They are written here because
torchvision's take one parameter for a whole batch, and kornia, one more dependency, works on floats from 0 to 1
without Pillow's whole levels.
"""

# B batch, C channels, H W sides
from __future__ import annotations

import torch
from torch import Tensor

_LUMA = (19595.0, 38470.0, 7471.0)  # Pillow's weights, in 1/65536: sums of whole grey levels are exact in float32


def _per_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _levels(x: Tensor) -> Tensor:
    """[1, 1, 256] every grey level: an operation on single pixels is made for these, then looked up."""
    return torch.arange(256.0, device=x.device).view(1, 1, 256)


def _look_up(x: Tensor, table: Tensor) -> Tensor:
    """`x` through `table` [B, 1 or 3, 256], float or integer levels: one pass over the pixels."""
    flat = table.to(torch.uint8).reshape(-1)
    start = 256 * torch.arange(table.shape[0] * table.shape[1], device=x.device, dtype=torch.int32)
    # index_select takes 32-bit indices: five times as fast as indexing, which wants 64
    index = x.to(torch.int32).add_(start.view(table.shape[0], table.shape[1], 1, 1))
    return flat.index_select(0, index.reshape(-1)).view(x.shape)


def grey(x: Tensor) -> Tensor:
    """[B, 1, H, W] float32 luma, as Pillow's mode L."""
    luma, green, blue = (x[:, i : i + 1].float().mul_(weight) for i, weight in enumerate(_LUMA))
    return luma.add_(green).add_(blue).add_(32768.0).div_(65536.0).floor_()


def grayscale(x: Tensor) -> Tensor:
    return grey(x).to(torch.uint8).expand_as(x)


def solarise(x: Tensor, threshold: Tensor) -> Tensor:
    """Inverts the pixels at or above `threshold` [B]."""
    level = _levels(x)
    return _look_up(x, torch.where(level < threshold.view(-1, 1, 1), level, 255.0 - level))


def solarise_add(x: Tensor, add: Tensor, threshold: float = 128.0) -> Tensor:
    """Adds `add` [B] to the pixels below `threshold`."""
    level = _levels(x)
    return _look_up(x, torch.where(level < threshold, (level + add.view(-1, 1, 1)).clamp(0.0, 255.0), level))


def invert(x: Tensor) -> Tensor:
    return 255 - x


def posterise(x: Tensor, bits: Tensor) -> Tensor:
    """Keeps the `bits` [B] highest bits of each pixel."""
    return x & _per_image(256.0 - 2.0 ** (8.0 - bits)).to(torch.uint8)


def _blend(other: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    """`other` moved to `x` by `factor`, beyond it above 1, and rounded; `x` float32 is overwritten."""
    return x.sub_(other).mul_(factor).add_(other).clamp_(0.0, 255.0).round_()


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """`factor` [B]: 0 is black, 1 the image."""
    level = _levels(x).expand(len(x), 1, 256).clone()
    return _look_up(x, _blend(torch.zeros_like(level), level, factor.view(-1, 1, 1)))


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """`factor` [B]: 0 is the mean grey level, 1 the image."""
    mean = grey(x).mean(dim=(1, 2, 3)).round().view(-1, 1, 1)
    level = _levels(x).expand(len(x), 1, 256).clone()
    return _look_up(x, _blend(mean, level, factor.view(-1, 1, 1)))


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """`factor` [B]: 0 is grey, 1 the image."""
    return _blend(grey(x), x.float(), _per_image(factor)).to(torch.uint8)


def hue(x: Tensor, share: Tensor) -> Tensor:
    """Turns the hue by `share` [B] of the circle, in Pillow's 8-bit HSV as torchvision does."""
    red, green, blue = (x[:, i : i + 1].float() for i in range(3))
    high, low = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    spread = high - low
    safe = spread.clamp(min=1.0)
    # Pillow keeps floats but computes in doubles, and cuts hue and saturation to whole levels
    from_red, from_green, from_blue = (((high - channel) / safe).double() for channel in (red, green, blue))
    turn = torch.where(green == high, 2.0 + from_red - from_blue, 4.0 + from_green - from_red)
    turn = torch.where(red == high, from_blue - from_green, turn).float()
    angle = torch.floor(torch.remainder(turn.double() / 6.0 + 1.0, 1.0).float().double() * 255.0).float()
    angle = torch.where(spread > 0.0, angle, 0.0)
    saturated = torch.floor(spread / high.clamp(min=1.0) * 255.0) / 255.0
    shifted = torch.remainder(angle + torch.trunc(_per_image(share) * 255.0), 256.0)
    sector = shifted * 6.0 / 255.0
    within = sector - sector.floor()
    whole = torch.remainder(sector.floor(), 6.0)
    dark = torch.floor(high * (1.0 - saturated) + 0.5)
    falling = torch.floor(high * (1.0 - saturated * within) + 0.5)
    rising = torch.floor(high * (1.0 - saturated * (1.0 - within)) + 0.5)
    # each channel goes through the same six values, one third of the circle after the other
    channels = [
        _sectors(torch.remainder(whole + offset, 6.0), high, falling, dark, rising) for offset in (0.0, 4.0, 2.0)
    ]
    return torch.cat(channels, dim=1).to(torch.uint8)


def _sectors(sector: Tensor, high: Tensor, falling: Tensor, dark: Tensor, rising: Tensor) -> Tensor:
    """Red in the sector 0 to 5: high, falling, dark, dark, rising, high."""
    value = torch.where((sector == 0.0) | (sector == 5.0), high, dark)
    value = torch.where(sector == 1.0, falling, value)
    return torch.where(sector == 4.0, rising, value)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """Blends with Pillow's SMOOTH filter; the border keeps its pixels. `factor` [B]: 0 is smooth, 1 the image."""
    # exact sums of whole levels; no thirteenth of one lies so near to a half that rounding could err
    levels = x.to(torch.int16)
    three = levels[:, :, :-2] + levels[:, :, 1:-1] + levels[:, :, 2:]
    nine = three[..., :-2] + three[..., 1:-1] + three[..., 2:]
    image = x.float()
    smooth = image.clone()
    smooth[:, :, 1:-1, 1:-1] = nine.add_(levels[:, :, 1:-1, 1:-1], alpha=4).float().div_(13.0).round_()
    return _blend(smooth, image, _per_image(factor)).to(torch.uint8)


def autocontrast(x: Tensor) -> Tensor:
    """Stretches every channel to 0..255; a constant channel stays."""
    low, high = (
        bound.float()[..., 0] for bound in (x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True))
    )
    level = _levels(x)
    table = torch.where(high > low, ((level - low) * (255.0 / (high - low))).floor().clamp(0.0, 255.0), level)
    return _look_up(x, table)


def equalise(x: Tensor) -> Tensor:
    """Pillow's histogram equalisation, per channel."""
    batch, channels = x.shape[:2]
    level = torch.arange(256, device=x.device)
    start = 256 * torch.arange(batch * channels, device=x.device)
    places = (x.reshape(batch * channels, -1).long() + start[:, None]).view(-1)
    counts = torch.zeros(256 * batch * channels, dtype=torch.long, device=x.device)
    counts = counts.scatter_add_(0, places, torch.ones_like(places)).view(-1, 256)
    last = torch.where(counts > 0, level, -1).amax(dim=1, keepdim=True)
    step = (counts.sum(dim=1, keepdim=True) - counts.gather(1, last)) // 255
    table = (step // 2 + counts.cumsum(dim=1) - counts) // step.clamp(min=1)
    table = torch.where(step > 0, table.clamp(0, 255), level)
    return _look_up(x, table.view(batch, channels, 256))
