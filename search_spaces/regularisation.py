"""What keeps a model from learning its training set by heart: stochastic depth, weight decay, dropout."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.recipe import Recipe
from interplay.recipe.procedure import Sgd
from interplay.study.search.spaces import combine, published, published_points

_DROP_PATH = {
    "DeiT (T3.9)": {"model.drop_path": 0.1, "model.drop_path_rule": "linear"},
    "DeiT, tuned (T3.12, depth 12)": {"model.drop_path": 0.05, "model.drop_path_rule": "uniform"},
    "DeiT, tuned (T3.12, depth 24)": {"model.drop_path": 0.2, "model.drop_path_rule": "uniform"},
    "DeiT III, large (T6.14)": {"model.drop_path": 0.4, "model.drop_path_rule": "uniform"},
}


@published(_DROP_PATH)
def drop_path(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The rate of stochastic depth, and, where the model has a choice, how it grows with depth."""
    changes: dict[str, Any] = {"model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.5, step=0.05)}
    if changes["model.drop_path"] and hasattr(recipe.model, "drop_path_rule"):
        rules = ["linear", "uniform"]
        changes["model.drop_path_rule"] = trial.suggest_categorical("model.drop_path_rule", rules)
    return changes


@published(
    {
        "DeiT (T3.9)": {"optimiser.weight_decay": 0.05},
        "DeiT III (T6.1)": {"optimiser.weight_decay": 0.02},
        "ViT (T3.9)": {"optimiser.weight_decay": 0.3},
    }
)
def weight_decay(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Decoupled decay for AdamW and LAMB; SGD adds it to the gradient and wants a hundredth."""
    low, high = (1e-5, 1e-2) if isinstance(recipe.optimiser, Sgd) else (5e-3, 0.5)
    return {"optimiser.weight_decay": trial.suggest_float("optimiser.weight_decay", low, high, log=True)}


@published({"DeiT (T3.9)": {"model.dropout": 0.0}, "ViT (T3.9)": {"model.dropout": 0.1}})
def dropout(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Of a vision transformer; other families have none."""
    if not hasattr(recipe.model, "dropout"):
        return {}
    return {"model.dropout": trial.suggest_float("model.dropout", 0.0, 0.3, step=0.05)}


_ALL = combine(drop_path, weight_decay, dropout)


@published(published_points(_ALL))
def default(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Drop path and its rule, weight decay, dropout."""
    return dict(_ALL(trial, recipe))
