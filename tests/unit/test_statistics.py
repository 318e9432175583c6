"""Differences between rows: as SciPy computes them, corrected as Holm did it, and right as often as they claim."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from interplay.study.evidence.comparison import BETTER, WORSE, compare, same_within
from interplay.study.evidence.power import pair_std, power, smallest_effect
from interplay.study.evidence.stats import (
    LEVEL,
    MARGIN,
    Difference,
    bootstrap_interval,
    equivalence_p,
    holm,
    paired_difference,
    rank_agreement,
)

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
        ([97.0], [96.0], Difference(1.0, None, None, None, None, 1)),
        ([97.0, 96.5], [97.0, 96.5], Difference(0.0, 0.0, 0.0, 0.0, 1.0, 2)),
        ([97.5, 98.5, 90.5], [97.0, 98.0, 90.0], Difference(0.5, 0.0, None, None, None, 3)),
    ],
    ids=["one pair", "equal", "the same step for every seed"],
)
def test_without_spread(row: list[float], baseline: list[float], expected: Difference) -> None:
    found = paired_difference(dict(enumerate(row)), dict(enumerate(baseline)))
    assert found == expected
    assert equivalence_p(found, margin=100.0) is None
    assert smallest_effect(found.pairs, found.std) is None


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


def test_a_hypothesis_without_a_value_counts() -> None:
    assert holm([0.01, None, 0.02], 4) == [pytest.approx(0.04), None, pytest.approx(0.06)]


def test_holm_as_statsmodels() -> None:
    raw = np.random.default_rng(0).uniform(0, 0.2, 12)
    assert holm(raw.tolist()) == pytest.approx(multipletests(raw, method="holm")[1].tolist())


@pytest.mark.parametrize("margin", [0.2, 0.6])
def test_equivalence_as_scipy(margin: float) -> None:
    """The larger p of two t tests against the margins; below 5 % the 90 % interval lies inside of them."""
    rng = np.random.default_rng(3)
    row, baseline = rng.normal(97.1, 0.2, 6), rng.normal(97.0, 0.2, 6)
    differences = row - baseline
    above = stats.ttest_1samp(differences, -margin, alternative="greater")
    below = stats.ttest_1samp(differences, margin, alternative="less")
    ours = equivalence_p(paired_difference(by_seed(row), by_seed(baseline)), margin)
    assert ours == pytest.approx(max(above.pvalue, below.pvalue))
    interval = stats.ttest_1samp(differences, 0.0).confidence_interval(0.9)
    assert (ours < 0.05) == (-margin < interval.low and interval.high < margin)


def test_bootstrap() -> None:
    """Percentiles of means of pairs drawn again: never beyond the pairs, narrower than the t interval, repeatable."""
    rng = np.random.default_rng(5)
    row, baseline = by_seed(rng.normal(97.5, 1.0, 10)), by_seed(rng.normal(97.0, 1.0, 10))
    found, t = bootstrap_interval(row, baseline), paired_difference(row, baseline)
    assert found is not None
    assert t is not None
    assert t.low is not None
    assert t.high is not None
    assert found == bootstrap_interval(row, baseline)
    assert t.low < found[0] < t.mean < found[1] < t.high
    means = rng.choice([row[s] - baseline[s] for s in row], (20_000, 10)).mean(axis=1)
    assert found == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.03)
    assert bootstrap_interval(dict.fromkeys(range(9), 1.0), dict.fromkeys(range(9), 0.0)) is None
    assert bootstrap_interval({s: row[s] for s in range(4)}, baseline) is None


@pytest.mark.parametrize(
    ("pairs", "tau", "p"),
    [
        ([(1.0, 10.0), (2.0, 20.0), (3.0, 30.0), (4.0, 40.0)], 1.0, 2 / 24),  # 2 of 24 orders are this or its reverse
        ([(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)], -1.0, 2 / 6),
        # 5 pairs agree, none disagrees, 1 is tied on one side: 5 / sqrt(6 x 5)
        ([(1.0, 1.0), (2.0, 1.0), (3.0, 2.0), (4.0, 3.0)], 5 / 30**0.5, None),
    ],
    ids=["same order", "reverse", "a tie"],
)
def test_rank_agreement(pairs: list[tuple[float, float]], tau: float, p: float | None) -> None:
    found = rank_agreement(pairs)
    assert found is not None
    assert (found.tau, found.rows) == (pytest.approx(tau), len(pairs))
    if p is not None:
        assert found.p == pytest.approx(p)


@pytest.mark.parametrize("pairs", [[(1.0, 2.0), (2.0, 3.0)], [(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)], []])
def test_no_order_without_three_different_rows(pairs: list[tuple[float, float]]) -> None:
    assert rank_agreement(pairs) is None


def share_of_tables(tables: np.ndarray, margin: float, *verdicts: str) -> float:
    """Share of tables [T, 1 + rows, seeds] in which at least one row has one of the verdicts."""
    hits = 0
    for baseline, *rows in tables:
        compared = compare([by_seed(row) for row in rows], by_seed(baseline), margin=margin)
        hits += any(c.verdict(margin) in verdicts for c in compared)
    return hits / len(tables)


MOST = stats.binom.ppf(0.999, TABLES, LEVEL) / TABLES
"""7.2 %: a rate of 5 % is seen above this in one simulation of a thousand."""


@pytest.mark.parametrize(("seeds", "grid"), [(SEEDS, 0.0), (SEEDS, 100 / 360), (2, 100 / 360)])
def test_false_differences(seeds: int, grid: float) -> None:
    """Rows that differ by nothing but noise, also as accuracies on 360 test images, which are rounded."""
    tables = np.random.default_rng(seeds).normal(97.0, 0.5, (TABLES, 1 + ROWS, seeds))
    tables = np.round(tables / grid) * grid if grid else tables
    assert share_of_tables(tables, MARGIN, BETTER, WORSE) <= MOST


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_false_equivalences(spread: float) -> None:
    """Rows that differ by the margin itself are called the same in at most 5 % of the tables."""
    tables = np.random.default_rng(8).normal(97.0, spread, (TABLES, 1 + ROWS, SEEDS))
    tables[:, 1:] += MARGIN
    assert share_of_tables(tables, MARGIN, same_within(MARGIN)) <= MOST


def test_equal_rows_are_found_equal() -> None:
    """Rows without a difference, a spread of a quarter of the margin: then 'same' is the usual verdict."""
    tables = np.random.default_rng(9).normal(97.0, MARGIN / 4, (200, 2, SEEDS))
    assert share_of_tables(tables, MARGIN, same_within(MARGIN)) > 0.9


@pytest.mark.parametrize(("seeds", "rows"), [(3, 1), (5, 1), (10, 1), (5, ROWS)])
def test_power(seeds: int, rows: int) -> None:
    """One row differs by the smallest effect, those beside it by nothing: it is found in 80 % of the tables."""
    std = 0.5
    effect = smallest_effect(seeds, pair_std(std), LEVEL / rows)
    assert effect is not None
    assert power(effect, seeds, pair_std(std), LEVEL / rows) == pytest.approx(0.8)
    tables = np.random.default_rng(seeds).normal(97.0, std, (TABLES, 1 + rows, seeds))
    tables[:, 1] += effect
    found = [
        compare([by_seed(row) for row in rest], by_seed(baseline))[0].verdict() == BETTER
        for baseline, *rest in tables
    ]
    # four standard errors of a share of 1,000; Holm's later steps find a little more among several rows
    assert np.mean(found) == pytest.approx(0.8, abs=0.05)


def test_smallest_effect_as_statsmodels() -> None:
    theirs = TTestPower().solve_power(nobs=8, alpha=0.05, power=0.8)
    assert smallest_effect(8, 0.7) == pytest.approx(0.7 * theirs, rel=1e-6)


def test_smallest_effect_shrinks() -> None:
    effects = [smallest_effect(n, 1.0) for n in (2, 3, 5, 10, 100)]
    assert effects == sorted(effects, reverse=True)  # type: ignore[type-var]
    assert effects[-1] == pytest.approx((1.96 + 0.84) / 10, rel=0.02)  # as normal theory has it
    assert smallest_effect(5, 1.0, LEVEL / 20) > smallest_effect(5, 1.0)  # type: ignore[operator]
    assert smallest_effect(1, 1.0) is None
    assert smallest_effect(5, None) is None
