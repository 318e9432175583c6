"""Spaces for recipes on the digits."""

from __future__ import annotations

from typing import Any

from optuna import Trial


def demo(trial: Trial) -> dict[str, Any]:
    """Drop path, LayerScale's start, heads at fixed width, and the augmentation policy with its own strength."""
    changes: dict[str, Any] = {
        "model.drop_path": trial.suggest_float("model.drop_path", 0.01, 0.2),
        "model.scale.init": trial.suggest_float("model.scale.init", 0.05, 1.0, log=True),
        "model.heads": trial.suggest_categorical("model.heads", [2, 3, 4, 6]),
        "augment.policy": trial.suggest_categorical("augment.policy", ["three_augment", "rand_augment"]),
    }
    if changes["augment.policy"] == "rand_augment":
        changes["augment.policy.magnitude"] = trial.suggest_float("augment.policy.magnitude", 0.5, 4.0)
    else:
        changes["augment.policy.blur_radius"] = [0.1, trial.suggest_float("augment.policy.blur_radius.max", 0.2, 0.8)]
    return changes
