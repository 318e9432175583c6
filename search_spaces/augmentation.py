"""How training images are changed: policies with their own parameters, erasing, mixing, repetition."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.study.search.spaces import combine, published, published_points

_KINDS = ["none", "three_augment", "rand_augment", "auto_augment", "trivial_augment"]


@published(
    {
        "DeiT (T3.9)": {
            "augment.policy": "rand_augment",
            "augment.policy.magnitude": 9.0,
            "augment.policy.layers": 2,
            "augment.color_jitter": 0.0,
        },
        "DeiT III (T6.1)": {"augment.policy": "three_augment", "augment.color_jitter": 0.3},
        "AutoAugment (T6.3)": {"augment.policy": "auto_augment", "augment.policy.scheme": "original"},
        "TrivialAugment (T6.3)": {"augment.policy": "trivial_augment"},
    }
)
def policy(trial: Trial) -> dict[str, Any]:
    """A policy, each with what it has of its own, and the strength of colour jitter."""
    kind = trial.suggest_categorical("augment.policy", _KINDS)
    changes: dict[str, Any] = {
        "augment.policy": kind,
        "augment.color_jitter": trial.suggest_float("augment.color_jitter", 0.0, 0.5, step=0.1),
    }
    if kind == "rand_augment":
        magnitude = trial.suggest_float("augment.policy.magnitude", 1.0, 10.0, step=0.5)
        changes["augment.policy.magnitude"] = magnitude
        changes["augment.policy.layers"] = trial.suggest_int("augment.policy.layers", 1, 3)
    elif kind == "three_augment":
        strongest = trial.suggest_float("augment.policy.blur_radius.max", 0.5, 3.0, step=0.5)
        changes["augment.policy.blur_radius"] = [0.1, strongest]
    elif kind == "auto_augment":
        schemes = ["original", "originalr", "v0", "v0r"]
        changes["augment.policy.scheme"] = trial.suggest_categorical("augment.policy.scheme", schemes)
    return changes


_MIXED = {"augment.mix": True, "augment.mixup": 0.8, "augment.cutmix": 1.0, "augment.mix_prob": 1.0}


@published({"DeiT (T3.9)": _MIXED, "DeiT III (T6.1)": _MIXED})
def mixing(trial: Trial) -> dict[str, Any]:
    """Whether images are mixed; if so the two strengths and how often."""
    if not trial.suggest_categorical("augment.mix", [True, False]):
        return {"augment.mixup": 0.0, "augment.cutmix": 0.0}
    return {
        "augment.mixup": trial.suggest_float("augment.mixup", 0.1, 1.0, step=0.1),
        "augment.cutmix": trial.suggest_float("augment.cutmix", 0.1, 1.0, step=0.1),
        "augment.mix_prob": trial.suggest_float("augment.mix_prob", 0.2, 1.0, step=0.1),
    }


@published({"DeiT (T3.9)": {"augment.erasing": 0.25}, "DeiT III (T6.1)": {"augment.erasing": 0.0}})
def erasing(trial: Trial) -> dict[str, Any]:
    """How often a box of an image is erased."""
    return {"augment.erasing": trial.suggest_float("augment.erasing", 0.0, 0.5, step=0.05)}


@published({"DeiT (T3.9)": {"augment.repeats": 3}, "DeiT III (T6.1)": {"augment.repeats": 3}})
def repetition(trial: Trial) -> dict[str, Any]:
    """How many views of an image an epoch has, of fewer images (repeated augmentation)."""
    return {"augment.repeats": trial.suggest_int("augment.repeats", 1, 4)}


_ALL = combine(policy, mixing, erasing, repetition)


@published(published_points(_ALL))
def default(trial: Trial) -> dict[str, Any]:
    """Policy, mixing, erasing and repeated augmentation."""
    return dict(_ALL(trial, None))
