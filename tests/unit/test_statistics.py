"""Differences between rows: as SciPy computes them, corrected as Holm did it, and right as often as they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from interplay.study.stats import LEVEL, Difference, holm, paired_difference

TABLES, ROWS, SEEDS = 1000, 5, 5


def by_seed(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_as_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    row, baseline = rng.normal(97, 1, n), rng.normal(96, 1, n)
    ours = paired_difference(by_seed(row), by_seed(baseline))
    theirs = stats.ttest_rel(row, baseline)
    interval = theirs.confidence_interval(0.95)
    assert ours is not None
    assert ours.pairs == n
    assert (ours.mean, ours.p, ours.low, ours.high) == pytest.approx(
        ((row - baseline).mean(), theirs.pvalue, interval.low, interval.high)
    )


def test_only_common_seeds_are_paired() -> None:
    found = paired_difference({0: 1.0, 2: 5.0, 7: 9.0}, {7: 8.0, 1: 100.0, 2: 2.0})
    assert found is not None
    assert (found.mean, found.pairs) == (2.0, 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
    assert paired_difference({}, {}) is None


@pytest.mark.parametrize(
    ("row", "baseline", "expected"),
    [
        ([97.0], [96.0], Difference(1.0, None, None, None, 1)),
        ([97.0, 96.5], [97.0, 96.5], Difference(0.0, 0.0, 0.0, 1.0, 2)),
        ([97.5, 98.5, 90.5], [97.0, 98.0, 90.0], Difference(0.5, None, None, None, 3)),
    ],
    ids=["one pair", "equal", "the same step for every seed"],
)
def test_without_spread(row: list[float], baseline: list[float], expected: Difference) -> None:
    assert paired_difference(dict(enumerate(row)), dict(enumerate(baseline))) == expected


def test_a_constant_step_of_rounded_accuracies_is_no_evidence() -> None:
    """93.3333... - 93.0555... and its like differ in the last bit only: still no spread."""
    step = 100 / 360
    found = paired_difference({0: 336 * step, 1: 347 * step}, {0: 335 * step, 1: 346 * step})
    assert found is not None
    assert found.mean == pytest.approx(step)
    assert (found.low, found.high, found.p) == (None, None, None)


@pytest.mark.parametrize(
    ("raw", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x .005, 3 x .01, 2 x .03, at least the last
        ([0.02, None, 0.03], [0.04, None, 0.04]),
        ([None, 0.01], [None, 0.01]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.0, 0.5], [0.0, 0.5]),
        ([None], [None]),
        ([], []),
    ],
)
def test_holm(raw: list[float | None], corrected: list[float | None]) -> None:
    assert holm(raw) == [None if p is None else pytest.approx(p) for p in corrected]


def found_real(tables: np.ndarray) -> float:
    """Share of tables [T, 1 + rows, seeds] in which at least one row is called different from the first."""
    hits = 0
    for baseline, *rows in tables:
        differences = [paired_difference(by_seed(row), by_seed(baseline)) for row in rows]
        corrected = holm([None if d is None else d.p for d in differences])
        hits += any(p is not None and p < LEVEL for p in corrected)
    return hits / len(tables)


@pytest.mark.parametrize(("seeds", "grid"), [(SEEDS, 0.0), (SEEDS, 100 / 360), (2, 100 / 360)])
def test_false_positives(seeds: int, grid: float) -> None:
    """Rows that differ by nothing but noise, also as accuracies on 360 test images, which are rounded."""
    tables = np.random.default_rng(seeds).normal(97.0, 0.5, (TABLES, 1 + ROWS, seeds))
    tables = np.round(tables / grid) * grid if grid else tables
    most = stats.binom.ppf(0.999, TABLES, LEVEL) / TABLES  # 7.2 %
    assert found_real(tables) <= most


def test_power() -> None:
    """One row, five seeds, an effect of two standard deviations of a difference: a t test finds 90 % of them."""
    effect = 2.0
    rng = np.random.default_rng(1)
    baseline = rng.normal(97.0, 1.0, (TABLES, SEEDS))
    row = baseline + rng.normal(effect, 1.0, (TABLES, SEEDS))
    critical = stats.t.ppf(1 - LEVEL / 2, SEEDS - 1)
    predicted = stats.nct.sf(critical, SEEDS - 1, effect * SEEDS**0.5)
    assert found_real(np.stack([baseline, row], axis=1)) == pytest.approx(predicted, abs=0.04)
