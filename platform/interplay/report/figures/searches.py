"""Figures of a search: history, slices, parallel coordinates, importance, Pareto fronts."""

from __future__ import annotations

from collections.abc import Sequence

from interplay.report.draw import value_text
from interplay.report.figures.chart import (
    Axis,
    Bars,
    Chart,
    Limit,
    Line,
    Mark,
    Note,
    Point,
    Points,
    evenly,
    spreads,
    thinned,
    tick_text,
)
from interplay.report.rows import SearchRow
from interplay.report.story import Story
from interplay.report.values import is_number, varying_paths
from interplay.study.search.importance import FEW
from interplay.study.search.objectives import Objective, parse_constraints
from interplay.tracking.store import PRUNED

MOST_POINTS, MOST_LINES, MOST_SLICES, MOST_AXES, MOST_PAIRS, LINKED = 600, 200, 24, 12, 5, 200


def history(story: Story) -> list[Chart]:
    """The first objective by number, with the best so far; cut and failed cells are marked."""
    first = story.objectives[0]
    ended = sorted((row for row in story.found if first.name in row.objectives), key=lambda row: row.number)
    if not ended:
        return []
    best: list[tuple[float, float]] = []
    for row in ended:
        value = row.objectives[first.name]
        if not best or (value > best[-1][1] if first.maximise else value < best[-1][1]):
            best.append((row.number, value))
    last = max(row.number for row in story.found)
    best.append((last, best[-1][1]))
    shown = evenly(ended, MOST_POINTS)
    marks: list[Mark] = [
        Points(tuple(_point(row, row.number, row.objectives[first.name]) for row in shown), "a cell", 0),
        Line(tuple(best), "best so far", 1, step=True),
    ]
    floor = min(row.objectives[first.name] for row in ended)
    for state, name, style in (("PRUNED", "cut, at what it had reached", 4), ("FAIL", "failed, without a value", 5)):
        others = evenly([row for row in story.found if row.state == state], MOST_POINTS)
        if others:
            points = tuple(_point(row, row.number, _reached(story, row, floor)) for row in others)
            marks.append(Points(points, name, style))
    about = f"{first} in the order in which cells were proposed.{thinned(len(shown), len(ended), 'cells')}"
    return [Chart("history", "History", about, Axis("trial"), Axis(first.name), tuple(marks))]


def slices(story: Story) -> list[Chart]:
    """The first objective over each parameter."""
    rows, first = finished(story), story.objectives[0]
    shown = evenly(rows, MOST_POINTS)
    paths = varying_paths([row.changes for row in rows])
    charts = []
    for i, path in enumerate(paths[:MOST_SLICES]):
        axis, places = axis_of(path, [row.changes.get(path) for row in shown])
        points = [
            _point(row, place, row.objectives[first.name])
            if len(shown) <= LINKED
            else Point(place, row.objectives[first.name], level=0.6)
            for row, place in zip(shown, places, strict=True)
            if place is not None
        ]
        about = f"{first.name} of cells that have {path}.{thinned(len(shown), len(rows), 'cells')}"
        if not i and len(paths) > MOST_SLICES:
            about += f" The first {MOST_SLICES} of {len(paths)} parameters."
        charts.append(Chart(f"slice-{i}", path, about, axis, Axis(first.name), (Points(tuple(points), "", 0),)))
    return charts


