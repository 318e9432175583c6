"""Tables as data: pure functions of definitions and results. Drawing is in `interplay.report.draw`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition, StudyRow
from interplay.study.evidence.comparison import Comparison, compare
from interplay.study.evidence.power import smallest_effect
from interplay.study.evidence.stats import LEVEL, Difference, RankAgreement, bootstrap_interval, rank_agreement
from interplay.tracking.store import FINISHED, CellResult

WAITING, NOT_MEASURED, NOT_RUN = "waiting", "not measured", "not run"
FAILED, FAILED_AS_PUBLISHED, SAME_CELLS = "failed", "failed, as published", "same as baseline"

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
        bootstrap: the difference's 95 % bootstrap interval, from five pairs on; for one look.
        p: of "no difference", corrected for the rows by Holm's method and for the looks.
        same_p: of "a difference of the margin or more", likewise.
        smallest_effect: the smallest true difference that this row's seeds and spread find in 80 % of tables.
        verdict: `baseline`, `better`, `worse`, `same within MARGIN`, `inside noise`, `same as baseline`, `one seed`,
            `no spread`, `failed`, `failed, as published`, `not measured`, `waiting`, `not run`.
        decided: more seeds would tell nothing that is not known.
        published: numbers printed for this row.
        published_differences: those minus the baseline's.
        published_std: their printed spreads.
        expects_failure: how its training failed where it was published.
        not_run: why it has no cells.
        missing: seeds without a number, and why (`waiting`, `diverged`; `not measured` without a test split).
        cells: seed -> fingerprint.
        looks: numbers of seeds at which the row was looked at, if looks are planned.
    """

    label: str
    test: Measured
    difference: Difference | None
    bootstrap: tuple[float, float] | None
    p: float | None
    same_p: float | None
    smallest_effect: float | None
    verdict: str
    decided: bool
    published: Mapping[str, float]
    published_differences: Mapping[str, float]
    published_std: Mapping[str, float]
    expects_failure: str
    not_run: str
    missing: Mapping[int, str]
    cells: Mapping[int, str] = field(default_factory=dict)
    looks: tuple[int, ...] = ()


def ablation_rows(definition: StudyDefinition, results: Results, metric: str = "test/top1") -> list[AblationRow]:
    """The table of an ablation, baseline first."""
    values = {row.label: _values(row.cells, results, metric) for row in definition.rows}
    baseline = next(row for row in definition.rows if row.label == BASELINE)
    compared = [row.label for row in definition.rows if row.cells and not row.cells.items() <= baseline.cells.items()]
    found = dict(
        zip(
            compared,
            compare(
                [values[label] for label in compared],
                values[BASELINE],
                looks=definition.looks,
                margin=definition.margin,
            ),
            strict=True,
        )
    )
    return [
        _ablation_row(row, values[row.label], values[BASELINE], found.get(row.label), baseline, results, definition)
        for row in definition.rows
    ]


def _ablation_row(
    row: StudyRow,
    values: Mapping[int, float],
    others: Mapping[int, float],
    found: Comparison | None,
    baseline: StudyRow,
    results: Results,
    definition: StudyDefinition,
) -> AblationRow:
    missing = {seed: _why_missing(results.get(cell)) for seed, cell in row.cells.items() if seed not in values}
    difference = None if found is None else found.difference
    verdict = _verdict(row, baseline, missing, found, definition.margin)
    pairs = {seed: values[seed] for seed in range(found.looks[-1])} if found is not None and found.looks else values
    level = LEVEL if found is None else found.level
    return AblationRow(
        label=row.label,
        test=_measured(values),
        difference=difference,
        bootstrap=None if difference is None else bootstrap_interval(pairs, others),
        p=None if found is None else found.p,
        same_p=None if found is None else found.same_p,
        smallest_effect=None if difference is None else smallest_effect(difference.pairs, difference.std, level),
        verdict=verdict,
        decided=verdict in (SAME_CELLS, FAILED, FAILED_AS_PUBLISHED) or (found is not None and found.decided),
        published=row.published,
        published_differences={
            name: value - baseline.published[name]
            for name, value in row.published.items()
            if row is not baseline and name in baseline.published
        },
        published_std=row.published_std,
        expects_failure=row.expects_failure,
        not_run=row.not_run,
        missing=missing,
        cells=row.cells,
        looks=() if found is None else found.looks,
    )


def published_agreement(rows: Sequence[AblationRow], metric: str = "test/top1") -> dict[str, RankAgreement]:
    """Published number -> whether our means put the rows, the baseline included, in the published order.

    Of top-1 all accuracies that are published so, on whatever test set; of another metric those of its name.
    """
    own = metric.rpartition("/")[2]
    names = sorted({n for row in rows for n in row.published if n == own or (own == "top1" and n.startswith(own))})
    found = {
        name: rank_agreement(
            [(r.test.mean, r.published[name]) for r in rows if r.test.mean is not None and name in r.published]
        )
        for name in names
    }
    return {name: agreement for name, agreement in found.items() if agreement is not None}


@dataclass(frozen=True)
class SearchRecord:
    """What the Optuna study holds of a cell of a search.

    Attributes:
        number: of its record.
        fingerprint: of the cell.
        changes: of the search's recipe.
        state: RUNNING, COMPLETE, PRUNED or FAIL.
        objectives: name -> value of what the search optimises.
        front: no other cell is at least as good in every objective and better in one.
        parent: number of the record whose weights it started from, in a later generation of a population.
    """

    number: int
    fingerprint: str
    changes: Mapping[str, object]
    state: str
    objectives: Mapping[str, float] = field(default_factory=dict)
    front: bool = False
    parent: int | None = None


@dataclass(frozen=True)
class SearchRow(SearchRecord):
    """One cell of a search, with its top-1 on the validation and on the test split; the latter selects nothing."""

    val: float | None = None
    test: float | None = None


def search_rows(
    records: Sequence[SearchRecord], results: Results, metric: str = "val/top1", *, maximise: bool = True
) -> list[SearchRow]:
    """Cells of a search, those on the front first, each part best first; those without a value last.

    Args:
        records: of the cells.
        results: of the cells.
        metric: the objective that orders.
        maximise: whether more of it is better.
    """
    rows = []
    for record in records:
        result = results.get(record.fingerprint)
        val, test = (result.metric(name) if result else None for name in ("val/top1", "test/top1"))
        rows.append(SearchRow(**vars(record), val=val, test=test))

    def order(row: SearchRow) -> tuple[bool, bool, float, int]:
        value = row.objectives.get(metric, row.val if metric == "val/top1" else None)
        return (value is None, not row.front, (-1.0 if maximise else 1.0) * (value or 0.0), row.number)

    return sorted(rows, key=order)


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


def _verdict(
    row: StudyRow, baseline: StudyRow, missing: Mapping[int, str], found: Comparison | None, margin: float
) -> str:
    if not row.cells:
        return NOT_RUN
    if row is not baseline and row.cells.items() <= baseline.cells.items():  # of which there may be more
        return SAME_CELLS
    if set(missing.values()) - {WAITING, NOT_MEASURED}:
        return FAILED_AS_PUBLISHED if row.expects_failure else FAILED
    if NOT_MEASURED in missing.values():
        return NOT_MEASURED
    if row is baseline:
        return BASELINE
    # without a verdict it waits for a seed of its own or of the baseline
    return (found.verdict(margin) if found is not None else None) or WAITING
