"""A figure as data: axes and marks. Drawing is in `svg` (the page) and `png` (files)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")

WIDTH, HEIGHT = 440, 280
"""Of a figure, in units of which a telephone shows 340: letters stay readable there."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes:
        label: with its unit; empty is not drawn.
        log: logarithmic.
        names: of an axis of categories, which stand at 0, 1, ...
        bounds: what it shows at least.
        start: where it begins, whatever lies before.
    """

    label: str
    log: bool = False
    names: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    start: float | None = None


@dataclass(frozen=True)
class Point:
    """A place.

    Attributes:
        x: along the first axis.
        y: along the second.
        text: what is said of it when it is pointed at.
        cell: fingerprint of the cell it is of, if it is of one.
        level: 0 to 1, how strong it is drawn.
    """

    x: float
    y: float
    text: str = ""
    cell: str = ""
    level: float = 1.0


@dataclass(frozen=True)
class Points:
    """Marks of one kind, cheap without texts and cells; `labels` stand beside them where there is room."""

    points: tuple[Point, ...]
    name: str = ""
    style: int = 0
    hollow: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line through its points; `style` is a colour and a dash pattern, -1 is faint."""

    points: tuple[tuple[float, float], ...]
    name: str = ""
    style: int = 0
    level: float = 1.0
    step: bool = False


@dataclass(frozen=True)
class Band:
    """From `low` to `high` at each (x, low, high)."""

    points: tuple[tuple[float, float, float], ...]
    name: str = ""
    style: int = 0


@dataclass(frozen=True)
class Bars:
    """From (x0, x1) up to a height; `across`, from (y0, y1) to a length."""

    bars: tuple[tuple[float, float, float], ...]
    name: str = ""
    style: int = 0
    across: bool = False


@dataclass(frozen=True)
class Tiles:
    """A grid that fills the figure: rows from below, levels 0 to 1, None where there is nothing to say."""

    levels: tuple[tuple[float | None, ...], ...]
    name: str = ""


@dataclass(frozen=True)
class Limit:
    """A straight line at one value of the first (`x`) or second (`y`) axis."""

    value: float
    along: str
    name: str = ""


@dataclass(frozen=True)
class Note:
    """Words at a place: `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    anchor: str = "start"


Mark = Points | Line | Band | Bars | Tiles | Limit | Note


@dataclass(frozen=True)
class Chart:
    """One figure.

    Attributes:
        key: its name within a study, which is its file's name too.
        title: what it shows.
        about: how it is to be read, in sentences, with what was left out.
        x: the axis from left to right.
        y: the axis upwards.
        marks: from the back to the front.
        height: in the units of `WIDTH`.
        wide: it takes two columns where there are some.
        choice: it is one of several of this group of which the page shows one.
    """

    key: str
    title: str
    about: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    height: int = HEIGHT
    wide: bool = False
    choice: str = ""


@dataclass(frozen=True)
class Scale:
    """Values of an axis as 0 to 1."""

    low: float
    high: float
    log: bool

    def __call__(self, value: float) -> float:
        if self.log:
            span = math.log(self.high / self.low)
            return math.log(max(value, 1e-300) / self.low) / span
        return (value - self.low) / (self.high - self.low)


def scale_of(chart: Chart, along: str) -> Scale:
    """The scale of an axis (`x` or `y`), with room at both ends; of categories, half a step."""
    axis = chart.x if along == "x" else chart.y
    if axis.names:
        return Scale(-0.5, len(axis.names) - 0.5, False)
    values = [v for mark in chart.marks for v in _extent(mark, along) if math.isfinite(v)]
    if axis.log:
        values = [v for v in values if v > 0.0]
    values += axis.bounds or ()
    if axis.start is not None:
        values = [axis.start, *(v for v in values if v >= axis.start)]
    low, high = (min(values), max(values)) if values else (1.0, 10.0) if axis.log else (0.0, 1.0)
    if axis.log:
        reach = max(1.05, (high / low) ** 0.04)
        return Scale(low / reach, high * reach, True)
    if any(isinstance(mark, Tiles) for mark in chart.marks) and high > low:
        return Scale(low, high, False)
    reach = 0.04 * (high - low) or abs(high) * 0.05 or 1.0
    if axis.start is not None:
        return Scale(low, high + reach, False)
    start = 0.0 if low == 0.0 and any(isinstance(mark, Bars) for mark in chart.marks) else low - reach
    return Scale(start, high + reach, False)


def ticks(scale: Scale, most: int = 6) -> list[float]:
    """Round numbers within the scale, at most about `most` of them."""
    if scale.log:
        first, last = math.floor(math.log10(scale.low)), math.ceil(math.log10(scale.high))
        for steps in ((1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            found = [s * 10.0**e for e in range(first, last + 1) for s in steps]
            found = [v for v in found if scale.low <= v <= scale.high]
            if len(found) <= most:
                break
        found = found[:: -(-len(found) // most)] if found else []
        return found if len(found) > 1 else [scale.low, scale.high]
    rough = (scale.high - scale.low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1.0, 2.0, 5.0, 10.0) if s * power >= rough * 0.999)
    first = math.ceil(scale.low / step - 1e-9)
    return [step * i for i in range(first, math.floor(scale.high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """`0.05`, `120k`, `5.7M`."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "")):
        if abs(value) >= unit:
            return f"{value / unit:.3g}{name}" if name else f"{value / 1e3:.3g}k"
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}"


def spreads(values: Iterable[float]) -> bool:
    """Whether a logarithmic axis shows positive values better: half of them are crowded at the lower end."""
    known = sorted(values)
    if not known or known[0] <= 0.0 or known[-1] <= 20.0 * known[0]:
        return False
    return known[len(known) // 2] - known[0] < 0.25 * (known[-1] - known[0])


def evenly(values: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of the values, the first and last among them."""
    if len(values) <= most:
        return list(values)
    places = {round(i * (len(values) - 1) / (most - 1)) for i in range(most)}
    return [values[place] for place in sorted(places)]


def thinned(shown: int, of: int, what: str) -> str:
    """`Drawn are 600 of 5,000 cells, evenly chosen.`, or nothing if all are."""
    return "" if shown >= of else f" Drawn are {shown:,} of {of:,} {what}, evenly chosen."


def _extent(mark: Mark, along: str) -> list[float]:
    x = along == "x"
    if isinstance(mark, Points):
        return [p.x if x else p.y for p in mark.points]
    if isinstance(mark, Line):
        return [a if x else b for a, b in mark.points]
    if isinstance(mark, Band):
        return [v for a, low, high in mark.points for v in ((a,) if x else (low, high))]
    if isinstance(mark, Bars):
        if x == mark.across:
            return [0.0, *(length for _, _, length in mark.bars)]
        return [v for start, end, _ in mark.bars for v in (start, end)]
    if isinstance(mark, Limit):
        return [mark.value] if mark.along == along else []
    return []