def parallel_coordinates(story: Story) -> list[Chart]:
    """One line for each cell through all its parameters, the best tenth in front; axes lie one below the other."""
    rows, first = finished(story), story.objectives[0]
    paths = varying_paths([row.changes for row in rows])[: MOST_AXES - 1]
    if len(rows) < 2 or not paths:
        return []
    shown = evenly(rows, MOST_LINES)
    names = [*paths, first.name]
    marks: list[Mark] = []
    columns, notes = [], list[Mark]()
    for y, name in zip(range(len(names) - 1, -1, -1), names, strict=True):
        raw = [row.objectives[first.name] if name is first.name else row.changes.get(name) for row in shown]
        axis, places = axis_of(name, raw)
        low, high = _ends(axis, places)
        columns.append([None if p is None else _share(p, low, high, axis.log) for p in places])
        marks.append(Line(((0.0, float(y)), (1.0, float(y))), style=-1))
        notes += _axis_notes(axis, low, high, y + 0.16)
    order = sorted(range(len(shown)), key=lambda i: shown[i].objectives[first.name], reverse=first.maximise)
    front = set(order[: max(1, len(order) // 10)])
    for i in reversed(order):
        line = [(column[i], float(y)) for column, y in zip(columns, range(len(names) - 1, -1, -1), strict=True)]
        known = tuple((x, y) for x, y in line if x is not None)
        style, name = (0, "the best tenth") if i in front else (-1, "other cells")
        marks.append(Line(known, name, style, level=0.9 if i in front else 0.5))
    about = f"Every line is a cell.{thinned(len(shown), len(rows), 'cells')}"
    height = 64 + 46 * len(names)
    ends = Axis("", names=tuple(reversed([_last(name) for name in names])))
    across = Axis("", bounds=(0.0, 1.0))
    return [Chart("parallel", "Parallel coordinates", about, across, ends, (*marks, *notes), height, wide=True)]


def importance_figure(story: Story) -> list[Chart]:
    """Shares of single parameters, by two measures, and of the pairs that matter most."""
    found = story.importance
    if found is None or not found.of:
        return []
    single, pairs = found.of[:MOST_AXES], found.interactions[:MOST_PAIRS]
    names = [*(one.name for one in single), *(" x ".join(map(_last, pair.names)) for pair in pairs)]
    places = {i: len(names) - 1 - i for i in range(len(names))}  # the first one on top
    fanova = [(places[i], places[i] + 0.38, one.fanova) for i, one in enumerate(single) if one.fanova is not None]
    ped = [(places[i] - 0.38, places[i], one.ped_anova) for i, one in enumerate(single)]
    both = [(places[i] - 0.3, places[i] + 0.3, pair.share) for i, pair in enumerate(pairs, start=len(single))]
    marks = (
        Bars(tuple(fanova), "alone, of the variance (fANOVA)", 0, across=True),
        Bars(tuple(ped), "for being among the best (PED-ANOVA)", 1, across=True),
        Bars(tuple(both), "two together, beyond each alone", 2, across=True),
    )
    about = f"What mattered for {found.objective.name}, over {found.cells} finished cells."
    about += thinned(found.cells, len(finished(story)), "cells").replace("Drawn are", "Used are")
    if found.cells < FEW:
        about += " They are few: the order may be chance."
    if found.conditional:
        names_left = ", ".join(found.conditional)
        about += f" Not every cell has {names_left}, or not within the same limits: fANOVA leaves them out."
    axis, shown = Axis("share", bounds=(0.0, 0.0)), tuple(mark for mark in marks if mark.bars)
    height = 60 + 24 * len(names)
    up = Axis("", names=tuple(reversed([_last(name) if " x " not in name else name for name in names])))
    return [Chart("importance", "Importance", about, axis, up, shown, height)]


def pareto_fronts(story: Story) -> list[Chart]:
    """The first objective against each other one, with the front and the limits that cells had to keep."""
    first, *others = story.objectives
    limits = parse_constraints(story.definition.constraints)
    charts = []
    for other in others:
        rows = [row for row in finished(story) if other.name in row.objectives]
        if not rows:
            continue
        front = sorted((row for row in rows if row.front), key=lambda row: row.objectives[other.name])
        rest = evenly([row for row in rows if not row.front], MOST_POINTS)

        def at(row: SearchRow, other: Objective = other) -> Point:
            return _point(row, row.objectives[other.name], row.objectives[first.name])

        marks: list[Mark] = [Points(tuple(map(at, rest)), "dominated", 0, hollow=True)] if rest else []
        if len(others) == 1 and len(front) > 1:
            marks.append(Line(tuple((p.x, p.y) for p in map(at, front)), "", 1))
        marks.append(Points(tuple(map(at, front)), "front", 1))
        marks += [Limit(limit.limit, "x", f"limit: {limit}") for limit in limits if limit.name == other.name]
        values = [row.objectives[other.name] for row in rows]
        about = (
            f"{first} against {other}; no cell is as good as one on the front in every objective and better in one."
        )
        about += thinned(len(rest) + len(front), len(rows), "cells")
        charts.append(
            Chart(
                f"front-{other.name.replace('/', '-')}",
                f"Front: {first.name} and {other.name}",
                about,
                Axis(other.name, spreads(values)),
                Axis(first.name),
                tuple(marks),
            )
        )
    return charts


def finished(story: Story) -> list[SearchRow]:
    """Cells with a value of the first objective."""
    return [row for row in story.found if story.objectives[0].name in row.objectives]


def axis_of(path: str, values: Sequence[object]) -> tuple[Axis, list[float | None]]:
    """The axis of a parameter, and the places of its values on it; None for a cell that does not have it."""
    known = [value for value in values if value is not None]
    if known and all(map(is_number, known)):
        numbers = [float(value) if is_number(value) else None for value in values]
        real = [number for number in numbers if number is not None]
        return Axis(path, spreads(real)), numbers
    names = sorted({value_text(value) for value in known})
    return Axis(path, names=tuple(names)), [
        None if value is None else float(names.index(value_text(value))) for value in values
    ]


def _ends(axis: Axis, places: Sequence[float | None]) -> tuple[float, float]:
    if axis.names:
        return 0.0, max(1.0, len(axis.names) - 1.0)
    known = [place for place in places if place is not None]
    return min(known), max(known)


def _share(value: float, low: float, high: float, log: bool) -> float:
    from math import log as ln

    if high <= low:
        return 0.5
    return ln(value / low) / ln(high / low) if log else (value - low) / (high - low)


def _axis_notes(axis: Axis, low: float, high: float, y: float) -> list[Mark]:
    if axis.names:
        last = max(1, len(axis.names) - 1)
        names = evenly(list(enumerate(axis.names)), 4)
        return [
            Note(i / last, y, name[:14], "start" if not i else "end" if i == last else "middle") for i, name in names
        ]
    return [Note(0.0, y, f"{low:.3g}"), Note(1.0, y, f"{high:.3g}", "end")]


def _last(path: str) -> str:
    return path.rsplit(".", 1)[-1]


def _point(row: SearchRow, x: float, y: float) -> Point:
    values = ", ".join(f"{name} {tick_text(value)}" for name, value in row.objectives.items())
    return Point(x, y, f"trial {row.number}: {values or row.state.lower()}", row.fingerprint)


def _reached(story: Story, row: SearchRow, floor: float) -> float:
    cell = story.cells[row.fingerprint]
    curve = cell.curves.get(story.objectives[0].name, {})
    return curve[max(curve)] if cell.status == PRUNED and curve else floor
