"""The training loop and its parts. Needs torch (and timm for LAMB and timm's models), nothing else."""

from interplay.training.checkpoint import State, load, save
from interplay.training.evaluate import evaluate
from interplay.training.fit import Diverged, Outcome, fit
from interplay.training.ranks import Ranks

__all__ = ["Diverged", "Outcome", "Ranks", "State", "evaluate", "fit", "load", "save"]
