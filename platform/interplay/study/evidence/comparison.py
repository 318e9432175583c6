"""Which rows of a table differ from the baseline, which are the same for practice, and which are undecided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from interplay.study.evidence.looks import share
from interplay.study.evidence.stats import LEVEL, MARGIN, Difference, equivalence_p, holm, paired_difference

BETTER, WORSE, NOISE, NO_SPREAD, ONE_SEED = "better", "worse", "inside noise", "no spread", "one seed"

Values = Mapping[int, float]
"""Seed -> value."""


@dataclass(frozen=True)
class Comparison:
    """What the seeds say of one row. Its claims hold for the whole table: rows and looks are corrected for.

    Attributes:
        difference: to the baseline; over the seeds of the last look, if looks are planned. None if there is none yet.
        p: of "there is no difference".
        same_p: of "the difference is the margin or more".
        looks: numbers of seeds at which the row was looked at; empty if none are planned.
        level: at which the row is tested at least.
    """

    difference: Difference | None
    p: float | None
    same_p: float | None
    looks: tuple[int, ...]
    level: float

    def verdict(self, margin: float = MARGIN) -> str | None:
        """One word or two; None while there is nothing to compare."""
        if self.difference is None:
            return None
        if self.p is None:  # a single pair says nothing of the spread, nor do pairs that all differ by the same step
            return ONE_SEED if self.difference.pairs < 2 else NO_SPREAD
        if self.p < LEVEL:
            return BETTER if self.difference.mean > 0 else WORSE
        return same_within(margin) if self.same_p is not None and self.same_p < LEVEL else NOISE

    @property
    def decided(self) -> bool:
        """More seeds are not needed: the row differs, or it is the same within the margin."""
        return any(p is not None and p < LEVEL for p in (self.p, self.same_p))


def same_within(margin: float) -> str:
    return f"same within {margin:g}"


def compare(
    rows: Sequence[Values], baseline: Values, *, looks: Sequence[int] = (), margin: float = MARGIN
) -> list[Comparison]:
    """Each row against the baseline.

    The chance that any row without a difference is called better or worse is at most `LEVEL`, and so is the chance
    that any row that differs by `margin` or more is called the same: Holm's method over the rows, for each of the two
    claims. A row that cannot be tested (yet) counts with p = 1, so that no decision is taken back when it can be.

    Args:
        rows: seed -> value of each row.
        baseline: likewise.
        looks: the planned numbers of seeds, see `evidence.looks`; seed by seed from 0. Empty: one look at all.
        margin: in the values' unit.
    """
    found = [_looked_at(row, baseline, looks, margin) if looks else _at_once(row, baseline, margin) for row in rows]
    p_values = holm([p for _, p, _, _, _ in found], len(rows))
    same = holm([s for _, _, s, _, _ in found], len(rows))
    return [
        Comparison(difference, p, s, made, level / len(rows))
        for (difference, _, _, made, level), p, s in zip(found, p_values, same, strict=True)
    ]


_Found = tuple[Difference | None, float | None, float | None, tuple[int, ...], float]


def _at_once(row: Values, baseline: Values, margin: float) -> _Found:
    difference = paired_difference(row, baseline)
    p = None if difference is None else difference.p
    return difference, p, equivalence_p(difference, margin), (), LEVEL


def _looked_at(row: Values, baseline: Values, looks: Sequence[int], margin: float) -> _Found:
    made = [size for size in looks if all(seed in row and seed in baseline for seed in range(size))]
    difference: Difference | None = None
    p_values: list[float] = []
    same: list[float] = []
    level = LEVEL * share(looks, looks[0])
    for size in made:
        part = share(looks, size)
        level = LEVEL * part
        difference = paired_difference({seed: row[seed] for seed in range(size)}, baseline, level)
        if difference is not None and difference.p is not None:
            p_values.append(min(1.0, difference.p / part))
        if (equal := equivalence_p(difference, margin)) is not None:
            same.append(min(1.0, equal / part))
    return difference, min(p_values, default=None), min(same, default=None), tuple(made), level
