"""Every table of the thesis that compares trainings, as an ablation: `T3_8`, `S3_5_3`, `F6_7`.

`interplay ablate --list` lists them. Each is also a function of a baseline recipe, in place of its own. `T3_8_384` is
the column of T3.8 after fine-tuning at 384: its first trainings are the cells of `T3_8`.
"""

from __future__ import annotations

from collections.abc import Callable

from interplay.recipe import Recipe
from interplay.study.ablation import Ablation
from search_spaces.ablations.sources import Table, ablation, fine_tuned, tables

Build = Callable[[Table, Recipe | None], Ablation]


def _function(name: str, table: Table, build: Build, title: str) -> Callable[..., Ablation]:
    def make(baseline: Recipe | None = None) -> Ablation:
        return build(table, baseline)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"{title} (thesis {table.id}, {len(table.lines)} lines)."
    return make


for _table in tables().values():
    globals()[_table.name] = _function(_table.name, _table, ablation, _table.title)
    if _table.has_fine_tuned_column:
        _name = f"{_table.name}_384"
        globals()[_name] = _function(_name, _table, fine_tuned, f"{_table.title}, fine-tuned at 384")
