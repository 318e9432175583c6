"""How the loss is brought down: the optimiser, its rate, momenta, warm-up. `regularisation` has weight decay."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.recipe import Recipe
from interplay.study.search.spaces import published


@published({"DeiT (T3.9)": {"optimiser.lr": 1e-3}, "DeiT III (T6.1)": {"optimiser.lr": 3e-3}})
def rate(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The peak learning rate, from an eighth of the recipe's to eight times it."""
    lr = recipe.optimiser.lr
    return {"optimiser.lr": trial.suggest_float("optimiser.lr", lr / 8, 8 * lr, log=True)}


def default(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The recipe's optimiser: rate, second momentum where it has one, gradient clipping, warm-up."""
    changes = dict(rate(trial, recipe))
    if hasattr(recipe.optimiser, "betas"):
        second = trial.suggest_categorical("optimiser.betas.second", [0.95, 0.98, 0.99, 0.999])
        changes["optimiser.betas"] = [recipe.optimiser.betas[0], second]
    if hasattr(recipe.optimiser, "momentum"):
        changes["optimiser.momentum"] = trial.suggest_float("optimiser.momentum", 0.8, 0.98, step=0.02)
    if trial.suggest_categorical("optimiser.clips", [True, False]):
        changes["optimiser.clip_grad"] = trial.suggest_float("optimiser.clip_grad", 0.1, 5.0, log=True)
    else:
        changes["optimiser.clip_grad"] = None
    longest = max(1, min(20, recipe.schedule.epochs // 4))
    changes["schedule.warmup_epochs"] = trial.suggest_int("schedule.warmup_epochs", 1, longest)
    return changes


@published(
    {
        "DeiT (T3.9)": {"optimiser": "adamw", "optimiser.lr.adamw": 1e-3},
        "DeiT III (T6.1)": {"optimiser": "lamb", "optimiser.lr.lamb": 3e-3},
    }
)
def choice(trial: Trial) -> dict[str, Any]:
    """Which optimiser, each with rates of its own; its other fields are its defaults."""
    kind = trial.suggest_categorical("optimiser", ["adamw", "lamb", "sgd"])
    low, high = {"adamw": (1e-4, 1e-2), "lamb": (5e-4, 3e-2), "sgd": (1e-2, 1.0)}[kind]
    lr = trial.suggest_float(f"optimiser.lr.{kind}", low, high, log=True)
    return {"optimiser": kind, "optimiser.lr": lr}
