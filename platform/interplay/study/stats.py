"""What a difference between two rows is worth: pairs by seed, intervals, and a correction for many rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

LEVEL = 0.05
"""Chance of calling a difference real when it is not, over all rows of a table."""


@dataclass(frozen=True)
class Difference:
    """Row minus baseline over the seeds both have.

    Attributes:
        mean: of the differences.
        low: lower end of the 95 % interval; None for fewer than two pairs.
        high: its upper end.
        p: of the paired t test, two-sided; None for fewer than two pairs.
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
    if error == 0.0:  # the same difference for every seed
        return Difference(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, n)
    reach = float(stats.t.ppf(1.0 - LEVEL / 2.0, n - 1)) * error
    p = float(2.0 * stats.t.sf(abs(mean) / error, n - 1))
    return Difference(mean, mean - reach, mean + reach, p, n)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's correction over the values that exist, in place."""
    known = [p for p in p_values if p is not None]
    if not known:
        return list(p_values)
    corrected = iter(multipletests(known, alpha=LEVEL, method="holm")[1].tolist())
    return [None if p is None else float(next(corrected)) for p in p_values]
