"""Loaders over the splits of a `.beton`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from interplay.data.batch import Batch, Loaders, OtherLoader
from interplay.data.labels import check_gallery, trained_labels
from interplay.data.manifest import Manifest
from interplay.data.order import Indices, epoch_draws, part_of_batch, share_of
from interplay.data.other_sets import class_map, read_right
from interplay.data.pipeline import AfterCut, EvaluationPixels, TrainingPixels
from interplay.data.reader import BetonReader, read_samples
from interplay.recipe.tree import OtherSet, Recipe


class BetonLoader:
    """One split of a `.beton` as batches, on one rank. Implements `interplay.data.batch.Loader`.

    `trained` holds the labels that are trained on of all samples of the file, the first level's if it is not given.
    """

    def __init__(
        self,
        path: Path,
        positions: Indices,
        levels: NDArray[np.int64],
        recipe: Recipe,
        *,
        training: bool,
        rank: int,
        world: int,
        threads: int,
        after_cut: AfterCut | None = None,
        gallery: bool = False,
        trained: NDArray[np.int64] | None = None,
    ) -> None:
        self._positions, self._levels = positions, levels
        self._labels = levels[:, 0] if trained is None else trained
        mine = self._labels[positions]
        self._samples = len(share_of(mine, recipe.data.share)) if gallery else len(positions)
        self._reader = BetonReader(
            path,
            positions,
            TrainingPixels(recipe, after_cut) if training else EvaluationPixels(recipe),
            epoch_draws(recipe, mine, training=training, rank=rank, world=world, gallery=gallery),
            batch_size=part_of_batch(recipe.data.batch_size, rank=rank, world=world)
            * (recipe.augment.views if training else 1),
            threads=threads,
        )

    @property
    def samples(self) -> int:
        return self._samples

    def __len__(self) -> int:
        return len(self._reader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for pixels, sample, view in self._reader.epoch(epoch, start):
            position = self._positions[sample]
            yield Batch(
                images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
                labels=torch.from_numpy(self._labels[position]),
                levels=torch.from_numpy(self._levels[position]),
                index=torch.from_numpy(sample),
                view=torch.from_numpy(view),
            )


def beton_loaders(
    path: Path,
    recipe: Recipe,
    *,
    rank: int = 0,
    world: int = 1,
    threads: int = 1,
    evaluate_train: bool = False,
    policy: AfterCut | None = None,
) -> Loaders:
    """Loaders over the splits of `path` for one rank, decoding with `threads` threads each.

    Args:
        path: a `.beton`.
        recipe: what is read, and how.
        rank: this worker's number.
        world: number of workers.
        threads: that decode.
        evaluate_train: read the training split as the others are: every sample once, centre crops.
        policy: the recipe's augmentation policy, for the loader to apply (`interplay.augment.policy_in_loader`).

    Raises:
        InterplayError: if the file is missing or damaged, or the batch cannot be split over the workers.
    """
    file = read_samples(path)
    trained, classes = trained_labels(file.levels, tuple(map(len, file.manifest.classes)), recipe)

    check_gallery(trained[file.of_split("train")], recipe)

    def loader(split: str, gallery: bool = False) -> BetonLoader | None:
        positions = file.of_split(split)
        if not len(positions):
            return None
        return BetonLoader(
            path,
            positions,
            file.levels,
            recipe,
            training=split == "train" and not evaluate_train and not gallery,
            rank=rank,
            world=world,
            threads=threads,
            after_cut=policy,
            gallery=gallery,
            trained=trained,
        )

    train = loader("train")
    assert train is not None, "the manifest's check guarantees training samples"
    others = {
        name: _other_loader(name, other, file.manifest, recipe, rank=rank, world=world, threads=threads)
        for name, other in recipe.evaluation.also
    }
    return Loaders(
        train=train,
        val=loader("val"),
        test=loader("test"),
        classes=classes,
        mean=file.manifest.mean,
        std=file.manifest.std,
        policy_applied=policy is not None,
        also=others,
        gallery=loader("train", gallery=True) if recipe.compares_embeddings else None,
    )


def _other_loader(
    name: str, other: OtherSet, trained_on: Manifest, recipe: Recipe, *, rank: int, world: int, threads: int
) -> OtherLoader:
    """A further test set, with the trained classes' numbers as labels."""
    path = Path(other.dataset)
    file = read_samples(path)
    positions = file.of_split("test")
    if not len(positions):
        positions = np.arange(len(file.splits))
    levels = file.levels.copy()
    levels[:, 0] = class_map(name, file.manifest, trained_on)[levels[:, 0]]
    loader = BetonLoader(path, positions, levels, recipe, training=False, rank=rank, world=world, threads=threads)
    if other.right_labels is None:
        return OtherLoader(loader)
    right = read_right(name, other, len(positions), len(trained_on.classes[0]))
    return OtherLoader(loader, torch.from_numpy(right))
