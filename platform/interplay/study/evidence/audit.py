"""Audits of a study's choices: what stopping early would have lost, and what selecting on one split has gained.

Pure functions of journals and numbers. The thesis warns of both: early accuracy does not tell the final rank, and
models that are selected on one test set do less well on another (S6.3.4).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import scipy

from interplay.study.evidence.stats import rank_agreement
from interplay.tracking.journal import Record, epochs
from interplay.tracking.store import FINISHED

Curves = Mapping[str, Mapping[int, float]]
"""Cell -> epoch -> metric."""

ETA = 3.0
"""Of what ASHA compares at a rung it keeps one in three unless told otherwise."""

FEWEST = 3
"""Cells below which an order says nothing."""


@dataclass(frozen=True)
class Cut:
    """What a cut after one epoch would have done to the cells that were trained to the end.

    Attributes:
        epoch: after which it cuts.
        cells: that were measured then and trained on.
        tau: Kendall's tau-b of the metric then and at the end; None if all are equal.
        p: of "no order in common".
        kept: cells it would have kept: the best 1 / eta, and those equal to the last of them.
        top: cells in the final top quarter, likewise.
        lost: how many of those it would have stopped.
    """

    epoch: int
    cells: int
    tau: float | None
    p: float | None
    kept: int
    top: int
    lost: int


def finished_curves(
    journals: Mapping[str, Sequence[Record]], metric: str = "val/top1"
) -> dict[str, dict[int, float]]:
    """The metric after each epoch at which it was measured, of every cell whose journal says that it finished."""
    found = {}
    for cell, records in journals.items():
        if any(r["event"] == "end" and r.get("status") == FINISHED for r in records):
            values = {epoch: r["metrics"].get(metric) for epoch, r in sorted(epochs(list(records)).items())}
            curve = {epoch: float(v) for epoch, v in values.items() if v is not None and math.isfinite(v)}
            if curve:
                found[cell] = curve
    return found


def audit_cuts(curves: Curves, eta: float = ETA) -> list[Cut]:
    """For each epoch before the last: would a cut that keeps the best 1 / `eta` have kept the right cells?

    A cell's final value is its last one. Cells that end at different epochs are compared as they are, those that had
    ended (or were not measured) by then are left out; fewer than three are not compared.
    """
    final = {cell: curve[max(curve)] for cell, curve in curves.items()}
    cuts = []
    for epoch in sorted({epoch for curve in curves.values() for epoch in curve}):
        then = {cell: curve[epoch] for cell, curve in curves.items() if epoch in curve and epoch < max(curve)}
        if len(then) < FEWEST:
            continue
        kept, top = _best(then, 1.0 / eta), _best({cell: final[cell] for cell in then}, 0.25)
        order = rank_agreement([(value, final[cell]) for cell, value in then.items()])
        tau, p = (None, None) if order is None else (order.tau, order.p)
        cuts.append(Cut(epoch, len(then), tau, p, len(kept), len(top), len(top - kept)))
    return cuts


@dataclass(frozen=True)
class Line:
    """The least-squares line of one metric against another over the cells of a study.

    Attributes:
        slope: points of the one for a point of the other.
        slope_error: its standard error.
        intercept: of the line.
        correlation: Pearson's r.
        residual_std: how far cells lie off the line, in points.
        cells: how many.
    """

    slope: float
    slope_error: float
    intercept: float
    correlation: float
    residual_std: float
    cells: int


def fit_line(pairs: Sequence[tuple[float, float]]) -> Line | None:
    """The second number of each pair over the first; None below three pairs, or if the first is always the same."""
    if len(pairs) < FEWEST or len({x for x, _ in pairs}) < 2:
        return None
    found = scipy.stats.linregress([x for x, _ in pairs], [y for _, y in pairs])
    residuals = [y - (found.intercept + found.slope * x) for x, y in pairs]
    return Line(
        slope=float(found.slope),
        slope_error=float(found.stderr),
        intercept=float(found.intercept),
        correlation=float(found.rvalue),
        residual_std=math.sqrt(sum(r * r for r in residuals) / (len(pairs) - 2)),
        cells=len(pairs),
    )


@dataclass(frozen=True)
class Selection:
    """What the selected cell's number owes to having been selected.

    Attributes:
        cell: the best by the first metric.
        gap: its first metric minus its second.
        mean_gap: of all cells.
        gap_std: sample standard deviation of the gaps of all cells.
        overfit: `gap` - `mean_gap`: the part of the gap that selecting made, with the noise of one cell in it.
        cells: how many there were to select from.
    """

    cell: str
    gap: float
    mean_gap: float
    gap_std: float
    overfit: float
    cells: int


def audit_selection(pairs: Mapping[str, tuple[float, float]]) -> Selection | None:
    """How much the best cell by the first metric (val) loses on the second (test), against all; None below two cells.

    Of equal cells the first counts as selected.
    """
    if len(pairs) < 2:
        return None
    gaps = {cell: a - b for cell, (a, b) in pairs.items()}
    selected = max(pairs, key=lambda cell: pairs[cell][0])
    mean = statistics.fmean(gaps.values())
    spread = statistics.stdev(gaps.values())
    return Selection(selected, gaps[selected], mean, spread, gaps[selected] - mean, len(pairs))


def _best(values: Mapping[str, float], part: float) -> set[str]:
    """The best cells: this part of them, rounded up, and those equal to the last one of them."""
    count = math.ceil(len(values) * part - 1e-9)
    least = sorted(values.values(), reverse=True)[count - 1]
    return {cell for cell, value in values.items() if value >= least}
