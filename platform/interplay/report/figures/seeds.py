"""How results spread over seeds, and over test sets."""

from __future__ import annotations

import math
import statistics

from interplay.report.figures.chart import Axis, Bars, Chart, Line, Mark, Point, Points, evenly, thinned
from interplay.report.rows import AblationRow
from interplay.report.story import Story
from interplay.study.evidence.audit import fit_line

FEWEST, MOST_ROWS, MOST_POINTS = 5, 6, 600


def seed_histograms(story: Story, metric: str = "test/top1") -> list[Chart]:
    """The distribution over seeds of the rows that have at least `FEWEST`, with the fitted Gaussian (F6.8)."""
    rows = [row for row in story.rows if row.test.n >= FEWEST and row.test.std]
    charts = []
    for i, row in enumerate(rows[:MOST_ROWS]):
        found = (story.cells[cell].metric(metric) for cell in row.cells.values())
        charts.append(_histogram(i, row, [value for value in found if value is not None], metric))
    return charts


def _histogram(number: int, row: AblationRow, values: list[float], metric: str) -> Chart:
    mean, std = statistics.fmean(values), statistics.stdev(values)
    low, high = min(values), max(values)
    bins = max(3, math.ceil(math.sqrt(len(values))))
    width = (high - low) / bins
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    bars = Bars(tuple((low + j * width, low + (j + 1) * width, count) for j, count in enumerate(counts)), "seeds", 0)
    places = [mean + std * (j / 10 - 3.0) for j in range(61)]
    peak = len(values) * width / (std * math.sqrt(2 * math.pi))
    curve = tuple((x, peak * math.exp(-0.5 * ((x - mean) / std) ** 2)) for x in places)
    marks: tuple[Mark, ...] = (bars, Line(curve, f"Gaussian, mean {mean:.2f}, std {std:.2f}", 1))
    about = f"{len(values)} seeds (after F6.8); from {low:.2f} to {high:.2f}."
    return Chart(f"seeds-{number}", f"Seeds: {row.label}", about, Axis(metric), Axis("seeds"), marks)


def set_against_set(story: Story) -> list[Chart]:
    """Every cell's top-1 on one set against that on the next, with the fitted line (F6.7, F6.11, F4.4)."""
    sets = story.measured
    pairs = [("val/top1", "test/top1"), *(("test/top1", name) for name in sets[2:])]
    charts = []
    for x, y in pairs:
        found = [(c, c.metric(x), c.metric(y)) for c in story.cells.values()]
        known = [(c, a, b) for c, a, b in found if a is not None and b is not None]
        if len(known) < 2:
            continue
        shown = evenly(known, MOST_POINTS)
        points = tuple(Point(a, b, f"{c.label}{_seed(c.seed)}: {a:.2f}, {b:.2f}", c.fingerprint) for c, a, b in shown)
        marks: tuple[Mark, ...] = (Points(points, "a cell", 0),)
        about = "Each mark is a cell (after F4.4 and F6.11)."
        line = fit_line([(a, b) for _, a, b in known])
        if line is not None:
            ends = [min(a for _, a, _ in known), max(a for _, a, _ in known)]
            fitted = tuple((end, line.intercept + line.slope * end) for end in ends)
            marks += (Line(fitted, f"slope {line.slope:.2f} ± {line.slope_error:.2f}", 1),)
            about += (
                f" Cells lie {line.residual_std:.2f} off the line (standard deviation); r {line.correlation:+.2f}."
            )
        about += thinned(len(shown), len(known), "cells")
        key = f"{x}-{y}".replace("/top1", "")
        charts.append(Chart(f"sets-{key}".replace("/", "-"), f"{y} against {x}", about, Axis(x), Axis(y), marks))
    return charts


def _seed(seed: int | None) -> str:
    return "" if seed is None else f", seed {seed}"
