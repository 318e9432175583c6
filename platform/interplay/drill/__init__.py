"""Breaking a small study on purpose, at random moments, and counting what that cost.

A study of a few cells is run undisturbed, then once for each fault, whose moments are drawn from a seed and told.
After the last moment the same command is run to its end: its table must be the undisturbed one, with no cell lost or
trained again after it had finished, and nothing doubled or left running in MLflow and Optuna.
"""

from __future__ import annotations

from interplay.drill.drills import FAULTS, drill
from interplay.drill.outcome import Outcome, drill_table

__all__ = ["FAULTS", "Outcome", "drill", "drill_table"]
