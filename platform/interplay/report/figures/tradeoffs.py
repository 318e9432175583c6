"""Accuracy against what it costs, and drop path against depth and length of training."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from interplay.report.figures.chart import Axis, Chart, Line, Mark, Point, Points, evenly, spreads, thinned
from interplay.report.story import Story
from interplay.report.values import value_at

MOST_POINTS, MOST_SERIES, MOST_JOINED = 600, 6, 8

_DEPTH_PATHS = {"model.drop_path", "model.drop_path_rule", "model.depth", "schedule.epochs"}

COUNTED = {"parameters": "trainable parameters", "macs": "multiply-adds for one image"}
MEASURED = {
    "throughput/images_per_s": "images per second in training",
    "memory/peak_mb": "peak memory in training, MB",
}
PUBLISHED = {
    "params_M": "parameters, millions",
    "flops_G": "multiply-adds, 1e9",
    "throughput": "images per second",
    "peak_mem_MB": "peak memory, MB",
}


@dataclass(frozen=True)
class _Entry:
    """A row of an ablation or a cell of a search, with its accuracy: test top-1 there, validation top-1 here."""

    name: str
    cell: str
    accuracy: float
    text: str
    costs: dict[str, float]
    drop_path: float | None
    depth: object
    epochs: object


def accuracy_against_cost(story: Story) -> list[Chart]:
    """Accuracy against throughput, multiply-adds, parameters and memory, where they differ (F3.3, F3.8, F5.7)."""
    entries = _entries(story)
    metric = "val/top1" if story.found else "test/top1"
    charts = []
    for cost, label in {**COUNTED, **MEASURED}.items():
        known = [entry for entry in entries if cost in entry.costs]
        if len({entry.costs[cost] for entry in known}) < 2:
            continue
        shown = evenly(known, MOST_POINTS)
        points = tuple(Point(e.costs[cost], e.accuracy, f"{e.text}; {e.costs[cost]:.4g}", e.cell) for e in shown)
        what = "cell" if story.found else "row, the mean of its seeds"
        about = f"Each mark is a {what}. {_how(story, cost)}{thinned(len(shown), len(known), 'cells')}"
        if len(known) < len(entries):
            about += f" Known of {len(known)} of {len(entries)}."
        charts.append(
            Chart(
                f"cost-{cost.replace('/', '-')}",
                f"Accuracy against {label}",
                about,
                Axis(label, spreads(point.x for point in points)),
                Axis(metric),
                (Points(points, labels=tuple(e.name for e in shown) if story.rows else ()),),
            )
        )
    return charts


def published_tradeoffs(story: Story) -> list[Chart]:
    """The same of the published numbers, in a figure of their own: their data set is another one."""
    charts = []
    for cost, label in PUBLISHED.items():
        rows = [row for row in story.rows if {"top1", cost} <= row.published.keys()]
        if len({row.published[cost] for row in rows}) < 3:
            continue
        points = tuple(
            Point(
                r.published[cost], r.published["top1"], f"{r.label}: {r.published['top1']:g}, {r.published[cost]:g}"
            )
            for r in rows
        )
        charts.append(
            Chart(
                f"published-{cost.replace('_', '-')}",
                f"As published: top-1 against {label}",
                "Numbers printed for these rows, on the data set they were printed for.",
                Axis(label, spreads(point.x for point in points)),
                Axis("published top-1"),
                (Points(points, "published", 1, True, tuple(row.label for row in rows)),),
            )
        )
    return charts


def drop_path_figures(story: Story) -> list[Chart]:
    """Accuracy over drop path for each depth (F3.5), and over epochs for each drop path (F5.8).

    Rows of an ablation that change anything else are left out; cells of a search change what the search does.
    """
    others = {row.label for row in story.definition.rows if not row.changes.keys() <= _DEPTH_PATHS}
    entries = [entry for entry in _entries(story) if entry.drop_path is not None and entry.name not in others]
    metric = "val/top1" if story.found else "test/top1"
    charts = []
    if len({entry.drop_path for entry in entries}) > 1:
        marks = _series([(entry.depth, entry.drop_path, entry) for entry in entries], "depth")
        about = "Each depth has its own best drop path in the thesis (F3.5)."
        title = "Accuracy against drop path"
        charts.append(Chart("drop-path", title, about, Axis("drop path"), Axis(metric), marks))
    if len({entry.epochs for entry in entries}) > 1:
        marks = _series([(entry.drop_path, entry.epochs, entry) for entry in entries], "drop path")
        about = "Small drop paths converge sooner and saturate in the thesis (F5.8)."
        title = "Accuracy against the length of training"
        charts.append(Chart("drop-path-epochs", title, about, Axis("epochs"), Axis(metric), marks))
    return charts


def _series(found: Iterable[tuple[object, object, _Entry]], name: str) -> tuple[Mark, ...]:
    """A series for each value, the largest `MOST_SERIES` of them; a line where no place has two."""
    groups: dict[object, list[Point]] = {}
    for value, x, entry in found:
        if isinstance(x, int | float):
            groups.setdefault(value, []).append(Point(float(x), entry.accuracy, entry.text, entry.cell))
    largest = sorted(groups, key=lambda value: -len(groups[value]))[:MOST_SERIES]
    marks: list[Mark] = []
    for style, value in enumerate(sorted(largest, key=str)):
        points = sorted(evenly(groups[value], MOST_POINTS), key=lambda point: point.x)
        if 1 < len({point.x for point in points}) == len(points) <= MOST_JOINED:
            marks.append(Line(tuple((p.x, p.y) for p in points), "", style))
        marks.append(Points(tuple(points), f"{name} {value if value is not None else 'not known'}", style))
    return tuple(marks)


def _entries(story: Story) -> list[_Entry]:
    recipe = story.definition.recipe
    found = []
    changes = {row.label: row.changes for row in story.definition.rows}
    for row in story.rows:
        if row.test.mean is not None:
            costs = {**story.sizes.get(row.label, {}), **_means(story, list(row.cells.values()))}
            text = f"{row.label}: {row.test.mean:.2f}"
            cell = next(iter(row.cells.values()))
            found.append(_entry(row.label, cell, row.test.mean, text, costs, changes[row.label], recipe))
    for trial in story.found:
        if trial.val is not None:
            objectives = {name: value for name, value in trial.objectives.items() if name in COUNTED}
            cell = trial.fingerprint
            costs = {**story.sizes.get(cell, {}), **_means(story, [cell]), **objectives}
            text = f"trial {trial.number}: {trial.val:.2f}"
            found.append(_entry(f"trial {trial.number}", cell, trial.val, text, costs, trial.changes, recipe))
    return found


def _entry(
    name: str,
    cell: str,
    accuracy: float,
    text: str,
    costs: dict[str, float],
    changes: Mapping[str, object],
    recipe: Mapping[str, object],
) -> _Entry:
    drop_path, depth, epochs = (
        value_at(changes, recipe, path) for path in ("model.drop_path", "model.depth", "schedule.epochs")
    )
    known = float(drop_path) if isinstance(drop_path, int | float) else None
    return _Entry(name, cell, accuracy, text, costs, known, depth, epochs)


def _means(story: Story, cells: Sequence[str]) -> dict[str, float]:
    found = {}
    for name in MEASURED:
        values = [value for cell in cells if (value := story.cells[cell].metric(name)) is not None]
        if values:
            found[name] = statistics.fmean(values)
    return found


def _how(story: Story, cost: str) -> str:
    if cost in COUNTED:
        return "Counted without training." if story.sizes else "Counted by the search."
    devices = sorted({str(c.evidence["device"]) for c in story.cells.values() if c.evidence.get("device")})
    if len(devices) == 1:
        return f"Measured in the last epoch, on {devices[0]}."
    return f"Measured in the last epoch, on {len(devices)} kinds of devices: not comparable between them."
