"""Figures along epochs: learning curves with seed bands, the spread of seeds, early against final numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from interplay.report.figures.chart import (
    Axis,
    Band,
    Chart,
    Line,
    Mark,
    Point,
    Points,
    evenly,
    thinned,
)
from interplay.report.story import TRAIN_LOSS, Story
from interplay.study.ablation import BASELINE
from interplay.study.evidence.audit import Cut
from interplay.tracking.store import FINISHED, PRUNED

MOST_EPOCHS, MOST_LINES, MOST_ROWS, FEWEST = 100, 150, 24, 3
PARTS = (1 / 2, 5 / 6, 29 / 30)
"""Where early numbers are set against final ones: epochs 150, 250 and 290 of 300 in the thesis (F6.10)."""

_LATER = "The figure begins after a third of the epochs: before it all rise steeply."

Curve = Mapping[int, float]


def row_curves(story: Story) -> list[Chart]:
    """One figure for each row of an ablation: its mean over seeds with the band of one standard deviation.

    The baseline is behind every row. Epochs that only some seeds have reached are not averaged.
    """
    metric = story.definition.metric
    curves = {row.label: _curves(story, row.cells.values(), metric) for row in story.rows}
    drawn = [row.label for row in story.rows if any(len(curve) > 1 for curve in curves[row.label])]
    shown = [label for label in drawn if label != BASELINE or len(drawn) == 1]
    charts = []
    for i, label in enumerate(shown[:MOST_ROWS]):
        marks = _mean_and_band(curves[BASELINE], 0, BASELINE) if label != BASELINE else ()
        marks += _mean_and_band(curves[label], 1 if label != BASELINE else 0, label)
        left = f" Drawn are the first {MOST_ROWS} of {len(shown)} rows." if len(shown) > MOST_ROWS and not i else ""
        about = f"Mean over seeds of {metric}; the band is one standard deviation. {_LATER}{left}"
        both = [*curves[BASELINE], *curves[label]]
        first = max(max(curve) for curve in both) // 3
        height = Axis(metric, start=min(v for curve in both for epoch, v in curve.items() if epoch >= first))
        charts.append(Chart(f"curves-{i}", label, about, Axis("epoch", start=first), height, marks))
    return charts


def cell_curves(story: Story) -> list[Chart]:
    """All cells of a search, the best one marked; a cut cell's line ends where it was cut."""
    charts = []
    for metric in dict.fromkeys((story.definition.metric, TRAIN_LOSS)):
        cells = [cell for cell in story.cells.values() if len(cell.curves.get(metric, {})) > 1]
        if not cells:
            continue
        lines = evenly(cells, MOST_LINES)
        best = next((cell for cell in cells if cell.status == FINISHED), None)
        marks: list[Mark] = [Line(_points(cell.curves[metric]), style=-1) for cell in lines]
        ends = [
            Point(max(curve), curve[max(curve)], f"{cell.label} was cut after epoch {max(curve)}", cell.fingerprint)
            for cell in lines
            if cell.status == PRUNED and (curve := cell.curves[metric])
        ]
        if ends:
            marks.append(Points(tuple(ends), "cut", 4))
        if best is not None:
            marks.append(Line(_points(best.curves[metric]), f"best: {best.label}", 0))
        about = f"{metric} of every cell.{thinned(len(lines), len(cells), 'cells')}"
        charts.append(
            Chart(f"curves-{metric.replace('/', '-')}", metric, about, Axis("epoch"), Axis(metric), tuple(marks))
        )
    return charts


def spread_along_epochs(story: Story) -> list[Chart]:
    """Mean, standard deviation, minimum and maximum over the seeds of the row with most of them (F6.9)."""
    rows = [(row, _curves(story, row.cells.values(), story.definition.metric)) for row in story.rows]
    rows = [(row, curves) for row, curves in rows if len(curves) >= FEWEST and len(_common(curves)) > 1]
    if not rows:
        return []
    row, curves = max(rows, key=lambda pair: len(pair[1]))
    epochs = evenly(_common(curves), MOST_EPOCHS)
    values = {epoch: [curve[epoch] for curve in curves] for epoch in epochs}
    marks: tuple[Mark, ...] = (
        Band(tuple((e, min(values[e]), max(values[e])) for e in epochs), "from the worst to the best seed", 5),
        *_mean_and_band(curves, 0, f"{row.label}, {len(curves)} seeds"),
    )
    metric = story.definition.metric
    title = f"Spread of seeds along epochs: {row.label}"
    about = f"{metric} of {len(curves)} seeds (after F6.9): mean, one standard deviation, and the whole range."
    whole = Chart("seed-spread", title, about, Axis("epoch"), Axis(metric), marks)
    late = epochs[-1] * 2 // 3
    last = [curve[epoch] for curve in curves for epoch in epochs if epoch >= late]
    title, at = "The same, the last third of the epochs", Axis("epoch", start=late)
    return [whole, Chart("seed-spread-late", title, "", at, Axis(metric, start=min(last)), marks)]


