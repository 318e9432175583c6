"""Data sets held in memory: the loaders of tests, notebooks and machines without FFCV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interplay import native
from interplay.data.batch import Batch, Loaders
from interplay.data.decode import Pixels
from interplay.data.labels import check_gallery, trained_labels
from interplay.data.order import Indices, epoch_draws, part_of_batch, share_of, unpack
from interplay.data.pipeline import EvaluationPixels, Stored, TrainingPixels
from interplay.recipe.tree import Recipe


class ArrayLoader:
    """Batches of `images` [N, H, W, 3] uint8 and `labels` [N] or [N, L], by the same rules as from a `.beton`.

    `trained` [N] are the labels that are trained on, the first level's if they are not given.
    """

    def __init__(
        self,
        images: Pixels,
        labels: NDArray[np.int64],
        recipe: Recipe,
        *,
        training: bool,
        rank: int = 0,
        world: int = 1,
        gallery: bool = False,
        trained: NDArray[np.int64] | None = None,
    ) -> None:
        self._images, self._levels = np.ascontiguousarray(images), labels.reshape(len(images), -1)
        self._labels = self._levels[:, 0] if trained is None else trained
        self._samples = len(share_of(self._labels, recipe.data.share)) if gallery else len(images)
        how: dict[str, Any] = {"training": training, "rank": rank, "world": world, "gallery": gallery}
        self._draws = epoch_draws(recipe, self._labels, **how)
        self._pipeline = TrainingPixels(recipe) if training else EvaluationPixels(recipe)
        mine = part_of_batch(recipe.data.batch_size, rank=rank, world=world)
        self._batch = mine * (recipe.augment.views if training else 1)

    @property
    def samples(self) -> int:
        return self._samples

    def __len__(self) -> int:
        return -(-len(self._draws(0)) // self._batch)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        draws = self._draws(epoch)
        for first in range(start * self._batch, len(draws), self._batch):
            part = draws[first : first + self._batch]
            sample, view = unpack(part)
            resolution = self._pipeline.resolution
            pixels = np.empty((len(part), resolution, resolution, 3), dtype=np.uint8)
            self._pipeline.fill(pixels, part, epoch, self._stored(sample), None)
            yield Batch(
                images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
                labels=torch.from_numpy(self._labels[sample]),
                levels=torch.from_numpy(self._levels[sample]),
                index=torch.from_numpy(sample),
                view=torch.from_numpy(view),
            )

    def _stored(self, sample: Indices) -> Stored:
        size = self._images[0].nbytes
        return Stored(
            base=self._images.reshape(-1),
            starts=sample * size,
            lengths=np.full(len(sample), size, dtype=np.int64),
            modes=np.full(len(sample), native.RAW, dtype=np.uint8),
            sizes=np.tile(np.array(self._images.shape[1:3], dtype=np.int64), (len(sample), 1)),
            samples=sample,
            place="the array",
        )


def array_loaders(
    splits: dict[str, tuple[Pixels, NDArray[np.int64]]], recipe: Recipe, *, rank: int = 0, world: int = 1
) -> Loaders:
    """Loaders over `{"train": (images, labels), "val": ..., "test": ...}`; val and test may be missing."""

    levels = {name: labels.reshape(len(labels), -1) for name, (_, labels) in splits.items()}
    everything = np.concatenate([*levels.values()])
    trained, classes = trained_labels(everything, tuple(int(n) + 1 for n in everything.max(axis=0)), recipe)
    of_split = dict(
        zip(levels, np.split(trained, np.cumsum([len(one) for one in levels.values()])[:-1]), strict=True)
    )

    check_gallery(of_split["train"], recipe)

    def loader(name: str, gallery: bool = False) -> ArrayLoader | None:
        if name not in splits:
            return None
        how: dict[str, Any] = {"training": name == "train" and not gallery, "gallery": gallery}
        return ArrayLoader(
            splits[name][0], levels[name], recipe, rank=rank, world=world, trained=of_split[name], **how
        )

    train = loader("train")
    assert train is not None, "a data set needs a training split"
    pixels = splits["train"][0].reshape(-1, 3) / 255.0
    mean, std = pixels.mean(axis=0), pixels.std(axis=0).clip(min=1e-6)
    return Loaders(
        train=train,
        val=loader("val"),
        test=loader("test"),
        classes=classes,
        mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        std=(float(std[0]), float(std[1]), float(std[2])),
        gallery=loader("train", gallery=True) if recipe.compares_embeddings else None,
    )
