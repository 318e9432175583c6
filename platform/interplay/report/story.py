"""Everything that is stored of a study, read once: what its page and its figures are made of."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interplay.data.manifest import manifest_path, read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe, read_recipe
from interplay.report.rows import AblationRow, SearchRow
from interplay.report.study import StudyTable, objectives_of, study_table
from interplay.study.definition import StudyDefinition, study_directory
from interplay.study.search.importance import Importances, importances
from interplay.study.search.objectives import Objective, count
from interplay.study.search.records import open_study
from interplay.tracking.journal import Record, read
from interplay.tracking.store import FINISHED, CellStore

WAITING, UNFINISHED = "waiting", "unfinished"
TRAIN_LOSS = "train/loss"
MOST_IN_A_FOREST = 100
"""Finished cells over which importance is computed for the page; `report --importance` takes all of them."""

MOST_MODELS = 16
"""Different models of a study that are built, without memory, to be counted: each takes a part of a second."""


@dataclass(frozen=True)
class CellFacts:
    """One cell as its journal and its result tell of it.

    Attributes:
        fingerprint: of the cell.
        label: its row, or its number in the search.
        seed: of its row; None in a search.
        status: `finished`, `diverged`, `pruned`, `stopped`, `failed`, `out_of_memory`, `unfinished` or `waiting`.
        message: why it failed, or how far it is.
        metrics: of its result.
        evidence: of its result, or of its last start.
        curves: metric -> epoch -> value, of finite values.
        starts: the epochs from which it was begun or gone on with.
    """

    fingerprint: str
    label: str
    seed: int | None = None
    status: str = WAITING
    message: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    starts: tuple[int, ...] = ()

    def metric(self, name: str) -> float | None:
        """The metric, if the cell finished and it is a finite number."""
        value = self.metrics.get(name)
        return value if self.status == FINISHED and value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Story:
    """A study, its rows, and its cells by fingerprint in the order of the study.

    `sizes` are those of `study.search.objectives.count` by a row's label, or by a cell of a search, of at most
    `MOST_MODELS` different models; there are none if it is not known how many classes there are, or one model is all.
    """

    root: Path
    table: StudyTable
    cells: Mapping[str, CellFacts]
    sizes: Mapping[str, Mapping[str, float]]
    importance: Importances | None = None

    @property
    def definition(self) -> StudyDefinition:
        return self.table.definition

    @property
    def rows(self) -> Sequence[AblationRow]:
        return self.table.rows

    @property
    def found(self) -> Sequence[SearchRow]:
        return self.table.found

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return objectives_of(self.definition)

    @property
    def measured(self) -> list[str]:
        """Test sets on which finished cells have a top-1: `val/top1`, `test/top1`, others."""
        names = {name for cell in self.cells.values() for name in cell.metrics if name.endswith("/top1")}
        return sorted(names, key=lambda name: (name != "val/top1", name != "test/top1", name))


def read_story(root: Path, name: str) -> Story:
    """The study `name` under `root`.

    Raises:
        InterplayError: if there is no such study, or it is a search that has not been started.
    """
    table = study_table(root, name)
    store = CellStore(root)
    places = dict(_places(table))
    keep = (table.definition.metric, TRAIN_LOSS)
    cells = {cell: cell_facts(store, cell, *places.get(cell, ("", None)), keep) for cell in table.cells}
    return Story(root, table, cells, _sizes(table, store), _importance(root, table))


def _importance(root: Path, table: StudyTable) -> Importances | None:
    """Of the first objective, if enough cells have finished to tell."""
    if not table.found:
        return None
    objectives = objectives_of(table.definition)
    try:
        study = open_study(study_directory(root, table.definition.name))
        return importances(study, objectives, objectives[0], most=MOST_IN_A_FOREST)
    except InterplayError:
        return None  # too few cells


def cell_facts(store: CellStore, fingerprint: str, label: str, seed: int | None, keep: Iterable[str]) -> CellFacts:
    """What is stored of one cell; of its journal the curves of the metrics `keep`."""
    records, result = read(store.journal(fingerprint))[0], store.result(fingerprint)
    curves: dict[str, dict[int, float]] = {name: {} for name in keep}
    for record in records:
        if record["event"] == "epoch":
            for name, curve in curves.items():
                value = record["metrics"].get(name)
                if value is not None and math.isfinite(value):
                    curve[record["epoch"]] = value
    starts = [record for record in records if record["event"] == "start"]
    status, message = _status(records) if result is None else (result.status, "")
    evidence = starts[-1].get("evidence", {}) if starts and result is None else {}
    return CellFacts(
        fingerprint=fingerprint,
        label=label,
        seed=seed,
        status=status,
        message=message,
        metrics={} if result is None else result.metrics,
        evidence=evidence if result is None else result.evidence,
        curves={name: dict(sorted(curve.items())) for name, curve in curves.items()},
        starts=tuple(int(record.get("epoch", 0)) for record in starts),
    )


def _status(records: Sequence[Record]) -> tuple[str, str]:
    if not records:
        return WAITING, ""
    last = records[-1]
    if last["event"] == "end":
        return str(last.get("status", "failed")), str(last.get("message", ""))
    done = max((r["epoch"] for r in records if r["event"] == "epoch"), default=0)
    return UNFINISHED, f"after {done} epochs" if done != 1 else "after 1 epoch"


def _places(table: StudyTable) -> Iterable[tuple[str, tuple[str, int | None]]]:
    """Cell -> its row and seed; a cell that several rows share is in the first of them."""
    for row in reversed(table.rows):
        yield from ((cell, (row.label, seed)) for seed, cell in row.cells.items())
    yield from ((row.fingerprint, (f"trial {row.number}", None)) for row in table.found)


def _sizes(table: StudyTable, store: CellStore) -> dict[str, Mapping[str, float]]:
    dataset = Path(table.definition.dataset)
    if not manifest_path(dataset).is_file():
        return {}
    manifest = read_manifest(dataset)
    found: dict[str, Mapping[str, float]] = {}
    counted: dict[Any, Mapping[str, float]] = {}
    named = [*_row_recipes(table, store), *_search_recipes(table)]
    if len({_size_key(recipe) for _, recipe in named}) < 2:
        return {}  # nothing to compare
    for name, recipe in named:
        key = _size_key(recipe)
        if key not in counted and len(counted) < MOST_MODELS:
            try:
                counted[key] = count(recipe, manifest)
            except InterplayError:
                counted[key] = {}
        if counted.get(key):
            found[name] = counted[key]
    return found


def _size_key(recipe: Recipe) -> tuple[Any, ...]:
    data = recipe.data
    return (recipe.model, recipe.evaluation.resolution or data.resolution, data.level, data.clusters)


def _row_recipes(table: StudyTable, store: CellStore) -> Iterable[tuple[str, Recipe]]:
    for row in table.rows[: 4 * MOST_MODELS]:
        paths = (store.directory(cell) / "recipe.yaml" for cell in row.cells.values())
        if (path := next((path for path in paths if path.is_file()), None)) is not None:
            yield row.label, read_recipe(path)


def _search_recipes(table: StudyTable) -> Iterable[tuple[str, Recipe]]:
    """Only with the changes that can change a size: fractions do not."""
    base: Recipe | None = None
    known: dict[str, Recipe | None] = {}
    for found in table.found:
        changes = {path: value for path, value in found.changes.items() if _counts(path, value)}
        key = json.dumps(changes, sort_keys=True)
        if key not in known and len(known) < MOST_MODELS:
            base = base or table.definition.base()
            try:
                known[key] = base.with_(changes)
            except InterplayError:
                known[key] = None  # changes that only stand together with those left out
        if (recipe := known.get(key)) is not None:
            yield found.fingerprint, recipe


def _counts(path: str, value: object) -> bool:
    sized = path.startswith("model") or path in ("data.resolution", "evaluation.resolution")
    return sized and not isinstance(value, float)
