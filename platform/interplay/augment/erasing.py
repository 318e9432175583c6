"""Random erasing with pixel noise, and colour jitter: both with one draw per image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from interplay.augment import colour
from interplay.augment.policy import Keys

AREA = (0.02, 1.0 / 3.0)
LOG_RATIO = (np.log(0.3), np.log(1.0 / 0.3))
_ATTEMPTS = 10


def colour_jitter(x: Tensor, strength: float, keys: Keys) -> Tensor:
    """Brightness, contrast and saturation by factors in [1 - strength, 1 + strength]; [B, 3, H, W] in 0..255."""
    factors = 1.0 + strength * (2.0 * keys.uniform("jitter", 3) - 1.0)
    values = torch.from_numpy(factors).to(x.device, torch.float32)
    x = colour.brightness(x, values[:, 0])
    x = colour.contrast(x, values[:, 1])
    return colour.saturation(x, values[:, 2])


def random_erasing(x: Tensor, probability: float, keys: Keys) -> Tensor:
    """Replaces one rectangle of some normalised images [B, 3, H, W] with standard normal noise, as timm does."""
    height, width = x.shape[2:]
    draws = keys.uniform("erasing", 1 + 4 * _ATTEMPTS)
    tries = draws[:, 1:].reshape(-1, _ATTEMPTS, 4)
    area = height * width * (AREA[0] + tries[..., 0] * (AREA[1] - AREA[0]))
    ratio = np.exp(LOG_RATIO[0] + tries[..., 1] * (LOG_RATIO[1] - LOG_RATIO[0]))
    high, wide = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (high < height) & (wide < width)
    first, row = fits.argmax(axis=1), np.arange(len(draws))
    high, wide = high[row, first], wide[row, first]
    top = np.floor(tries[row, first, 2] * (height - high + 1))
    left = np.floor(tries[row, first, 3] * (width - wide + 1))
    rows = np.flatnonzero((draws[:, 0] < probability) & fits.any(axis=1))
    if not len(rows):
        return x
    box = torch.from_numpy(np.stack([top, top + high, left, left + wide], axis=1)[rows]).to(x.device)
    y = torch.arange(height, device=x.device)[None, :, None]
    z = torch.arange(width, device=x.device)[None, None, :]
    top_, bottom_, left_, right_ = (box[:, i, None, None] for i in range(4))
    inside = ((y >= top_) & (y < bottom_) & (z >= left_) & (z < right_))[:, None]
    where = torch.from_numpy(rows).to(x.device)
    keyed = (keys.uniform("erasing.noise")[rows, 0] * 2.0**53).astype(np.int64)
    noise = _normal_noise(torch.from_numpy(keyed).to(x.device), x.shape[1:]).to(x.dtype)
    return x.index_copy(0, where, torch.where(inside, noise, x.index_select(0, where)))


def _normal_noise(key: Tensor, shape: torch.Size) -> Tensor:
    """[n] int64 keys -> [n, *shape] standard normals: SplitMix64 and Box-Muller on the device."""
    size = shape.numel()

    def bits(offset: int) -> Tensor:
        counter = torch.arange(1 + offset, 1 + offset + size, device=key.device)
        x = key[:, None] + counter * -7046029254386353131  # the golden ratio's 64 bits, as a signed integer
        for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
            x = (x ^ ((x >> shift) & ((1 << (64 - shift)) - 1))) * factor
        x = x ^ ((x >> 31) & ((1 << 33) - 1))
        return ((x >> 11) & ((1 << 53) - 1)).double() * 2.0**-53

    radius = torch.sqrt(-2.0 * torch.log1p(-bits(0)))
    return (radius * torch.cos(2.0 * torch.pi * bits(size))).view(len(key), *shape)
