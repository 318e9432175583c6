"""The training loop and its parts. Needs torch (and timm for LAMB and timm's models), nothing else."""

from interplay.training.checkpoint import State, Writer, load, save
from interplay.training.evaluate import evaluate
from interplay.training.fit import Computing, Diverged, Outcome, fit
from interplay.training.ranks import Ranks

__all__ = ["Computing", "Diverged", "Outcome", "Ranks", "State", "Writer", "evaluate", "fit", "load", "save"]
