"""Drawing a chart as a PNG file, for papers and slides: the same data as on the page."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from interplay.explain.figures.canvas import COLOURS, FAINT, INK, figure, styled, to_png
from interplay.report.figures.chart import (
    HEIGHT,
    Axis,
    Band,
    Bars,
    Chart,
    Limit,
    Line,
    Mark,
    Note,
    Points,
    Scale,
    Tiles,
    scale_of,
)

INCHES, SHORTENED = 4.4, 24
_SHAPES = ("o", "s", "^", "D", "x", "+")
_DASHES = ("-", (0, (6, 3)), (0, (1, 2)), (0, (7, 2, 1, 2)), (0, (3, 3)), (0, (1, 4)))


def chart_png(chart: Chart) -> bytes:
    """The chart with title and legend as a PNG file of 660 dots width."""
    with styled():
        height = INCHES * chart.height / HEIGHT * 0.7
        drawn = figure(INCHES, max(2.4, height))
        axes = drawn.add_subplot()
        axes.set_title(_plain(chart.title), loc="left")
        for mark in chart.marks:
            _draw(axes, mark, chart)
        _frame(axes, chart.x, scale_of(chart, "x"), "x")
        _frame(axes, chart.y, scale_of(chart, "y"), "y")
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True))
        if named:
            axes.legend(named.values(), named.keys(), loc="upper left", bbox_to_anchor=(0.0, -0.18), ncols=2)
    return to_png(drawn)


def _frame(axes: Axes, axis: Axis, scale: Scale, along: str) -> None:
    own = axes.xaxis if along == "x" else axes.yaxis
    if axis.log:
        (axes.set_xscale if along == "x" else axes.set_yscale)("log")
    (axes.set_xlim if along == "x" else axes.set_ylim)(scale.low, scale.high)
    if axis.names:
        own.set_ticks(range(len(axis.names)), [_plain(name)[:SHORTENED] for name in axis.names])
    elif not axis.label:
        own.set_ticks([])
    (axes.set_xlabel if along == "x" else axes.set_ylabel)(_plain(axis.label))


def _draw(axes: Axes, mark: Mark, chart: Chart) -> None:
    if isinstance(mark, Note):
        axes.annotate(_plain(mark.text), (mark.x, mark.y), ha=_ALIGN[mark.anchor], fontsize=6, color=FAINT)
    elif isinstance(mark, Tiles):
        _tiles(axes, mark, chart)
    elif isinstance(mark, Limit):
        (axes.axvline if mark.along == "x" else axes.axhline)(
            mark.value, color=INK, linestyle="--", linewidth=1, label=_plain(mark.name)
        )
    elif isinstance(mark, Line):
        _line(axes, mark)
    elif isinstance(mark, Points):
        _points(axes, mark)
    elif isinstance(mark, Band):
        x, low, high = np.array(mark.points).T
        colour = COLOURS[mark.style % len(COLOURS)]
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, label=_plain(mark.name))
    else:
        _bars(axes, mark)


_ALIGN = {"start": "left", "middle": "center", "end": "right"}


def _line(axes: Axes, mark: Line) -> None:
    faint = mark.style < 0
    axes.plot(
        [x for x, _ in mark.points],
        [y for _, y in mark.points],
        color=FAINT if faint else COLOURS[mark.style % len(COLOURS)],
        linestyle="-" if faint else _DASHES[mark.style % len(_DASHES)],
        linewidth=0.5 if faint else 1.4,
        alpha=0.35 if faint else mark.level,
        drawstyle="steps-post" if mark.step else "default",
        label=_plain(mark.name),
    )


def _points(axes: Axes, mark: Points) -> None:
    colour, shape = COLOURS[mark.style % len(COLOURS)], _SHAPES[mark.style % len(_SHAPES)]
    axes.plot(
        [point.x for point in mark.points],
        [point.y for point in mark.points],
        linestyle="none",
        marker=shape,
        color=colour,
        markerfacecolor="none" if mark.hollow else colour,
        alpha=0.75,
        label=_plain(mark.name),
    )
    for point, label in zip(mark.points, mark.labels, strict=False):
        axes.annotate(_plain(label)[:SHORTENED], (point.x, point.y), (4, 2), textcoords="offset points", fontsize=6)


def _bars(axes: Axes, mark: Bars) -> None:
    starts, ends, lengths = np.array(mark.bars).reshape(-1, 3).T
    colour, middle = COLOURS[mark.style % len(COLOURS)], (starts + ends) / 2
    draw = axes.barh if mark.across else axes.bar
    draw(middle, lengths, ends - starts, color=colour, alpha=0.6, label=_plain(mark.name))


def _tiles(axes: Axes, mark: Tiles, chart: Chart) -> None:
    across, up = scale_of(chart, "x"), scale_of(chart, "y")
    levels = np.array([[np.nan if level is None else level for level in row] for row in mark.levels])
    rows, columns = levels.shape
    axes.pcolormesh(_edges(across, columns), _edges(up, rows), levels, cmap="Blues", vmin=0.0, vmax=1.0, alpha=0.9)


def _edges(scale: Scale, count: int) -> list[float]:
    parts = np.linspace(0.0, 1.0, count + 1)
    if scale.log:
        return [float(scale.low * (scale.high / scale.low) ** part) for part in parts]
    return [float(scale.low + (scale.high - scale.low) * part) for part in parts]


def _plain(text: str) -> str:
    """Without what matplotlib would set as mathematics, and on one line."""
    return " ".join(text.replace("$", r"\$").split())
