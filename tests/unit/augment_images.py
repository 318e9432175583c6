"""Images and keys for the tests of augmentation."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from interplay.augment import Keys

SIDES = (24, 37)  # an odd side too: half pixels show mistakes about the centre


def photo(side: int, seed: int) -> Tensor:
    """[3, side, side] uint8: waves with noise on them, different in every channel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    phase, pace = rng.uniform(0, 6, (3, 1, 1)), rng.uniform(2, 9, (3, 1, 1))
    waves = 127 + 90 * np.sin(pace * x + phase) * np.cos(pace * y - phase) + rng.normal(0, 12, (3, side, side))
    return torch.from_numpy(waves.clip(0, 255).round().astype(np.uint8))


def photos(count: int, side: int = 24) -> Tensor:
    return torch.stack([photo(side, seed) for seed in range(count)])


def noise(count: int, side: int, seed: int = 0) -> Tensor:
    """[count, 3, side, side] uint8, every pixel independent of its neighbours."""
    values = np.random.default_rng(seed).integers(0, 256, (count, 3, side, side))
    return torch.from_numpy(values.astype(np.uint8))


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def from_pil(image: Image.Image) -> Tensor:
    """[3, H, W] int16, so that differences have a sign."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).short()


def keys(count: int, *, seed: int = 0, epoch: int = 0) -> Keys:
    return Keys(seed, epoch, np.arange(count), np.zeros(count, dtype=np.int64))


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())
