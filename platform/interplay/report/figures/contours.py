"""The first objective over any two parameters of a search."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from interplay.report.figures.chart import Axis, Chart, Mark, Point, Points, Tiles, evenly, scale_of
from interplay.report.figures.searches import axis_of, finished
from interplay.report.story import Story
from interplay.report.values import varying_paths

GRID, MOST_PATHS, MOST_POINTS = 24, 8, 300
WIDTH, NEAR = 0.08, 0.05
"""Of the Gaussian that smooths, as a part of an axis; and the sum of weights below which a tile stays empty."""


def contours(story: Story, order: Sequence[str] = ()) -> list[Chart]:
    """One figure for each two of the first `MOST_PATHS` parameters, those of `order` first."""
    rows, first = finished(story), story.objectives[0]
    every = varying_paths([row.changes for row in rows])
    paths = [*(path for path in order if path in every), *(path for path in every if path not in order)]
    charts: list[Chart] = []
    for one, other in combinations(paths[:MOST_PATHS], 2):
        known = [row for row in rows if row.changes.get(one) is not None and row.changes.get(other) is not None]
        if len(known) < 4:
            continue
        x, xs = axis_of(one, [row.changes[one] for row in known])
        y, ys = axis_of(other, [row.changes[other] for row in known])
        values = [row.objectives[first.name] for row in known]
        places = [(a, b) for a, b in zip(xs, ys, strict=True) if a is not None and b is not None]
        points = Points(tuple(Point(a, b, level=0.7) for a, b in evenly(places, MOST_POINTS)), "a cell", 1)
        about = (
            f"The stronger the colour, the higher {first.name}, from {min(values):.4g} to {max(values):.4g}: "
            f"its mean over cells, weighted with a Gaussian of {100 * WIDTH:.0f} % of each axis; empty where none is."
        )
        if len(paths) > MOST_PATHS:
            about += f" Of the {MOST_PATHS} parameters that matter most, of {len(paths)}."
        number = len(charts)
        frame = Chart(f"contour-{number}", f"{first.name} over {one} and {other}", about, x, y, (points,))
        tiles = _tiles(frame, places, values)
        marks: tuple[Mark, ...] = (tiles, points)
        charts.append(
            Chart(
                frame.key,
                frame.title,
                about,
                _held(x, frame, "x"),
                _held(y, frame, "y"),
                marks,
                choice=f"{one} and {other}",
            )
        )
    return charts


def _held(axis: Axis, frame: Chart, along: str) -> Axis:
    """The axis as it is drawn with room at its ends, which the tiles fill."""
    scale = scale_of(frame, along)
    return Axis(axis.label, axis.log, axis.names, None if axis.names else (scale.low, scale.high))


def _tiles(frame: Chart, places: Sequence[tuple[float, float]], values: Sequence[float]) -> Tiles:
    across, up = scale_of(frame, "x"), scale_of(frame, "y")
    value = np.array(values)
    spread = float(np.ptp(value)) or 1.0
    # of categories, one tile each, and no smoothing between them
    columns, rows = len(frame.x.names) or GRID, len(frame.y.names) or GRID
    beside = _weights([across(a) for a, _ in places], columns, 0.01 if frame.x.names else WIDTH)
    above = _weights([up(b) for _, b in places], rows, 0.01 if frame.y.names else WIDTH)
    weight, weighted = above @ beside.T, (above * value) @ beside.T
    level = (weighted / np.maximum(weight, 1e-300) - value.min()) / spread
    return Tiles(
        tuple(
            tuple(float(level[i, j]) if weight[i, j] > NEAR else None for j in range(columns)) for i in range(rows)
        ),
        "from low to high",
    )


def _weights(places: Sequence[float], count: int, width: float) -> NDArray[np.float64]:
    """Of each place at each of `count` tiles along an axis: [count, places]."""
    centres = (np.arange(count) + 0.5) / count
    return np.asarray(np.exp(-0.5 * ((centres[:, None] - np.array(places)[None]) / width) ** 2))
