"""Batched augmentation and mixing on the device, with counter-based randomness."""

from interplay.augment.keys import Keys
from interplay.augment.mix import Mixing, MixingEach, draw_mixing, draw_mixing_each, mix
from interplay.augment.policy import apply_policy, draw_policy, policy_in_loader
from interplay.augment.stage import Normalise, TrainingStage
from interplay.augment.views import BYOL, View, dino, ssl_views

__all__ = [
    "BYOL",
    "Keys",
    "Mixing",
    "MixingEach",
    "Normalise",
    "TrainingStage",
    "View",
    "apply_policy",
    "dino",
    "draw_mixing",
    "draw_mixing_each",
    "draw_policy",
    "mix",
    "policy_in_loader",
    "ssl_views",
]
