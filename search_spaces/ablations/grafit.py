"""The tables of thesis chapter 2 as ablations: `T2_7_cifar100`, `T2_11`, `T2_14a_inat19`, and fine-tuned `T2_8_ft`.

Each is also a function of a baseline recipe, whose data, model and schedule take the place of the thesis's.
"""

from __future__ import annotations

from collections.abc import Callable

from interplay.recipe import Recipe
from interplay.study.ablation import Ablation
from search_spaces.ablations.sources.chapter2 import TUNED, Table, ablation, fine_tuned, tables


def _function(name: str, table: Table, dataset: str) -> Callable[..., Ablation]:
    def make(baseline: Recipe | None = None) -> Ablation:
        return ablation(table, dataset, baseline)

    make.__name__ = make.__qualname__ = name
    lines = sum(line.changes.get("data.dataset", "") == dataset for line in table.lines)
    make.__doc__ = f"{table.title}{f' on {dataset}' if dataset else ''} (thesis {table.id}, {lines} lines)."
    return make


def _tuned_function(name: str, table: Table, dataset: str) -> Callable[..., Ablation]:
    def make(baseline: Recipe | None = None) -> Ablation:
        return fine_tuned(table, dataset, baseline)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{table.title}{f' on {dataset}' if dataset else ''}, fine-tuned afterwards (thesis {table.id})."
    return make


for _table in tables().values():
    for _dataset in _table.datasets:
        _name = "_".join([_table.id.replace(".", "_"), *([_dataset] if _dataset else [])])
        globals()[_name] = _function(_name, _table, _dataset)
        if any(TUNED in line.published and line.changes.get("data.dataset", "") == _dataset for line in _table.lines):
            globals()[f"{_name}_ft"] = _tuned_function(f"{_name}_ft", _table, _dataset)
