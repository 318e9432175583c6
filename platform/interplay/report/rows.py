"""Tables as data: pure functions of definitions and results. Drawing is in `interplay.report.draw`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition
from interplay.study.stats import LEVEL, Difference, holm, paired_difference
from interplay.tracking.store import FINISHED, CellResult

WAITING, NOT_MEASURED = "waiting", "not measured"

Results = Mapping[str, CellResult | None]
"""Fingerprint -> result, None while the cell is not finished."""


@dataclass(frozen=True)
class Measured:
    """A number with its evidence: mean and sample standard deviation of n seeds. No seed, no number."""

    mean: float | None
    std: float | None
    seeds: tuple[int, ...]

    @property
    def n(self) -> int:
        return len(self.seeds)


@dataclass(frozen=True)
class AblationRow:
    """One line of an ablation table.

    Attributes:
        label: what differs from the baseline.
        test: the metric on the test split.
        difference: to the baseline, paired by seed; None for the baseline itself.
        p: of the difference, corrected for the number of rows by Holm's method.
        verdict: `baseline`, `better`, `worse`, `inside noise`, `same as baseline`, `one seed`, `no spread`, `failed`,
            `not measured`, `waiting`.
        published: numbers printed for this row.
        missing: seeds without a number, and why (`waiting`, `diverged`; `not measured` without a test split).
        cells: seed -> fingerprint.
    """

    label: str
    test: Measured
    difference: Difference | None
    p: float | None
    verdict: str
    published: Mapping[str, float]
    missing: Mapping[int, str]
    cells: Mapping[int, str] = field(default_factory=dict)


def ablation_rows(definition: StudyDefinition, results: Results, metric: str = "test/top1") -> list[AblationRow]:
    """The table of an ablation, baseline first."""
    values = {row.label: _values(row.cells, results, metric) for row in definition.rows}
    baseline = next(row for row in definition.rows if row.label == BASELINE)
    differences = [
        None if row is baseline else paired_difference(values[row.label], values[BASELINE]) for row in definition.rows
    ]
    corrected = holm([None if d is None else d.p for d in differences])
    table = []
    for row, difference, p in zip(definition.rows, differences, corrected, strict=True):
        missing = {
            seed: _why_missing(results.get(cell)) for seed, cell in row.cells.items() if seed not in values[row.label]
        }
        same = row is not baseline and row.cells == baseline.cells
        verdict = "same as baseline" if same else _verdict(row.label, difference, p, missing)
        table.append(
            AblationRow(
                label=row.label,
                test=_measured(values[row.label]),
                difference=difference,
                p=p,
                verdict=verdict,
                published=row.published,
                missing=missing,
                cells=row.cells,
            )
        )
    return table


@dataclass(frozen=True)
class SearchRow:
    """One cell of a search."""

    number: int
    fingerprint: str
    changes: Mapping[str, object]
    state: str
    val: float | None
    test: float | None


def search_rows(
    records: Sequence[tuple[int, str, Mapping[str, object], str]], results: Results, metric: str = "val/top1"
) -> list[SearchRow]:
    """Cells of a search, best on the validation split first; the unfinished ones last.

    Args:
        records: (number, fingerprint, changes, state) of each cell.
        results: of the cells.
        metric: what the search selects by.
    """
    rows = []
    for number, fingerprint, changes, state in records:
        result = results.get(fingerprint)
        val = result.metric(metric) if result else None
        test = result.metric(metric.replace("val/", "test/")) if result else None
        rows.append(SearchRow(number, fingerprint, changes, state, val, test))
    return sorted(rows, key=lambda r: (r.val is None, -(r.val or 0.0), r.number))


def _values(cells: Mapping[int, str], results: Results, metric: str) -> dict[int, float]:
    found = {}
    for seed, fingerprint in cells.items():
        result = results.get(fingerprint)
        value = result.metric(metric) if result is not None else None
        if value is not None:
            found[seed] = value
    return found


def _measured(values: Mapping[int, float]) -> Measured:
    numbers = list(values.values())
    mean = statistics.fmean(numbers) if numbers else None
    std = statistics.stdev(numbers) if len(numbers) > 1 else None
    return Measured(mean, std, tuple(sorted(values)))


def _why_missing(result: CellResult | None) -> str:
    if result is None:
        return WAITING
    return NOT_MEASURED if result.status == FINISHED else result.status


def _verdict(label: str, difference: Difference | None, p: float | None, missing: Mapping[int, str]) -> str:
    if set(missing.values()) - {WAITING, NOT_MEASURED}:
        return "failed"
    if NOT_MEASURED in missing.values():
        return NOT_MEASURED
    if label == BASELINE:
        return BASELINE
    if difference is None:
        return WAITING  # for a seed of its own or of the baseline
    if p is None:  # a single pair says nothing of the spread, nor do pairs that all differ by the same step
        return "one seed" if difference.pairs < 2 else "no spread"
    if p >= LEVEL:
        return "inside noise"
    return "better" if difference.mean > 0 else "worse"
