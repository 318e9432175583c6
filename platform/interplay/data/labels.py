"""Which labels are trained on: one of the levels, none, or clusters; and how levels belong together."""

# N samples, L levels
from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interplay.data.manifest import Manifest
from interplay.data.order import share_of
from interplay.errors import InterplayError
from interplay.recipe.embedding import ByNeighbours, Clusters
from interplay.recipe.tree import Recipe

Numbers = NDArray[np.int64]


def trained_labels(levels: Numbers, counts: tuple[int, ...], recipe: Recipe) -> tuple[Numbers, int]:
    """[N] labels that `recipe` trains on, and how many classes they have.

    Args:
        levels: [N, L] labels of all samples of a data set.
        counts: of each level's classes.
        recipe: says which.

    Raises:
        InterplayError: if the data set has no such level, the clusters are of other data, or finer labels do not
            refine coarser ones where embeddings of several levels are compared.
    """
    data = recipe.data
    if recipe.compares_embeddings:
        check_refinement(levels)
    if isinstance(data.clusters, Clusters):
        return _clusters(data.clusters, len(levels))
    if data.level is None:
        return np.zeros(len(levels), dtype=np.int64), 1
    if data.level >= len(counts):
        have = f"the levels 0 to {len(counts) - 1}" if len(counts) > 1 else "one level of labels, 0"
        raise InterplayError(
            f"data.level={data.level}, but the data set has {have}; choose one of them, or write the data set with "
            "more levels"
        )
    return levels[:, data.level], counts[data.level]


def class_count(manifest: Manifest, recipe: Recipe) -> int:
    """How many classes `recipe` learns from the data set of `manifest`: outputs of its classifier.

    Raises:
        InterplayError: if there is no such level, or no such clusters.
    """
    counts = tuple(map(len, manifest.classes))
    if isinstance(recipe.data.clusters, Clusters):
        return _clusters(recipe.data.clusters, sum(manifest.counts.values()))[1]
    return trained_labels(np.zeros((0, len(counts)), dtype=np.int64), counts, recipe)[1]


def class_names(manifest: Manifest, recipe: Recipe) -> tuple[str, ...]:
    """Names of these classes; of clusters their numbers.

    Raises:
        InterplayError: as `class_count`.
    """
    count = class_count(manifest, recipe)
    if isinstance(recipe.data.clusters, Clusters):
        return tuple(f"cluster {number}" for number in range(count))
    return tuple(manifest.classes[recipe.data.level]) if recipe.data.level is not None else ("one class",)


def check_labels(path: Path, recipe: Recipe) -> None:
    """Raises InterplayError if the labels of the `.beton` at `path` are not what `recipe` needs."""
    if recipe.data.level == 0 and not isinstance(recipe.data.clusters, Clusters) and not recipe.compares_embeddings:
        return
    from interplay.data.reader import read_samples  # needs FFCV

    file = read_samples(path)
    trained, _ = trained_labels(file.levels, tuple(map(len, file.manifest.classes)), recipe)
    check_gallery(trained[file.of_split("train")], recipe)


def check_gallery(trained: Numbers, recipe: Recipe) -> None:
    """Raises InterplayError if the kNN loss cannot be had for training images with these labels [N]."""
    if isinstance(getattr(recipe.embedding, "labels", None), ByNeighbours):
        check_no_lonely(trained[share_of(trained, recipe.data.share)])


def check_refinement(levels: Numbers) -> None:
    """Raises InterplayError unless each class lies within one class of the next, coarser level."""
    for level in range(levels.shape[1] - 1):
        pairs = np.unique(levels[:, level : level + 2], axis=0)
        fine, first, count = np.unique(pairs[:, 0], return_index=True, return_counts=True)
        bad = np.flatnonzero(count > 1)
        if len(bad):
            parents = pairs[first[bad[0]] : first[bad[0]] + 2, 1].tolist()
            raise InterplayError(
                f"class {fine[bad[0]]} of label level {level} is in the classes {parents[0]} and {parents[1]} of "
                f"level {level + 1}: finer labels must refine coarser ones; correct the labels, or store levels "
                "finest first"
            )


def check_no_lonely(labels: Numbers) -> None:
    """Raises InterplayError if a class has one training image: the kNN loss finds no neighbour for it."""
    classes, count = np.unique(labels, return_counts=True)
    lonely = classes[count == 1]
    if len(lonely):
        more = f" and {len(lonely) - 1} other classes have" if len(lonely) > 1 else " has"
        raise InterplayError(
            f"class {lonely[0]}{more} one training image, which has no neighbour of its class for the kNN loss; "
            "leave the class out, or train on a coarser level (data.level)"
        )


def _clusters(clusters: Clusters, samples: int) -> tuple[Numbers, int]:
    if not clusters.file:
        raise InterplayError(
            "data.clusters.file is not set; make it with interplay cluster CHECKPOINT --data DATA --clusters N --out "
            "FILE.npy and give -s data.clusters.file=FILE.npy"
        )
    path = Path(clusters.file)
    try:
        numbers = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InterplayError(f"data.clusters.file: {path} is no .npy of numbers ({error})") from None
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer) or (len(numbers) and numbers.min() < 0):
        raise InterplayError(f"data.clusters.file: {path} must hold one cluster number for each sample")
    if len(numbers) != samples:
        raise InterplayError(
            f"data.clusters.file: {path} has {len(numbers)} clusters for {samples} samples; make it from this data "
            "set with interplay cluster"
        )
    return numbers.astype(np.int64), int(numbers.max()) + 1
