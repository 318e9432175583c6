"""Interplay finds out what matters when a vision backbone is trained.

The public API; each name is imported when it is first used, so the core needs neither Ray nor MLflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_recipe

if TYPE_CHECKING:
    from interplay.evaluation import evaluate_checkpoint
    from interplay.report.study import study_table
    from interplay.studies import Repeats, Wanted, run_ablation, run_search, run_training
    from interplay.study.ablation import Ablation, Row, leave_one_out
    from interplay.study.driving.execution import Execution
    from interplay.training import fit

__version__ = "0.1.0"

__all__ = [
    "Ablation",
    "Execution",
    "InterplayError",
    "Recipe",
    "Repeats",
    "Row",
    "Wanted",
    "evaluate_checkpoint",
    "find_recipe",
    "fit",
    "leave_one_out",
    "run_ablation",
    "run_search",
    "run_training",
    "study_table",
]

_HOMES = {
    "Ablation": "interplay.study.ablation",
    "Execution": "interplay.study.driving.execution",
    "Repeats": "interplay.studies",
    "Row": "interplay.study.ablation",
    "Wanted": "interplay.studies",
    "evaluate_checkpoint": "interplay.evaluation",
    "fit": "interplay.training",
    "leave_one_out": "interplay.study.ablation",
    "run_ablation": "interplay.studies",
    "run_search": "interplay.studies",
    "run_training": "interplay.studies",
    "study_table": "interplay.report.study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'interplay' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
