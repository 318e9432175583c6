"""Drawing a chart as SVG that stands in a page: its colours are the page's (`c0`, `c1`, ...), light or dark."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from html import escape

from interplay.report.figures.chart import (
    WIDTH,
    Axis,
    Band,
    Bars,
    Chart,
    Limit,
    Line,
    Mark,
    Note,
    Point,
    Points,
    Scale,
    Tiles,
    scale_of,
    tick_text,
    ticks,
)

STYLES = 6
"""Colours; with them go as many shapes and dash patterns, so that no meaning is in the colour alone."""

LEVELS = 8
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 10, 44
_LONGEST_NAME = 16

Place = Callable[[float, float], tuple[float, float]]


def to_svg(chart: Chart, linked: Collection[str] = ()) -> str:
    """The chart as an SVG element, described by its title.

    Args:
        chart: what is drawn.
        linked: cells that the page has an anchor for; their points are links to it.
    """
    frame = _Frame(chart)
    body = "".join(_draw(mark, frame, linked) for mark in chart.marks)
    clip = escape(f"clip-{chart.key}", quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {chart.height}" role="img" aria-label="{escape(chart.title, quote=True)}">'
        f'<clipPath id="{clip}"><rect x="{frame.left - 5:g}" y="{_TOP - 5}" width="{frame.width + 10:g}" '
        f'height="{frame.height + 10:g}"/></clipPath>'
        f'{_axis(frame, "y")}{_axis(frame, "x")}<g clip-path="url(#{clip})">{body}</g></svg>'
    )


def key_svg(mark: Mark) -> str:
    """The small picture of a mark that stands before its name in a legend."""
    if isinstance(mark, Points):
        drawn = _shape(mark.style, 12.0, 6.0, 4.2, hollow=mark.hollow)
    elif isinstance(mark, Band | Bars):
        kind = "band" if isinstance(mark, Band) else "bar"
        drawn = f'<rect class="{kind} c{mark.style % STYLES}" x="2" y="1" width="20" height="10"/>'
    elif isinstance(mark, Line | Limit):
        drawn = f'<path class="{_line_class(mark) if isinstance(mark, Line) else "limit"}" d="M1 6H23"/>'
    else:
        drawn = "".join(
            f'<rect class="tile" x="{x}" y="1" width="10" height="10" fill-opacity="{opacity}"/>'
            for x, opacity in ((2, 0.2), (12, 0.8))
        )
    return f'<svg class="key" viewBox="0 0 24 12" aria-hidden="true">{drawn}</svg>'


class _Frame:
    """Where the chart's values are on the paper."""

    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        self.x, self.y = scale_of(chart, "x"), scale_of(chart, "y")
        longest = max((len(_shortened(name)) for name in chart.y.names), default=0)
        self.left = max(float(_LEFT), 7.0 * longest + 12.0) if chart.y.label or longest else 12.0
        bottom = _BOTTOM if chart.x.label or chart.x.names else 14
        self.width, self.height = WIDTH - self.left - _RIGHT, float(chart.height - _TOP - bottom)

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        return (self.left + self.x(x) * self.width, _TOP + (1.0 - self.y(y)) * self.height)

    def inside(self, point: Point) -> bool:
        return (self.x(point.x) > -1.0) and (self.y(point.y) > -1.0)


