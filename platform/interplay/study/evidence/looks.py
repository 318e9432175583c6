"""Looking at a table more than once: fixed numbers of seeds, and a level that all looks share.

A table that is looked at after 3, 5, 8 and 10 seeds, and stops where it likes, finds a difference that is not there
far more often than in 5 % of the cases. So the looks are fixed before the first one, and each has a share of the
level: a p value at a look is divided by the look's share, and a row keeps the smallest it has had. That number is a
valid p value of the row whenever and for whatever reason one stops: it is never below the one that all looks would
have given, and by Bonferroni's inequality that one is at most x with a chance of at most x. Holm's method over the
rows then holds for the whole procedure, also where seeds go only to the rows that need them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from interplay.errors import InterplayError
from interplay.study.ablation import BASELINE

FIRST_LOOK, MAX_SEEDS = 3, 10

Counts = Mapping[str, int]
"""Row -> its number of seeds; they are 0, 1, 2 ..."""


def planned_looks(max_seeds: int = MAX_SEEDS) -> list[int]:
    """Numbers of seeds at which a table is looked at: 3, 5, 8, 13, 21 ... below `max_seeds`, and that.

    Raises:
        InterplayError: if that leaves no room for a first look.
    """
    if max_seeds < FIRST_LOOK:
        raise InterplayError(
            f"seeds auto begins with {FIRST_LOOK} seeds; raise --max-seeds {max_seeds} to that at least"
        )
    looks, following = [], FIRST_LOOK
    before = 2
    while following < max_seeds:
        looks.append(following)
        before, following = following, before + following
    return [*looks, max_seeds]


def share(looks: Sequence[int], size: int) -> float:
    """The part of the level that the look at `size` seeds has: as much as it has of all looks' seeds.

    Late looks have more, for that is where small differences can be found at all.
    """
    return size / sum(looks)


def more_seeds(
    undecided: Sequence[str], counts: Counts, looks: Sequence[int], affordable: Callable[[Counts], bool]
) -> Counts:
    """The undecided rows go on to their next look, and the baseline with them, as far as that is affordable.

    Args:
        undecided: rows, in the order in which they may have seeds.
        counts: seeds of each row now.
        looks: planned numbers of seeds.
        affordable: whether the study may have that many seeds.
    """
    for label in undecided:
        following = next((size for size in looks if size > counts[label]), None)
        if following is None:
            continue
        grown = {**counts, label: following, BASELINE: max(counts[BASELINE], following)}
        if affordable(grown):
            counts = grown
    return counts
