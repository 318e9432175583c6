"""Which part of an image is seen, and at which size."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.recipe import Recipe
from interplay.study.search.spaces import combine, published, published_points


@published(
    {
        "DeiT (T3.9)": {"augment.crop": "random_resized_crop", "augment.crop.scale.min": 0.08},
        "DeiT III on ImageNet-21k (S6.2)": {"augment.crop": "simple_random_crop", "augment.crop.padding": 4},
    }
)
def crop(trial: Trial) -> dict[str, Any]:
    """The crop in training and what is its own, and the share of the image in evaluation."""
    kind = trial.suggest_categorical("augment.crop", ["random_resized_crop", "simple_random_crop", "resize"])
    changes: dict[str, Any] = {"augment.crop": kind}
    if kind == "random_resized_crop":
        smallest = trial.suggest_float("augment.crop.scale.min", 0.08, 0.88, step=0.08)
        changes["augment.crop.scale"] = [smallest, 1.0]
    elif kind == "simple_random_crop":
        changes["augment.crop.padding"] = trial.suggest_int("augment.crop.padding", 0, 8)
    ratio = trial.suggest_float("evaluation.crop_ratio", 0.75, 1.0, step=0.0625)
    return {**changes, "evaluation.crop_ratio": ratio}


@published({f"T3.10, {side}": {"data.resolution": side} for side in (160, 224, 320, 384)})
def size(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The side of the images in training, from half the recipe's to twice it, in whole patches.

    A recipe that names its size in evaluation is evaluated at this one too.
    """
    patch, side = getattr(recipe.model, "patch_size", 32), recipe.data.resolution
    least, most = max(1, side // 2 // patch) * patch, 2 * side // patch * patch
    chosen = trial.suggest_int("data.resolution", least, most, step=patch)
    also = {} if recipe.evaluation.resolution is None else {"evaluation.resolution": chosen}
    return {"data.resolution": chosen, **also}


_ALL = combine(crop, size)


@published(published_points(_ALL))
def default(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Crop and resolution."""
    return dict(_ALL(trial, recipe))
