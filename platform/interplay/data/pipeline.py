"""From stored samples to batches of pixels: the part of reading that is the same for every storage."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay.data.crops import Windows, evaluation_windows, training_windows
from interplay.data.decode import Pixels, cut
from interplay.data.order import Indices, unpack
from interplay.recipe.tree import Recipe


class Stored(Protocol):
    """The stored images of one batch, by their place in it."""

    sizes: NDArray[np.int64]
    """[B, 2] heights and widths."""

    def image(self, slot: int) -> Image.Image:
        """One image, decoded, in RGB."""
        ...


class PixelPipeline(Protocol):
    """Fills batches with the squares that a recipe asks for."""

    @property
    def resolution(self) -> int:
        """Side of the squares."""
        ...

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        """Writes the images that `draws` name into `out` [B, R, R, 3]."""
        ...


@dataclass(frozen=True)
class TrainingPixels:
    """Randomly cropped and flipped images."""

    recipe: Recipe

    @property
    def resolution(self) -> int:
        return self.recipe.data.resolution

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        sample, view = unpack(draws)
        windows = training_windows(
            self.recipe.augment,
            self.resolution,
            stored.sizes[:, 0],
            stored.sizes[:, 1],
            seed=self.recipe.seeds.augment,
            epoch=epoch,
            sample=sample,
            view=view,
        )
        fill(out, windows, stored, self.recipe.data.interpolation, pool)


@dataclass(frozen=True)
class EvaluationPixels:
    """Centre crops; the epoch does not matter."""

    recipe: Recipe

    @property
    def resolution(self) -> int:
        return self.recipe.evaluation.resolution or self.recipe.data.resolution

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        heights, widths = stored.sizes.T
        windows = evaluation_windows(self.resolution, self.recipe.evaluation.crop_ratio, heights, widths)
        fill(out, windows, stored, self.recipe.data.interpolation, pool)


def fill(out: Pixels, windows: Windows, stored: Stored, interpolation: str, pool: Executor | None) -> None:
    """Writes the squares that `windows` cut out of `stored` into `out` [B, R, R, 3]."""
    resolution = out.shape[1]

    def one(slot: int) -> None:
        out[slot] = cut(stored.image(slot), windows, slot, resolution, interpolation)

    if pool is None:
        for slot in range(len(windows)):
            one(slot)
    else:
        for _ in pool.map(one, range(len(windows))):
            pass
