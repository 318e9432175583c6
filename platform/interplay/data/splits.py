"""Carving validation and test splits from training samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interplay.counter_rng import uniform
from interplay.data.manifest import SPLITS


def carve(
    labels: NDArray[np.int64], split: NDArray[np.int64], *, val: float, test: float, seed: int
) -> NDArray[np.int64]:
    """Moves a share of each class from train to test, then of what is left to val, where the source has none.

    Args:
        labels: [N] classes.
        split: [N] positions in `SPLITS`.
        val: share of each class's training samples, after test was carved off; rounded.
        test: share of each class's training samples; rounded. A class keeps at least one.
        seed: of the choice.

    Returns:
        [N], a new split.
    """
    split = split.copy()
    for name, share in (("test", test), ("val", val)):
        target = SPLITS.index(name)
        if not share or (split == target).any():
            continue
        order = uniform(f"carve.{name}", seed, 0, np.arange(len(labels)))[:, 0]
        for label in np.unique(labels):
            rows = np.flatnonzero((labels == label) & (split == 0))
            count = min(round(share * len(rows)), max(len(rows) - 1, 0))
            split[rows[np.argsort(order[rows], kind="stable")][:count]] = target
    return split


def carving_notes(
    labels: NDArray[np.int64],
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    classes: list[str],
    *,
    val: float,
    test: float,
) -> list[str]:
    """One sentence for each split that was carved and that some class is too small for."""
    notes = []
    for name, share in (("test", test), ("val", val)):
        target = SPLITS.index(name)
        if not share or (before == target).any():
            continue
        present = np.unique(labels[before == 0])
        without = [int(c) for c in present if not ((labels == c) & (after == target)).any()]
        if without:
            smallest = [f"{classes[c]} ({int((labels == c).sum())})" for c in without[:3]]
            more = " ..." if len(without) > 3 else ""
            notes.append(
                f"{len(without)} of {len(present)} classes are too small for a share of {share:g} in {name} and have "
                f"no sample there: {', '.join(smallest)}{more}"
            )
    return notes
