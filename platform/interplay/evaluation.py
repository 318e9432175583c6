"""Evaluating checkpoints on data sets, without Ray: other crops, other resolutions, other labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from interplay.augment import Normalise
from interplay.data import locate
from interplay.errors import InterplayError
from interplay.models import Backbone, build
from interplay.models.parts.head import TwoHeads
from interplay.recipe import Recipe
from interplay.recipe.changes import validate
from interplay.training.evaluate import answer
from interplay.training.precision import autocast_dtype
from interplay.training.scores import Answers, summary
from interplay.training.start import put_weights, read_checkpoint


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
        InterplayError: if there is no such checkpoint, data set or split, or their classes differ.
    """
    from interplay.data.loader import beton_loaders

    state = read_checkpoint(checkpoint)
    recipe: Recipe = validate(state["recipe"])
    changes: dict[str, float] = {}
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


def read_right_labels(path: Path) -> dict[int, list[int]]:
    """A JSON file of right labels: a list with one list for each sample, or positions -> lists.

    Raises:
        InterplayError: if it is neither.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InterplayError(f"there is no file {path}") from None
    except ValueError as error:
        raise InterplayError(f"{path} is not JSON: {error}") from None
    pairs = enumerate(content) if isinstance(content, list) else content.items() if isinstance(content, dict) else ()
    try:
        return {int(position): [int(label) for label in labels] for position, labels in pairs}
    except (TypeError, ValueError):
        raise InterplayError(f"{path}: labels are lists of whole numbers, one for each position") from None


def grid(ratios: Sequence[float], resolutions: Sequence[int]) -> list[tuple[float | None, int | None]]:
    """Every crop ratio at every resolution; the recipe's own where none is given."""
    return [(ratio, side) for side in (*resolutions,) or (None,) for ratio in (*ratios,) or (None,)]
