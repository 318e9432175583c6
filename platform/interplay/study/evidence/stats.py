"""What a difference between two rows is worth: pairs by seed, intervals, equivalence, correction for many rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

LEVEL = 0.05
"""Chance of calling a difference real when it is not, over all rows and all looks of a table."""

MARGIN = 0.2
"""Points of top-1 below which a difference does not matter: the published spread of seeds on ImageNet V2 (S5.3.4)."""

BOOTSTRAP_PAIRS, RESAMPLES = 5, 9999


@dataclass(frozen=True)
class Difference:
    """Row minus baseline over the seeds both have.

    Attributes:
        mean: of the differences.
        std: their sample standard deviation; None for one pair.
        low: lower end of the t interval; None for one pair, or pairs without spread.
        high: its upper end.
        p: of the paired t test, two-sided; None for one pair, or pairs without spread.
        pairs: number of seeds both rows have.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    p: float | None
    pairs: int


def paired_difference(
    row: Mapping[int, float], baseline: Mapping[int, float], level: float = LEVEL
) -> Difference | None:
    """`row` minus `baseline`, seed by seed (seed -> value); None if they share no seed.

    The interval holds the true difference with a chance of 1 - `level`.
    """
    differences = _differences(row, baseline)
    n = len(differences)
    if not n:
        return None
    mean = float(differences.mean())
    if n < 2:
        return Difference(mean, None, None, None, None, n)
    if not differences.any():
        return Difference(0.0, 0.0, 0.0, 0.0, 1.0, n)
    std = float(differences.std(ddof=1))
    error = std / math.sqrt(n)
    if error <= 1e-9 * abs(mean):
        # Accuracies are multiples of 1 / samples, so two seeds often differ by the very same step: a t test
        # would take this for no noise at all and call the step real.
        return Difference(mean, 0.0, None, None, None, n)
    reach = float(scipy.special.stdtrit(n - 1, 1.0 - level / 2.0)) * error
    p = float(2.0 * scipy.special.stdtr(n - 1, -abs(mean) / error))
    return Difference(mean, std, mean - reach, mean + reach, p, n)


def equivalence_p(difference: Difference | None, margin: float = MARGIN) -> float | None:
    """p of "the true difference is `margin` or more, up or down": the larger of two one-sided t tests (TOST).

    None where the pairs show no spread to measure by: equal accuracies on a small test split are a coarse grid, not
    an exact result.

    Source: Schuirmann 1987, A comparison of the two one-sided tests procedure
    """
    if difference is None or not difference.std:
        return None
    error = difference.std / math.sqrt(difference.pairs)
    tests = (-(difference.mean + margin) / error, (difference.mean - margin) / error)
    return max(float(scipy.special.stdtr(difference.pairs - 1, t)) for t in tests)


def bootstrap_interval(
    row: Mapping[int, float], baseline: Mapping[int, float], level: float = LEVEL
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean paired difference, for comparison with the t interval.

    It needs no normal differences, but knows no value outside of those seen: on normal differences it holds the true
    mean 84 % of the time with 5 pairs and 90 % with 10 instead of 95 %. BCa is no better there (83 % and 90 %), and
    both are worse with 3 pairs (76 % and 72 %). So there is none below 5 pairs, and no verdict rests on it. The same
    differences always give the same interval.
    """
    differences = _differences(row, baseline)
    if len(differences) < BOOTSTRAP_PAIRS or np.ptp(differences) <= 1e-9 * np.abs(differences).max():
        return None
    found = scipy.stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=1.0 - level,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def holm(p_values: Sequence[float | None], family: int | None = None) -> list[float | None]:
    """Holm's correction over the values that exist; the others stay None.

    Args:
        p_values: of the hypotheses.
        family: how many hypotheses there are; those without a value count as p = 1. Default: those with a value.
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    count = len(known) if family is None else family
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (count - rank) * p))
        corrected[i] = largest
    return corrected


@dataclass(frozen=True)
class RankAgreement:
    """Whether two columns put rows in the same order.

    Attributes:
        tau: Kendall's tau-b: 1 the same order, 0 none in common, -1 the reverse.
        p: of "no order in common", two-sided; exact without ties.
        rows: how many have both numbers.
    """

    tau: float
    p: float
    rows: int


def rank_agreement(pairs: Sequence[tuple[float, float]]) -> RankAgreement | None:
    """Kendall's tau-b over pairs of numbers; None for fewer than three pairs, or a column of one value."""
    if len(pairs) < 3 or any(len({pair[side] for pair in pairs}) < 2 for side in (0, 1)):
        return None
    found = scipy.stats.kendalltau([a for a, _ in pairs], [b for _, b in pairs], variant="b")
    return RankAgreement(float(found.statistic), float(found.pvalue), len(pairs))


def _differences(row: Mapping[int, float], baseline: Mapping[int, float]) -> np.ndarray:
    return np.array([row[s] - baseline[s] for s in sorted(row.keys() & baseline.keys())])
