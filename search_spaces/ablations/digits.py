"""Ablations on the digits."""

from __future__ import annotations

from interplay.study.ablation import Ablation, leave_one_out


def leave_one_out_demo() -> Ablation:
    """Which part of the recipe carries the result? Each is taken away alone (the layout of thesis T3.8)."""
    return leave_one_out(
        "Which part of the recipe carries the result?",
        {
            "LayerScale": {"model.scale": "none"},
            "drop path": {"model.drop_path": 0.0},
            "augmentation policy": {"augment.policy": "none"},
            "mixup and CutMix": {"augment.mixup": 0.0, "augment.cutmix": 0.0},
            "repeated augmentation": {"augment.repeats": 1},
        },
    )
