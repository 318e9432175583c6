"""From stored samples to batches of pixels: the part of reading that is the same for every storage."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay.data.crops import training_windows
from interplay.data.decode import Pixels, evaluation_pixels, training_pixels
from interplay.data.order import Indices, unpack
from interplay.data.resample import LARGEST_SIDE, crop_resize
from interplay.recipe.tree import Recipe


class Stored(Protocol):
    """The stored images of one batch, by their place in it."""

    sizes: NDArray[np.int64]
    """[B, 2] heights and widths."""

    def image(self, slot: int) -> Image.Image:
        """One image, decoded, in RGB."""
        ...

    def pixels(self) -> Pixels | None:
        """[B, H, W, 3] if all images are stored as pixels of one size, otherwise None."""
        ...


@dataclass(frozen=True)
class TrainingPixels:
    """Fills batches with randomly cropped and flipped images."""

    recipe: Recipe

    @property
    def resolution(self) -> int:
        return self.recipe.data.resolution

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        """Writes the images that `draws` name into `out` [B, R, R, 3]."""
        sample, view = unpack(draws)
        windows = training_windows(
            self.recipe.augment,
            stored.sizes[:, 0],
            stored.sizes[:, 1],
            seed=self.recipe.seeds.augment,
            epoch=epoch,
            sample=sample,
            view=view,
        )
        resolution, interpolation = self.resolution, self.recipe.data.interpolation
        if stored.sizes.max() <= LARGEST_SIDE and (pixels := stored.pixels()) is not None:
            out[:] = crop_resize(pixels, windows.boxes, windows.flips, resolution, interpolation)
            return

        def one(slot: int) -> None:
            box, flip = windows.boxes[slot], bool(windows.flips[slot])
            out[slot] = training_pixels(stored.image(slot), box, flip, resolution, interpolation)

        _each(one, len(draws), pool)


@dataclass(frozen=True)
class EvaluationPixels:
    """Fills batches with centre crops."""

    recipe: Recipe

    @property
    def resolution(self) -> int:
        return self.recipe.evaluation.resolution or self.recipe.data.resolution

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        """As `TrainingPixels.fill`; `epoch` does not matter."""
        resolution, interpolation = self.resolution, self.recipe.data.interpolation
        ratio = self.recipe.evaluation.crop_ratio

        def one(slot: int) -> None:
            out[slot] = evaluation_pixels(stored.image(slot), resolution, ratio, interpolation)

        _each(one, len(draws), pool)


PixelPipeline = TrainingPixels | EvaluationPixels


def _each(work: Callable[[int], None], count: int, pool: Executor | None) -> None:
    if pool is None:
        for slot in range(count):
            work(slot)
    else:
        for _ in pool.map(work, range(count)):
            pass
