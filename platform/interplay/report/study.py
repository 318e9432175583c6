"""A study's table from what is stored: definition, results and, for a search, the Optuna study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from interplay.errors import InterplayError
from interplay.recipe import Recipe, read_recipe
from interplay.report import draw
from interplay.report.rows import Results, SearchRow, ablation_rows, search_rows
from interplay.study.definition import SEARCH, StudyDefinition, read_definition, study_directory
from interplay.study.proposals import CELL, CHANGES, open_study
from interplay.tracking.store import CellStore


@dataclass(frozen=True)
class StudyTable:
    """One study in every form it can be printed in, and whether all its cells have results."""

    definition: StudyDefinition
    table: draw.Table
    json: str
    complete: bool
    cells: list[str]

    @property
    def text(self) -> str:
        return draw.to_text(self.table)

    @property
    def markdown(self) -> str:
        head = f"# {self.definition.name}\n\n{self.definition.question}\n\n"
        return f"{head}{draw.to_markdown(self.table)}\n"

    def artifacts(self) -> dict[str, str]:
        """What MLflow keeps with the study: file name -> content."""
        return {"table.md": self.markdown, "table.json": self.json}


def study_table(root: Path, name: str, most: int | None = None) -> StudyTable:
    """The table of the study `name` under `root`; of a search the best `most` cells.

    Raises:
        InterplayError: if there is no such study.
    """
    definition = read_definition(root, name)
    if definition.kind == SEARCH:
        found = _search_rows(root, definition)
        cells = [row.fingerprint for row in found]
        complete = bool(found) and all(row.val is not None or row.state == "FAIL" for row in found)
        table, rows_json = draw.search_table(found, most), draw.to_json(found, **_head(definition))
        return StudyTable(definition, table, rows_json, complete, cells)
    cells = list(dict.fromkeys(f for row in definition.rows for f in row.cells.values()))
    results = _results(root, cells)
    rows = ablation_rows(definition, results)
    complete = all(result is not None for result in results.values())
    return StudyTable(definition, draw.ablation_table(rows), draw.to_json(rows, **_head(definition)), complete, cells)


def best_cell(root: Path, name: str) -> Recipe:
    """The recipe of the search's cell that is best on the validation split.

    Raises:
        InterplayError: if `name` is no search, or has no finished cell.
    """
    definition = read_definition(root, name)
    if definition.kind != SEARCH:
        raise InterplayError(f"{name!r} is an ablation; only a search has a best cell")
    rows = _search_rows(root, definition)
    if not rows or rows[0].val is None:
        raise InterplayError(f"search {name!r} has no finished cell yet; run it first")
    return read_recipe(CellStore(root).directory(rows[0].fingerprint) / "recipe.yaml")


def _search_rows(root: Path, definition: StudyDefinition) -> list[SearchRow]:
    study = open_study(study_directory(root, definition.name))
    records = [
        (t.number, str(t.user_attrs[CELL]), _changes(t.user_attrs[CHANGES]), t.state.name)
        for t in study.get_trials(deepcopy=False)
    ]
    return search_rows(records, _results(root, [r[1] for r in records]), definition.metric)


def _changes(text: str) -> Mapping[str, object]:
    changes: Mapping[str, object] = json.loads(text)
    return changes


def _results(root: Path, cells: list[str]) -> Results:
    store = CellStore(root)
    return {fingerprint: store.result(fingerprint) for fingerprint in cells}


def _head(definition: StudyDefinition) -> dict[str, object]:
    return {"study": definition.name, "kind": definition.kind, "question": definition.question}
