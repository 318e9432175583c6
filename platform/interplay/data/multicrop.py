"""Several crops of different sizes of each image, from one decode: what DINO and SwAV train on."""

# B batch, V crops of an image, R side
from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from interplay import native
from interplay.data.crops import Windows, training_windows
from interplay.data.decode import Pixels
from interplay.data.order import Indices, epoch_draws, part_of_batch, unpack
from interplay.data.pipeline import Stored, fill
from interplay.data.reader import BetonReader, read_samples
from interplay.errors import InterplayError
from interplay.recipe.augmentation import Augment, RandomResizedCrop
from interplay.recipe.tree import Recipe


@dataclass(frozen=True)
class Crops:
    """`count` random resized crops of `scale` of the area, of `resolution` pixels."""

    count: int
    resolution: int
    scale: tuple[float, float]


DINO = (Crops(2, 224, (0.4, 1.0)), Crops(8, 96, (0.05, 0.4)))
"""Of the authors' code (arXiv:2104.14294)."""

SWAV = (Crops(2, 224, (0.14, 1.0)), Crops(6, 96, (0.05, 0.14)))
"""Of the authors' code (arXiv:2006.09882)."""


@dataclass(frozen=True)
class MultiCrop:
    """One rank's part of a batch.

    Attributes:
        crops: V batches [B, 3, R, R] uint8, in the order of the groups; R is the group's.
        labels: [B] int64.
        index: [B] int64 position of each sample in the training split.
    """

    crops: tuple[Tensor, ...]
    labels: Tensor
    index: Tensor


class MultiCropPixels:
    """Fills rows of bytes, one for each image, with its crops one behind the other."""

    def __init__(self, recipe: Recipe, groups: Sequence[Crops]) -> None:
        self._recipe = recipe
        self._each = [group for group in groups for _ in range(group.count)]
        self._sides = np.array([group.resolution for group in self._each], dtype=np.int64)
        self._ends = [int(end) for end in accumulate(3 * self._sides**2)]

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._ends[-1],)

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        sample, _ = unpack(draws)
        count = len(self._each)
        windows = _interleaved([self._windows(number, sample, epoch, stored) for number in range(count)])
        rows = self._ends[-1] * np.arange(len(sample))[:, None]
        places = (rows + np.array([0, *self._ends[:-1]])).reshape(-1)
        placement = native.Placement(np.tile(self._sides, len(sample)), places)
        fill(out, windows, stored.repeated(count), self._recipe.data.interpolation, pool, placement)

    def split(self, rows: Pixels) -> tuple[Tensor, ...]:
        """[B, bytes] -> V batches [B, 3, R, R]."""
        found = []
        for start, end, group in zip([0, *self._ends], self._ends, self._each, strict=False):
            pixels = rows[:, start:end].reshape(len(rows), group.resolution, group.resolution, 3)
            found.append(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        return tuple(found)

    def _windows(self, number: int, sample: Indices, epoch: int, stored: Stored) -> Windows:
        """Of one crop of each image; which crop it is takes the place of the view in its draws."""
        group, recipe = self._each[number], self._recipe
        augment: Augment = recipe.augment.model_copy(update={"crop": RandomResizedCrop(scale=group.scale)})
        return training_windows(
            augment,
            group.resolution,
            stored.sizes[:, 0],
            stored.sizes[:, 1],
            seed=recipe.seeds.augment,
            epoch=epoch,
            sample=sample,
            view=np.full_like(sample, number),
        )


class MultiCropLoader:
    """The training split of a `.beton` as batches of several crops, on one rank.

    Order, flips and interpolation are the recipe's; the crops take the place of its crop. An image is decoded once
    for all of its crops where that is less work. `interplay.augment.ssl_views` changes their colours.

    Args:
        path: the `.beton`.
        recipe: what is read, and how.
        groups: the crops of each image.
        rank: this worker's number.
        world: number of workers.
        threads: that decode.

    Raises:
        InterplayError: if the file is missing or damaged, the batch cannot be split over the workers, or the recipe
            repeats images.
    """

    def __init__(
        self,
        path: Path,
        recipe: Recipe,
        groups: Sequence[Crops] = DINO,
        *,
        rank: int = 0,
        world: int = 1,
        threads: int = 1,
    ) -> None:
        if not groups or any(group.count < 1 or group.resolution < 1 for group in groups):
            raise InterplayError(
                "crops are of at least one pixel and one of each group; see interplay.data.multicrop"
            )
        if recipe.augment.repeats != 1 or recipe.augment.views != 1:
            raise InterplayError("the crops of an image are its views; set augment.repeats=1 and augment.views=1")
        file = read_samples(path)
        self._positions = file.of_split("train")
        self._labels = file.levels[self._positions, 0]
        self._pixels = MultiCropPixels(recipe, groups)
        self._reader = BetonReader(
            path,
            self._positions,
            self._pixels,
            epoch_draws(recipe, self._labels, training=True, rank=rank, world=world),
            batch_size=part_of_batch(recipe.data.batch_size, rank=rank, world=world),
            threads=threads,
        )

    def __len__(self) -> int:
        return len(self._reader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[MultiCrop]:
        """This rank's batches of `epoch`, from number `start` on."""
        for rows, sample, _ in self._reader.epoch(epoch, start):
            yield MultiCrop(
                self._pixels.split(rows), torch.from_numpy(self._labels[sample]), torch.from_numpy(sample)
            )


def _interleaved(windows: list[Windows]) -> Windows:
    """V windows of B images -> those of an image together: [B * V]."""

    def together(name: str) -> Indices:
        stacked = np.stack([getattr(one, name) for one in windows], axis=1)
        return stacked.reshape(-1, *stacked.shape[2:])

    return Windows(together("boxes"), together("sizes"), together("corners"), together("flips").astype(np.bool_))
