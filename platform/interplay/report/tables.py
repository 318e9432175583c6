"""The page's tables of results: ablation rows, configurations of a search, and the cells behind both."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime

from interplay.report.draw import DASH, value_text
from interplay.report.figures.chart import tick_text
from interplay.report.rows import FAILED, FAILED_AS_PUBLISHED, NOT_MEASURED, WAITING, AblationRow
from interplay.report.story import CellFacts, Story
from interplay.report.values import ToggleColumn, changes_text, is_number, toggle_columns
from interplay.report.view import Column, Grid, Link, Row, Value, number
from interplay.study.ablation import BASELINE
from interplay.study.evidence.stats import Difference
from interplay.tracking.store import FINISHED

MOST_CELLS, MOST_ROWS, MOST_BEST, MOST_SEEDS, MOST_PATHS = 1000, 1000, 20, 12, 12

_SIGNS = {
    "better": ("▲", "good"),
    "worse": ("▼", "bad"),
    FAILED: ("✕", "bad"),
    FAILED_AS_PUBLISHED: ("✕", "dim"),
    "inside noise": ("≈", "dim"),
    WAITING: ("…", "dim"),
    NOT_MEASURED: ("…", "dim"),
}


def ablation_grid(story: Story, linked: Collection[str]) -> Grid:
    """The table as the thesis draws it: what is on in each row, our number, the published ones, the difference."""
    rows = story.rows[:MOST_ROWS]
    toggles = toggle_columns(story.definition, rows)
    metrics = sorted({name for row in rows for name in row.published}, key=lambda name: (name[:4] != "top1", name))
    changes = {row.label: row.changes for row in story.definition.rows}
    columns = (
        Column("row"),
        *(Column(toggle.name, title=toggle.path) for toggle in toggles),
        *(() if toggles or len(rows) < 2 else (Column("changes"),)),
        Column("test top-1", number=True, title="mean ± standard deviation over seeds (seeds)"),
        *(Column(f"published {name}", number=True) for name in metrics),
        Column("difference", number=True, title="to the baseline, paired by seed, with its 95 % interval"),
        Column("p", number=True, title="corrected for the rows of the table"),
        Column("verdict"),
        Column("could show", number=True, title="the smallest true difference found in 80 % of tables"),
    )
    drawn = []
    for i, row in enumerate(rows):
        values = [
            _label(row, linked),
            *(_toggle(toggle, i, row) for toggle in toggles),
            *(() if toggles or len(rows) < 2 else (Value(changes_text(changes[row.label]) or DASH),)),
            _ours(row, linked),
            *(_published(row, name) for name in metrics),
            _difference(row.difference),
            _p(row.p),
            _verdict(row),
            number(row.smallest_effect),
        ]
        drawn.append(Row(tuple(values), mark=BASELINE if row.label == BASELINE else ""))
    caption = "Numbers lead to the cells behind them; small figures are seeds. "
    caption += "▲ ▼ differ from the baseline beyond noise, ≈ is inside noise, ✕ failed, — has no evidence."
    if len(story.rows) > MOST_ROWS:
        caption += f" The first {MOST_ROWS:,} of {len(story.rows):,} rows; --format csv has all."
    return Grid(caption, columns, tuple(drawn))


def search_grid(story: Story, linked: Collection[str]) -> Grid:
    """The best configurations: their objectives, test accuracy and what they changed."""
    paths = sorted({path for row in story.found for path in row.changes})
    shown, names = paths[:MOST_PATHS], [objective.name for objective in story.objectives]
    front = len(names) > 1
    numbers = {path for row in story.found for path, value in row.changes.items() if is_number(value)}
    descended = any(row.parent is not None for row in story.found)
    columns = (
        Column("trial"),
        *((Column("from trial", number=True, title="whose weights it started from"),) if descended else ()),
        *((Column("front", title="no other cell is as good in all objectives and better in one"),) if front else ()),
        *(Column(name, number=True) for name in names),
        Column("test top-1", number=True, title="measured once; it selects nothing"),
        Column("state"),
        *(Column(path.rsplit(".", 1)[-1], path in numbers, title=path) for path in shown),
    )
    drawn = []
    for row in story.found[:MOST_BEST]:
        values = [
            _to_cell(f"trial {row.number}", row.fingerprint, linked, row.number),
            *((_parameter(row.parent),) if descended else ()),
            *((Value("★" if row.front else DASH),) if front else ()),
            *(_measured(row.objectives.get(name)) for name in names),
            number(row.test),
            Value(_STATES.get(row.state, row.state.lower()), mark="bad" if row.state == "FAIL" else ""),
            *(_parameter(row.changes.get(path)) for path in shown),
        ]
        drawn.append(Row(tuple(values)))
    caption = f"Ordered by {story.objectives[0]}" + (", those on the front first." if front else ".")
    if len(story.found) > MOST_BEST:
        caption += f" The best {MOST_BEST} of {len(story.found):,}; --format csv has all."
    if len(paths) > MOST_PATHS:
        caption += f" The first {MOST_PATHS} of {len(paths)} parameters."
    return Grid(caption, columns, tuple(drawn))


_STATES = {"COMPLETE": "finished", "PRUNED": "✂ cut", "FAIL": "✕ failed", "RUNNING": "… unfinished"}


def shown_cells(story: Story) -> list[CellFacts]:
    """The cells that the page lists."""
    return list(story.cells.values())[:MOST_CELLS]


def cells_grid(story: Story, runs: Mapping[str, str], server: str) -> Grid:
    """Every cell with its seed, status, device, and its MLflow run if it is known."""
    sets = story.measured
    columns = (
        Column("cell"),
        Column("row" if story.rows else "trial"),
        Column("seed", number=True),
        Column("status"),
        *(Column(name, number=True) for name in sets),
        Column("minutes", number=True, title="of its last start, until it finished"),
        Column("device"),
        Column("began (UTC)"),
        *((Column("MLflow"),) if runs else ()),
    )
    drawn = []
    for cell in shown_cells(story):
        began, ended = cell.evidence.get("started_at"), cell.evidence.get("finished_at")
        run = runs.get(cell.fingerprint, "")
        values = [
            Value(cell.fingerprint, code=True),
            Value(cell.label or DASH),
            Value() if cell.seed is None else Value(str(cell.seed), sort=cell.seed),
            _status(cell),
            *(number(cell.metric(name)) for name in sets),
            number((ended - began) / 60) if began and ended else Value(),
            Value(str(cell.evidence.get("device") or DASH)),
            Value(when(began)) if began else Value(),
            *((Value(run[:8], href=f"{server}/#/runs/{run}", outside=True) if run else Value(),) if runs else ()),
        ]
        drawn.append(Row(tuple(values), id=f"cell-{cell.fingerprint}"))
    caption = f"{len(story.cells):,} cells." if len(story.cells) != 1 else "One cell."
    if len(story.cells) > MOST_CELLS:
        caption = f"The first {MOST_CELLS:,} of {len(story.cells):,} cells; --format json has all."
    return Grid(caption, columns, tuple(drawn))


def _toggle(column: ToggleColumn, i: int, row: AblationRow) -> Value:
    """A row that is not run may differ in ways that are not written down."""
    if row.not_run and not column.changed[i]:
        return Value()
    return Value(column.texts[i], mark="" if column.changed[i] else "dim")


def _label(row: AblationRow, linked: Collection[str]) -> Value:
    more = f"not run: {row.not_run}" if row.not_run else ""
    cell = next((cell for cell in row.cells.values() if cell in linked), None)
    return Value(row.label or "(no name)", href=f"#cell-{cell}" if cell else "", more=more)


def _ours(row: AblationRow, linked: Collection[str]) -> Value:
    cells = [(seed, cell) for seed, cell in sorted(row.cells.items()) if cell in linked]
    links = tuple(
        Link(str(seed), f"#cell-{cell}", f"seed {seed} of {row.label}") for seed, cell in cells[:MOST_SEEDS]
    )
    test = row.test
    if test.mean is None:
        return Value(links=links)
    spread = f" ± {test.std:.2f}" if test.std is not None else ""
    href = f"#cell-{cells[0][1]}" if cells else ""
    text = f"{test.mean:.2f}{spread} ({test.n})"
    return Value(text, sort=test.mean, href=href, links=links)


def _published(row: AblationRow, name: str) -> Value:
    value = row.published.get(name)
    if value is None:
        return Value()
    spread = f" ± {row.published_std[name]:g}" if name in row.published_std else ""
    difference = row.published_differences.get(name)
    return Value(f"{value:g}{spread}", sort=value, more="" if difference is None else f"{difference:+.4g}")


def _difference(found: Difference | None) -> Value:
    if found is None:
        return Value()
    more = "" if found.low is None else f"{found.low:+.2f} to {found.high:+.2f}"
    return Value(f"{found.mean:+.2f}", sort=found.mean, more=more)


def _verdict(row: AblationRow) -> Value:
    sign, mark = _SIGNS.get(row.verdict, ("=" if row.verdict.startswith("same") else "", ""))
    return Value(f"{sign} {row.verdict}".strip(), mark=mark, more=_missing(row))


def _p(p: float | None) -> Value:
    return Value("< 0.001", sort=p) if p is not None and p < 0.001 else number(p, 3)


def _missing(row: AblationRow) -> str:
    """`seeds 0, 2 diverged; 5 seeds waiting`."""
    parts = []
    for why in dict.fromkeys(row.missing.values()):
        seeds = [str(seed) for seed, reason in row.missing.items() if reason == why]
        which = f"seeds {', '.join(seeds)}" if len(seeds) <= 3 else f"{len(seeds)} seeds"
        parts.append(f"{which} {why}" if len(seeds) != 1 else f"seed {seeds[0]} {why}")
    return "; ".join(parts)


def _to_cell(text: str, cell: str, linked: Collection[str], sort: float) -> Value:
    return Value(text, sort=sort, href=f"#cell-{cell}" if cell in linked else "")


def _measured(value: float | None) -> Value:
    if value is None or abs(value) < 1e4:
        return number(value)
    return Value(tick_text(value), sort=value)


def _parameter(value: object) -> Value:
    return Value(value_text(value), sort=float(value) if is_number(value) else None)


def _status(cell: CellFacts) -> Value:
    signs = {FINISHED: ("", ""), "pruned": ("✂ ", ""), "unfinished": ("… ", "dim"), "waiting": ("… ", "dim")}
    sign, mark = signs.get(cell.status, ("✕ ", "bad"))
    return Value(sign + cell.status.replace("_", " "), mark=mark, more=cell.message[:200])


def when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
