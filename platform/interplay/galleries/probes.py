"""Probes of a gallery: classifiers for its levels of labels, random halves, energy of its directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from interplay.errors import InterplayError
from interplay.galleries.gallery import Gallery
from interplay.recipe.embedding import NoClusters
from interplay.retrieval import Embedded, energy, probe, separability


def probed(
    gallery: Gallery, kinds: Sequence[str], levels: Sequence[int] = (), *, split: str = "test", seed: int = 0
) -> dict[str, float | list[float]]:
    """What the frozen embeddings of `gallery` hold, under the names that trainings report.

    Args:
        gallery: a checkpoint and a data set.
        kinds: `linear` and `mlp` classifiers, `separability` of random halves, `energy` of principal directions.
        levels: of labels that classifiers learn, and whose classes are halved; none are all that have several
            classes, and for halves the one that was trained.
        split: that classifiers answer for.
        seed: of an MLP, and of the halves.

    Returns:
        `test/linear_top1`, `test/linear_top1_level1` and so on in per cent, `train/separability`, and `train/energy`,
        the shares of the variance, the largest first.

    Raises:
        InterplayError: if there is no such split or level, or it has one class.
    """
    names = gallery.manifest.classes
    for level in levels:
        if not 0 <= level < len(names):
            raise InterplayError(
                f"{gallery.path.name} has no label level {level}; its levels are 0 to {len(names) - 1}"
            )
    if split not in gallery.manifest.counts or not gallery.manifest.counts[split]:
        raise InterplayError(f"{gallery.path.name} has no {split} split; choose another with --split")
    wanted = tuple(levels) or tuple(level for level, of in enumerate(names) if len(of) > 1)
    images = gallery.embedded("train")
    answered = gallery.embedded(split) if {"linear", "mlp"} & set(kinds) else images
    found: dict[str, float | list[float]] = {}
    for kind in kinds:
        if kind == "separability":
            for place in levels or (None,):
                suffix = f"_level{place}" if place else ""
                scores = separability(_halved(gallery, images, place), seed=seed)
                found |= {f"train/{name}{suffix}": value for name, value in scores.items()}
        elif kind == "energy":
            found["train/energy"] = energy(images.vectors).tolist()
        else:
            for level in wanted:
                name = f"{split}/{kind}_top1" + (f"_level{level}" if level else "")
                found[name] = probe(
                    images, answered, level=level, kind="mlp" if kind == "mlp" else "linear", seed=seed
                )
    return found


def _halved(gallery: Gallery, images: Embedded, level: int | None) -> Embedded:
    """`images` with the labels of `level` as those that were trained, the recipe's level if it is None.

    A classifier's p(class) stays if it is of these classes.
    """
    recipe, names = gallery.recipe, gallery.manifest.classes
    by_level = isinstance(recipe.data.clusters, NoClusters)
    if level is None:
        if not by_level:
            raise InterplayError(
                f"{recipe.name} learnt clusters; name the level whose classes are halved with --level"
            )
        level = recipe.data.level
    if level is not None and level >= len(names):
        raise InterplayError(
            f"{recipe.name} learnt label level {level}, {gallery.path.name} has 0 to {len(names) - 1}; choose "
            "another with --level"
        )
    labels = torch.zeros_like(images.trained) if level is None else images.levels[:, level]
    coarse = images.coarse if by_level and level is not None and level == recipe.data.level else None
    if coarse is not None and coarse.shape[1] != len(names[level or 0]):
        coarse = None  # of another data set's classes
    return replace(images, trained=labels, coarse=coarse)
