"""Batched augmentation and mixing on the device, with counter-based randomness."""

from interplay.augment.mix import Mixing, draw_mixing, mix
from interplay.augment.policy import Keys, apply_policy
from interplay.augment.stage import Normalise, TrainingStage

__all__ = ["Keys", "Mixing", "Normalise", "TrainingStage", "apply_policy", "draw_mixing", "mix"]
