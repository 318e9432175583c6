"""A study's table from what is stored: definition, results and, for a search, the Optuna study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from interplay.errors import InterplayError
from interplay.recipe import Recipe, read_recipe
from interplay.report import draw
from interplay.report.notes import ablation_notes, wrapped
from interplay.report.rows import (
    AblationRow,
    Results,
    SearchRecord,
    SearchRow,
    ablation_rows,
    published_agreement,
    search_rows,
)
from interplay.study.definition import SEARCH, StudyDefinition, read_definition, study_directory
from interplay.study.driving.ledger import use_of_study
from interplay.study.search.objectives import Objective, parse_objectives
from interplay.study.search.records import CELL, CHANGES, PARENT, open_study
from interplay.tracking.store import CellStore

ENDED = ("COMPLETE", "PRUNED", "FAIL")


@dataclass(frozen=True)
class StudyTable:
    """One study in every form it can be printed in, and whether all its cells have results.

    `rows` are those of an ablation, `found` those of a search.
    """

    definition: StudyDefinition
    table: draw.Table
    json: str
    complete: bool
    cells: list[str]
    notes: tuple[str, ...] = ()
    rows: tuple[AblationRow, ...] = ()
    found: tuple[SearchRow, ...] = ()

    @property
    def text(self) -> str:
        return "\n".join([draw.to_text(self.table), *(["", *wrapped(self.notes)] if self.notes else [])])

    @property
    def markdown(self) -> str:
        head = f"# {self.definition.name}\n\n{self.definition.question}\n\n"
        notes = "".join(f"\n{note}\n" for note in self.notes)
        return f"{head}{draw.to_markdown(self.table)}\n{notes}"

    def artifacts(self) -> dict[str, str]:
        """What MLflow keeps with the study: file name -> content."""
        return {"table.md": self.markdown, "table.json": self.json}


def study_table(root: Path, name: str, most: int | None = None, metric: str = "test/top1") -> StudyTable:
    """The table of the study `name` under `root`; of a search the best `most` cells, of an ablation `metric`.

    Raises:
        InterplayError: if there is no such study, or none of its cells has the metric.
    """
    definition = read_definition(root, name)
    if definition.kind == SEARCH:
        if metric != "test/top1":
            raise InterplayError(f"{name!r} is a search, whose table has its objectives; leave --metric out")
        found = _search_rows(root, definition)
        cells = [row.fingerprint for row in found]
        complete = bool(found) and all(row.state in ENDED for row in found)
        table, rows_json = draw.search_table(found, most), draw.to_json(found, **_head(root, definition))
        return StudyTable(definition, table, rows_json, complete, cells, found=tuple(found))
    cells = list(dict.fromkeys(f for row in definition.rows for f in row.cells.values()))
    results = _results(root, cells)
    _check_metric(name, metric, results)
    rows = ablation_rows(definition, results, metric)
    complete = all(result is not None for result in results.values())
    agreement = published_agreement(rows, metric)
    seeds = {"margin": definition.margin, "looks": definition.looks, "looked": definition.looked}
    order = {metric: asdict(found) for metric, found in agreement.items()}
    rows_json = draw.to_json(rows, **_head(root, definition), **seeds, published_order=order)
    notes = tuple(ablation_notes(rows, definition, agreement))
    drawn = draw.ablation_table(rows, metric)
    return StudyTable(definition, drawn, rows_json, complete, cells, notes, tuple(rows))


def _check_metric(name: str, metric: str, results: Results) -> None:
    measured = sorted({known for result in results.values() if result is not None for known in result.metrics})
    if metric != "test/top1" and measured and metric not in measured:
        tests = ", ".join(known for known in measured if known.startswith("test/")) or ", ".join(measured)
        raise InterplayError(f"no cell of {name!r} has the metric {metric!r}; there are {tests}")


def best_cell(root: Path, name: str) -> Recipe:
    """The recipe of the search's cell that is best in its first objective, or, as `NAME@OBJECTIVE`, in that one.

    With several objectives both are on the front.

    Raises:
        InterplayError: if `name` is no search, has no such objective, or has no finished cell.
    """
    name, by = _study_and_objective(root, name)
    definition = read_definition(root, name)
    if definition.kind != SEARCH:
        raise InterplayError(f"{name!r} is an ablation; only a search has a best cell")
    objectives = {objective.name: objective for objective in objectives_of(definition)}
    if by and by not in objectives:
        raise InterplayError(f"search {name!r} does not optimise {by!r}; it optimises {', '.join(objectives)}")
    rows = _search_rows(root, definition, objectives[by] if by else None)
    if not rows or rows[0].state != "COMPLETE":
        raise InterplayError(f"search {name!r} has no finished cell yet; run it first")
    return read_recipe(CellStore(root).directory(rows[0].fingerprint) / "recipe.yaml")


def _study_and_objective(root: Path, name: str) -> tuple[str, str]:
    """`s1@parameters` in two, unless a study is called so."""
    study, _, objective = name.rpartition("@")
    return (study, objective) if study and not (root / "studies" / name / "study.yaml").is_file() else (name, "")


def objectives_of(definition: StudyDefinition) -> tuple[Objective, ...]:
    """What a search optimises, first the one that selects."""
    return parse_objectives(definition.objectives or [definition.metric])


def _search_rows(root: Path, definition: StudyDefinition, by: Objective | None = None) -> list[SearchRow]:
    study, objectives = open_study(study_directory(root, definition.name)), objectives_of(definition)
    by = by or objectives[0]
    front = {trial.number for trial in study.best_trials} if len(objectives) > 1 else set()
    # a cell that was tried again has a record for each time; the last one counts
    last = {str(trial.user_attrs[CELL]): trial for trial in study.get_trials(deepcopy=False)}
    records = [
        SearchRecord(
            number=trial.number,
            fingerprint=fingerprint,
            changes=_changes(trial.user_attrs[CHANGES]),
            state=trial.state.name,
            objectives=dict(zip((o.name for o in objectives), trial.values or (), strict=True))
            if trial.state.name == "COMPLETE"
            else {},
            front=trial.number in front,
            parent=last[trial.user_attrs[PARENT]].number if PARENT in trial.user_attrs else None,
        )
        for fingerprint, trial in last.items()
    ]
    return search_rows(records, _results(root, list(last)), by.name, maximise=by.maximise)


def _changes(text: str) -> Mapping[str, object]:
    changes: Mapping[str, object] = json.loads(text)
    return changes


def _results(root: Path, cells: list[str]) -> Results:
    store = CellStore(root)
    return {fingerprint: store.result(fingerprint) for fingerprint in cells}


def _head(root: Path, definition: StudyDefinition) -> dict[str, object]:
    use = use_of_study(study_directory(root, definition.name))
    head = {"study": definition.name, "kind": definition.kind, "question": definition.question}
    return {**head, "budget": use} if use is not None else {**head}
