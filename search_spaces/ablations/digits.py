"""Ablations on the digits."""

from __future__ import annotations

from interplay.study.ablation import Ablation, leave_one_out
from interplay.study.designs import one_factor


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


def heads() -> Ablation:
    """How many heads at fixed width? The baseline has 4 of 12 channels (the layout of thesis T3.21)."""
    return one_factor("How many heads at fixed width?", "model.heads", [1, 2, 3, 6, 12])
