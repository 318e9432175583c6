"""Interplay finds out what matters when a vision backbone is trained.

The public API; each name is imported when it is first used, so the core needs neither Ray nor MLflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interplay.errors import InterplayError
from interplay.lazy import lazily
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

__getattr__ = lazily(
    __name__,
    {
        "evaluation": ["evaluate_checkpoint"],
        "report.study": ["study_table"],
        "studies": ["Repeats", "Wanted", "run_ablation", "run_search", "run_training"],
        "study.ablation": ["Ablation", "Row", "leave_one_out"],
        "study.driving.execution": ["Execution"],
        "training": ["fit"],
    },
)
