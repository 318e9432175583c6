"""What a number of seeds can show: known before anything is trained."""

from __future__ import annotations

import math
from functools import lru_cache

import scipy

from interplay.study.evidence.stats import LEVEL

POWER = 0.8
"""How often a difference of the smallest effect is found."""


def power(effect: float, n: int, std: float, level: float = LEVEL) -> float:
    """How often a paired t test of `n` seeds calls a true difference of `effect` real.

    Args:
        effect: the true difference.
        n: paired seeds, at least 2.
        std: of the paired differences, over 0.
        level: of the test, two-sided.
    """
    return _power(abs(effect) * math.sqrt(n) / std, n, level)


def smallest_effect(n: int, std: float | None, level: float = LEVEL, wanted: float = POWER) -> float | None:
    """The smallest true difference that `n` paired seeds find `wanted` of the time.

    Args:
        n: paired seeds.
        std: of the paired differences; of two rows whose seeds vary by s independently it is `pair_std(s)`.
        level: of the test; of one among m rows, LEVEL / m is what Holm's method grants at least.
        wanted: share of tables in which the difference is to be found.

    Returns:
        None for fewer than two seeds, or without a spread to measure by.
    """
    if n < 2 or not std:
        return None
    return _noncentrality(n, level, wanted) * std / math.sqrt(n)


def pair_std(std: float) -> float:
    """Standard deviation of the difference of two rows that each vary by `std` over seeds.

    This takes their values at one seed as independent; what they share (batches, initial weights) can make it less.
    """
    return math.sqrt(2.0) * std


def _power(noncentrality: float, n: int, level: float) -> float:
    critical = scipy.stats.t.isf(level / 2.0, n - 1)
    # the lower tail by reflection: SciPy's nct.cdf is nan in parts of it
    return float(
        scipy.stats.nct.sf(critical, n - 1, noncentrality) + scipy.stats.nct.sf(critical, n - 1, -noncentrality)
    )


@lru_cache(maxsize=4096)
def _noncentrality(n: int, level: float, wanted: float) -> float:
    high = 4.0
    while _power(high, n, level) < wanted:
        high *= 2.0
    return float(scipy.optimize.brentq(lambda ncp: _power(ncp, n, level) - wanted, 0.0, high))