def _axis(frame: _Frame, along: str) -> str:
    axis, scale = (frame.chart.x, frame.x) if along == "x" else (frame.chart.y, frame.y)
    bottom, right = _TOP + frame.height, frame.left + frame.width
    drawn = []
    for value, text in _ticks(axis, scale, along):
        if along == "x":
            at = frame.left + scale(value) * frame.width
            drawn.append(f'<path class="grid" d="M{at:.1f} {_TOP}V{bottom:.1f}"/>')
            drawn.append(f'<text x="{at:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{escape(text)}</text>')
        else:
            at = _TOP + (1.0 - scale(value)) * frame.height
            drawn.append(f'<path class="grid" d="M{frame.left:.1f} {at:.1f}H{right:.1f}"/>')
            drawn.append(f'<text x="{frame.left - 7:.1f}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    if axis.label and along == "x":
        middle = frame.left + frame.width / 2
        drawn.append(
            f'<text class="label" x="{middle:.1f}" y="{frame.chart.height - 8}" text-anchor="middle">'
            f"{escape(axis.label)}</text>"
        )
    elif axis.label and not axis.names:
        drawn.append(
            f'<text class="label" transform="translate(13 {_TOP + frame.height / 2:.1f}) rotate(-90)" '
            f'text-anchor="middle">{escape(axis.label)}</text>'
        )
    return "".join(drawn)


def _ticks(axis: Axis, scale: Scale, along: str) -> list[tuple[float, str]]:
    if axis.names:
        step = max(1, -(-len(axis.names) // 8)) if along == "x" else 1
        longest = max(3, 56 // len(axis.names[::step])) if along == "x" else _LONGEST_NAME
        return [(float(i), _shortened(name, longest)) for i, name in enumerate(axis.names) if i % step == 0]
    if not axis.label:
        return []
    return [(value, tick_text(value)) for value in ticks(scale, 6 if along == "x" else 5)]


def _shortened(name: str, most: int = _LONGEST_NAME) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _draw(mark: Mark, frame: _Frame, linked: Collection[str]) -> str:
    if isinstance(mark, Points):
        return _points(mark, frame, linked)
    if isinstance(mark, Line):
        if not mark.points:
            return ""
        opacity = "" if mark.level >= 1.0 else f' stroke-opacity="{mark.level:.2f}"'
        return f'<path class="{_line_class(mark)}" d="{_path(mark.points, frame, mark.step)}"{opacity}/>'
    if isinstance(mark, Band):
        edge = [(x, low) for x, low, _ in mark.points] + [(x, high) for x, _, high in reversed(mark.points)]
        return f'<path class="band c{mark.style % STYLES}" d="{_path(edge, frame)}Z"/>' if edge else ""
    if isinstance(mark, Bars):
        return "".join(_bar(bar, mark, frame) for bar in mark.bars)
    if isinstance(mark, Tiles):
        return _tiles(mark, frame)
    if isinstance(mark, Limit):
        return _limit(mark, frame)
    return _note(mark, frame)


def _points(mark: Points, frame: _Frame, linked: Collection[str]) -> str:
    drawn = []
    plain: dict[int, list[str]] = {}
    for point in mark.points:
        x, y = frame(point.x, point.y)
        if not point.text and not point.cell:
            plain.setdefault(round(point.level * LEVELS), []).append(f"M{x:.1f} {y:.1f}h0")
            continue
        title = f"<title>{escape(point.text)}</title>" if point.text else ""
        shape = _shape(mark.style, x, y, 3.6, hollow=mark.hollow, level=point.level, inside=title)
        if point.cell in linked:
            shape = f'<a href="#cell-{escape(point.cell, quote=True)}" tabindex="-1">{shape}</a>'
        drawn.append(shape)
    dots = [
        f'<path class="dots c{mark.style % STYLES}" stroke-opacity="{max(level, 1) / LEVELS:.2f}" d="{"".join(d)}"/>'
        for level, d in sorted(plain.items())
    ]
    return "".join([*dots, *drawn, *_labels(mark, frame)])


def _labels(mark: Points, frame: _Frame) -> list[str]:
    """At the right of a mark or, near the edge, at its left; left out where it would lie on another one."""
    taken: list[tuple[float, float, float]] = []  # from, to, height
    drawn = []
    right = frame.left + frame.width
    for point, label in zip(mark.points, mark.labels, strict=False):
        x, y = frame(point.x, point.y)
        text = _shortened(label, 22)
        width = 6.2 * len(text) + 7.0
        start, end = (x + 6.0, x + width) if x + width < right else (x - width, x - 6.0)
        if start < frame.left or any(a < end and start < b and abs(y - c) < 12.0 for a, b, c in taken):
            continue
        taken.append((start, end, y))
        anchor, at = ("start", start) if start > x else ("end", end)
        drawn.append(f'<text class="near" x="{at:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{escape(text)}</text>')
    return drawn


def _shape(
    style: int, x: float, y: float, r: float, *, hollow: bool = False, level: float = 1.0, inside: str = ""
) -> str:
    """Circle, square, triangle, diamond, cross or plus, by the style."""
    kind = style % STYLES
    paths = (
        f"M{x - r:.1f} {y:.1f}a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0Z",
        f"M{x - r:.1f} {y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}Z",
        f"M{x:.1f} {y - r:.1f}l{r} {2 * r}h{-2 * r}Z",
        f"M{x:.1f} {y - r:.1f}l{r} {r}l{-r} {r}l{-r} {-r}Z",
        f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 {-2 * r}l{-2 * r} {2 * r}",
        f"M{x:.1f} {y - r:.1f}v{2 * r}m{-r} {-r}h{2 * r}",
    )
    look = "hollow" if hollow or kind >= 4 else "dot"
    opacity = "" if level >= 1.0 else f' opacity="{max(0.15, level):.2f}"'
    return f'<path class="{look} c{kind}" d="{paths[kind]}"{opacity}>{inside}</path>'


def _line_class(mark: Line) -> str:
    return "line faint" if mark.style < 0 else f"line c{mark.style % STYLES} d{mark.style % STYLES}"


def _path(points: Sequence[tuple[float, float]], place: Place, step: bool = False) -> str:
    parts = []
    for i, (x, y) in enumerate(place(*point) for point in points):
        parts.append(f"M{x:.1f} {y:.1f}" if not i else f"H{x:.1f}V{y:.1f}" if step else f"L{x:.1f} {y:.1f}")
    return "".join(parts)


def _bar(bar: tuple[float, float, float], mark: Bars, frame: _Frame) -> str:
    start, end, length = bar
    one, other = ((0.0, start), (length, end)) if mark.across else ((start, 0.0), (end, length))
    (x0, y0), (x1, y1) = frame(*one), frame(*other)
    return (
        f'<rect class="bar c{mark.style % STYLES}" x="{min(x0, x1):.1f}" y="{min(y0, y1):.1f}" '
        f'width="{abs(x1 - x0):.1f}" height="{abs(y1 - y0):.1f}"/>'
    )


def _tiles(mark: Tiles, frame: _Frame) -> str:
    """One path for each of `LEVELS` levels; neighbours in a row are one piece."""
    pieces: dict[int, list[str]] = {}
    rows = len(mark.levels)
    for i, row in enumerate(mark.levels):
        wide, high = frame.width / len(row), frame.height / rows
        levels = [None if level is None else min(LEVELS - 1, int(level * LEVELS)) for level in row]
        start = 0
        for j in range(1, len(row) + 1):
            if j < len(row) and levels[j] == levels[start]:
                continue
            if (level := levels[start]) is not None:
                x, y = frame.left + start * wide, _TOP + (rows - 1 - i) * high
                pieces.setdefault(level, []).append(f"M{x:.1f} {y:.1f}h{(j - start) * wide:.1f}v{high:.1f}H{x:.1f}Z")
            start = j
    return "".join(
        f'<path class="tile" fill-opacity="{(level + 0.5) / LEVELS:.2f}" d="{"".join(paths)}"/>'
        for level, paths in sorted(pieces.items())
    )


def _limit(mark: Limit, frame: _Frame) -> str:
    if mark.along == "x":
        at = frame.left + frame.x(mark.value) * frame.width
        return f'<path class="limit" d="M{at:.1f} {_TOP}v{frame.height:.1f}"/>'
    at = _TOP + (1.0 - frame.y(mark.value)) * frame.height
    return f'<path class="limit" d="M{frame.left:.1f} {at:.1f}h{frame.width:.1f}"/>'


def _note(mark: Note, frame: _Frame) -> str:
    x, y = frame(mark.x, mark.y)
    return f'<text class="near" x="{x:.1f}" y="{y:.1f}" text-anchor="{mark.anchor}">{escape(mark.text)}</text>'
