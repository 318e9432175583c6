"""Evaluating checkpoints on data sets, without Ray: other crops, other resolutions, other labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from interplay.augment import Normalise
from interplay.data import locate
from interplay.data.other_sets import read_right_labels
from interplay.errors import InterplayError
from interplay.models import Backbone, build
from interplay.models.parts.head import TwoHeads
from interplay.recipe import ByHead, Recipe
from interplay.recipe.changes import validate
from interplay.training.evaluate import answer
from interplay.training.precision import autocast_dtype
from interplay.training.scores import Answers, summary
from interplay.training.start import put_weights, read_checkpoint

__all__ = ["answers_of", "evaluate_checkpoint", "grid", "read_right_labels"]


def answers_of(
    checkpoint: Path,
    dataset: str,
    root: Path,
    *,
    split: str = "test",
    crop_ratio: float | None = None,
    resolution: int | None = None,
    fusion: str | None = None,
) -> Answers:
    """What a checkpoint answers to every image of one split of `dataset`.

    Args:
        checkpoint: a file, or a cell's folder. Averaged weights are used where the training averaged them.
        dataset: as in a recipe.
        root: the storage root, whose `datasets` folder is looked at.
        split: `train`, `val` or `test`; `train` is read as stored, without augmentation.
        crop_ratio: instead of the recipe's.
        resolution: instead of the recipe's; position embeddings are interpolated.
        fusion: how two heads are made one answer, instead of the model's own way (thesis T3.3).

    Raises:
        InterplayError: if there is no such checkpoint, data set or split, their classes differ, or no classifier was
            learnt.
    """
    from interplay.data.loader import beton_loaders

    state = read_checkpoint(checkpoint)
    recipe: Recipe = validate(state["recipe"])
    if getattr(recipe.embedding, "labels", ByHead()) != ByHead():
        raise InterplayError(
            f"{checkpoint} learnt no classifier; ask its neighbours: interplay retrieve {checkpoint}"
        )
    changes: dict[str, Any] = {"evaluation.also": {}}
    if crop_ratio is not None:
        changes["evaluation.crop_ratio"] = crop_ratio
    if resolution is not None:
        changes |= {"data.resolution": resolution, "evaluation.resolution": resolution}
    recipe = recipe.with_(changes)
    side = recipe.evaluation.resolution or recipe.data.resolution
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = locate(dataset, root / "datasets")
    loaders = beton_loaders(path, recipe, evaluate_train=split == "train")
    if loaders.classes != state["classes"]:
        raise InterplayError(f"{path.name} has {loaders.classes} classes, the checkpoint {state['classes']}")
    loader = {"train": loaders.train, "val": loaders.val, "test": loaders.test}.get(split)
    if loader is None:
        raise InterplayError(f"{path.name} has no {split} split to evaluate on")
    model = build(recipe.model, classes=loaders.classes, image_size=side)
    put_weights(model, checkpoint, new_head=False)
    if fusion is not None:
        head = model.head if isinstance(model, Backbone) else None
        if not isinstance(head, TwoHeads):
            raise InterplayError(f"{checkpoint} has one head: there is nothing to fuse; leave --fusion out")
        head.fusion = fusion
    mean, std = state.get("mean", loaders.mean), state.get("std", loaders.std)
    normalise = Normalise(mean, std, device)
    return answer(model.to(device), loader, normalise, device=device, autocast=autocast_dtype(recipe, device))


def evaluate_checkpoint(
    checkpoint: Path, dataset: str, root: Path, *, split: str = "test", crop_ratio: float | None = None
) -> dict[str, float]:
    """`top1`, `top5`, `loss` and calibration error `ece` of a checkpoint on one split; see `answers_of`."""
    return summary(answers_of(checkpoint, dataset, root, split=split, crop_ratio=crop_ratio))


def grid(ratios: Sequence[float], resolutions: Sequence[int]) -> list[tuple[float | None, int | None]]:
    """Every crop ratio at every resolution; the recipe's own where none is given."""
    return [(ratio, side) for side in (*resolutions,) or (None,) for ratio in (*ratios,) or (None,)]
