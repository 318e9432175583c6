"""What a difference between two rows is worth: pairs by seed, intervals, and a correction for many rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.05
"""Chance of calling a difference real when it is not, over all rows of a table."""


@dataclass(frozen=True)
class Difference:
    """Row minus baseline over the seeds both have.

    Attributes:
        mean: of the differences.
        low: lower end of the 95 % interval; None for fewer than two pairs, or pairs without spread.
        high: its upper end.
        p: of the paired t test, two-sided; None for fewer than two pairs, or pairs without spread.
        pairs: number of seeds both rows have.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None
    pairs: int


def paired_difference(row: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """`row` minus `baseline`, seed by seed (seed -> value); None if they share no seed."""
    seeds = sorted(set(row) & set(baseline))
    if not seeds:
        return None
    differences = np.array([row[s] - baseline[s] for s in seeds])
    mean, n = float(differences.mean()), len(differences)
    if n < 2:
        return Difference(mean, None, None, None, n)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    if not differences.any():
        return Difference(0.0, 0.0, 0.0, 1.0, n)
    if error <= 1e-9 * abs(mean):
        # Accuracies are multiples of 1 / samples, so two seeds often differ by the very same step: a t test
        # would take this for no noise at all and call the step real.
        return Difference(mean, None, None, None, n)
    reach = float(stats.t.ppf(1.0 - LEVEL / 2.0, n - 1)) * error
    p = float(2.0 * stats.t.sf(abs(mean) / error, n - 1))
    return Difference(mean, mean - reach, mean + reach, p, n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over the values that exist; the others stay None."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[i] = largest
    return corrected
