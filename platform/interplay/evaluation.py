"""Evaluating a checkpoint on a data set, without Ray."""

from __future__ import annotations

from pathlib import Path

import torch

from interplay.augment import Normalise
from interplay.data import locate
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe.changes import validate
from interplay.training import Ranks, evaluate, load
from interplay.training.fit import autocast_dtype


def evaluate_checkpoint(
    checkpoint: Path, dataset: str, root: Path, *, split: str = "test", crop_ratio: float | None = None
) -> dict[str, float]:
    """`top1`, `top5` and `loss` of a checkpoint (a file, or a cell's folder) on one split of `dataset`.

    Raises:
        InterplayError: if there is no such checkpoint, data set or split, or their classes differ.
    """
    from interplay.data.loader import beton_loaders

    state = load(checkpoint / "checkpoint" / "last.pt" if checkpoint.is_dir() else checkpoint)
    recipe = validate(state["recipe"])
    if crop_ratio is not None:
        recipe = recipe.with_({"evaluation.crop_ratio": crop_ratio})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    path = locate(dataset, root / "datasets")
    loaders = beton_loaders(path, recipe)
    if loaders.classes != state["classes"]:
        raise InterplayError(f"{path.name} has {loaders.classes} classes, the checkpoint {state['classes']}")
    loader = {"val": loaders.val, "test": loaders.test}.get(split)
    if loader is None:
        raise InterplayError(f"{path.name} has no {split} split to evaluate on")
    model = build(recipe.model, classes=loaders.classes, image_size=recipe.data.resolution)
    model.load_state_dict(state["model"])
    normalise = Normalise(loaders.mean, loaders.std, device)
    autocast = autocast_dtype(recipe, device)
    return evaluate(model.to(device), loader, normalise, device=device, ranks=Ranks(), autocast=autocast)
