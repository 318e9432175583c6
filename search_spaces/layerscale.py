"""How residual branches are scaled, and where the scaling starts (thesis S3.5)."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.errors import InterplayError
from interplay.recipe import NoScale, Recipe
from interplay.study.search.spaces import published

_PUBLISHED: dict[str, dict[str, Any]] = {
    "CaiT to depth 18 (S3.5)": {"model.scale": "layer_scale", "model.scale.init": 0.1},
    "CaiT at depth 24 (S3.5)": {"model.scale": "layer_scale", "model.scale.init": 1e-5},
    "CaiT beyond depth 24 (S3.5)": {"model.scale": "layer_scale", "model.scale.init": 1e-6},
    "DeiT III (S6.2)": {"model.scale": "layer_scale", "model.scale.init": 1e-4},
    "adapted ReZero (T3.12)": {"model.scale": "scalar"},
    "DeiT (T3.9)": {"model.scale": "none"},
}


@published(_PUBLISHED)
def default(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The kind of scaling and, for LayerScale, its start around what the thesis uses at the model's depth."""
    kind = trial.suggest_categorical("model.scale", ["none", "layer_scale", "scalar"])
    return {"model.scale": kind, **(_init(trial, recipe) if kind == "layer_scale" else {})}


@published(_PUBLISHED)
def init(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """LayerScale's start alone, for a model that has LayerScale: 0.1 to depth 18, 1e-5 at 24, 1e-6 beyond (S3.5)."""
    if getattr(recipe.model, "scale", NoScale()).kind != "layer_scale":
        raise InterplayError(f"{recipe.name} has no LayerScale; search layerscale, or add -s model.scale=layer_scale")
    return _init(trial, recipe)


def _init(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    depth = getattr(recipe.model, "depth", 12)
    low, high = (1e-4, 1.0) if depth <= 18 else (1e-6, 0.1) if depth <= 24 else (1e-7, 1e-2)
    return {"model.scale.init": trial.suggest_float("model.scale.init", low, high, log=True)}
