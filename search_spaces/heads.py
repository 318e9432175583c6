"""Attention heads, and the size of a transformer."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.errors import InterplayError
from interplay.recipe import Recipe, ViT
from interplay.study.search.spaces import published

_NARROWEST = 8


@published({f"T3.21, {heads} heads": {"model.heads": heads} for heads in (3, 6, 8, 12, 16, 24)})
def fixed_width(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The number of heads at the recipe's width, so that more heads are narrower ones (T3.21).

    Every choice divides the width; heads are at least 8 wide.
    """
    width = _transformer(recipe).width
    choices = [heads for heads in range(1, width // _NARROWEST + 1) if width % heads == 0]
    return {"model.heads": trial.suggest_categorical("model.heads", choices)}


def shape(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Depth, width, heads and MLP ratio, each on its own: widths that heads do not divide are turned down.

    For several objectives and constraints: `--objective val/top1 --objective parameters --constraint 'macs<=1.3e9'`.
    """
    model = _transformer(recipe)
    step = max(8, model.width // 8 // 8 * 8)
    depths = max(1, model.depth // 2), 2 * model.depth
    return {
        "model.depth": trial.suggest_int("model.depth", *depths),
        "model.width": trial.suggest_int("model.width", step, step * (2 * model.width // step), step=step),
        "model.heads": trial.suggest_int("model.heads", 1, 2 * model.heads),
        "model.mlp_ratio": trial.suggest_float("model.mlp_ratio", 2.0, 5.0, step=0.5),
    }


def _transformer(recipe: Recipe) -> ViT:
    if not isinstance(recipe.model, ViT):
        raise InterplayError(f"{recipe.name} is of the family {recipe.model.family}, which has no heads to search")
    return recipe.model