def early_and_final(story: Story) -> list[Chart]:
    """What cells had reached early against what they reached at last (F6.10)."""
    metric = story.definition.metric
    cells = [c for c in story.cells.values() if c.status == FINISHED and len(c.curves.get(metric, {})) > 1]
    if len(cells) < FEWEST:
        return []
    shown = evenly(cells, 4 * MOST_LINES)
    marks: list[Mark] = []
    for style, part in enumerate(PARTS):
        found: dict[int, list[Point]] = {}
        for cell in shown:
            curve = cell.curves[metric]
            last = max(curve)
            early = max((epoch for epoch in curve if epoch <= part * last), default=0)
            if 0 < early < last:
                text = f"{cell.label}: {curve[early]:.2f} after epoch {early}, {curve[last]:.2f} at the end"
                found.setdefault(early, []).append(Point(curve[early], curve[last], text, cell.fingerprint))
        if found:
            epoch = max(found, key=lambda epoch: len(found[epoch]))
            if not any(isinstance(mark, Points) and mark.name == f"epoch {epoch}" for mark in marks):
                marks.append(Points(tuple(found[epoch]), f"epoch {epoch}", style))
    if not marks:
        return []
    about = f"Each cell's {metric} early against its last one (after F6.10)."
    return [
        Chart(
            "early-final",
            "Early against final accuracy",
            about + thinned(len(shown), len(cells), "cells"),
            Axis(f"{metric} then"),
            Axis(f"{metric} at the end"),
            tuple(marks),
        )
    ]


def order_of_cuts(cuts: Sequence[Cut], metric: str) -> list[Chart]:
    """Kendall's tau of the order then with the final order, and the share of the top quarter that a cut loses."""
    if len(cuts) < 2:
        return []
    shown = evenly(cuts, MOST_EPOCHS)
    tau = tuple((cut.epoch, cut.tau) for cut in shown if cut.tau is not None)
    lost = tuple((cut.epoch, cut.lost / cut.top) for cut in shown if cut.top)
    return [
        Chart(
            "cuts",
            "What a cut would have lost",
            f"After each epoch: how far the order of cells by {metric} agreed with the final one, and how much of "
            "the final top quarter a cut there would have stopped.",
            Axis("cut after epoch"),
            Axis("tau, share", bounds=(0.0, 1.0)),
            (Line(tau, "Kendall's tau with the end", 0), Line(lost, "share of the top quarter lost", 1)),
        )
    ]


def _curves(story: Story, cells: Iterable[str], metric: str) -> list[Curve]:
    facts = [story.cells[cell] for cell in cells]
    return [cell.curves[metric] for cell in facts if cell.curves.get(metric)]


def _common(curves: Sequence[Curve]) -> list[int]:
    """Epochs that all of them have."""
    return sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []


def _mean_and_band(curves: Sequence[Curve], style: int, name: str) -> tuple[Mark, ...]:
    epochs = evenly(_common(curves), MOST_EPOCHS)
    if not epochs:
        return ()
    values = {epoch: [curve[epoch] for curve in curves] for epoch in epochs}
    mean = {epoch: statistics.fmean(v) for epoch, v in values.items()}
    line = Line(tuple(mean.items()), name, style)
    if len(curves) < 2:
        return (line,)
    std = {epoch: statistics.stdev(v) for epoch, v in values.items()}
    return (Band(tuple((e, mean[e] - std[e], mean[e] + std[e]) for e in epochs), "", style), line)


def _points(curve: Curve) -> tuple[tuple[float, float], ...]:
    return tuple((float(epoch), curve[epoch]) for epoch in evenly(list(curve), MOST_EPOCHS))
