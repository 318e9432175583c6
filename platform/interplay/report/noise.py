"""The noise of seeds, known from a study that is there, and what so many seeds can show against it."""

from __future__ import annotations

import statistics
from pathlib import Path

from interplay.errors import InterplayError
from interplay.study.ablation import BASELINE
from interplay.study.definition import read_definition
from interplay.study.evidence.looks import planned_looks, share
from interplay.study.evidence.power import POWER, pair_std, smallest_effect
from interplay.study.evidence.stats import LEVEL
from interplay.tracking.store import CellStore


def seed_noise(root: Path, study: str, metric: str = "test/top1") -> float:
    """Sample standard deviation of `metric` over the finished seeds of the study's baseline.

    Raises:
        InterplayError: if there is no such ablation, or its baseline has fewer than two seeds or no spread.
    """
    rows = {row.label: row for row in read_definition(root, study).rows}
    store = CellStore(root)
    cells = rows[BASELINE].cells.values() if BASELINE in rows else []
    values = [v for cell in cells if (result := store.result(cell)) and (v := result.metric(metric)) is not None]
    if len(values) < 2 or not (std := statistics.stdev(values)):
        raise InterplayError(
            f"study {study!r} has {len(values)} finished seeds of a baseline with {metric}, too few for a spread; "
            "give --noise a number"
        )
    return std


def effect_text(rows: int, seeds: int | None, noise: float, max_seeds: int | None = None) -> str:
    """The smallest effect that an ablation can be relied on to find, before it is trained.

    Args:
        rows: that are compared with the baseline.
        seeds: of each; None if they are added where needed.
        noise: standard deviation of a row over seeds, in points.
        max_seeds: of a row if seeds are added.

    Raises:
        InterplayError: if no difference can be found with so few seeds, or there is no noise.
    """
    if not 0 < noise < float("inf"):
        raise InterplayError(f"--noise {noise:g} must be a number over 0: the standard deviation over seeds")
    level = LEVEL / max(1, rows)
    if seeds is None:
        looks = planned_looks() if max_seeds is None else planned_looks(max_seeds)
        seeds, level = looks[-1], level * share(looks, looks[-1])
    effect = smallest_effect(seeds, pair_std(noise), level)
    if effect is None:
        raise InterplayError(f"--seeds {seeds} can show no difference at all; use at least 2")
    return (
        f"a row that differs by {effect:.2f} points is found {100 * POWER:.0f} % of the time with {seeds} seeds "
        f"(spread of a row over seeds {noise:.2f}, {rows} rows)"
    )
