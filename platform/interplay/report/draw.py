"""Drawing tables: text and Markdown of the rows, JSON and CSV of everything in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from interplay.report.rows import AblationRow, Measured, SearchRow
from interplay.study.evidence.stats import Difference

DASH = "—"

Table = tuple[list[str], list[list[str]]]
"""Headers, and rows of cells."""


def ablation_table(rows: Sequence[AblationRow], metric: str = "test/top1") -> Table:
    """Row, mean ± spread of `metric`, difference with interval, corrected p, verdict, smallest effect, published."""
    published = sorted({name for row in rows for name in row.published})
    headers = [
        "row",
        "test top-1" if metric == "test/top1" else metric,
        "difference (95 %)",
        "p",
        "verdict",
        "could show",
    ]
    headers += [f"published {name}" for name in published]
    table = []
    for row in rows:
        table.append(
            [
                row.label,
                measured(row.test),
                _difference(row.difference),
                DASH if row.p is None else f"{row.p:.3f}",
                row.verdict + (f" (seeds {_seeds(row)})" if row.missing else ""),
                _number(row.smallest_effect),
                *(_published(row, name) for name in published),
            ]
        )
    return headers, table


def search_table(rows: Sequence[SearchRow], most: int | None = None) -> Table:
    """Number, cell, validation and test accuracy, other objectives, and what was changed.

    With several objectives, a star marks the front: no other cell is as good in all of them and better in one.
    """
    paths = sorted({path for row in rows for path in row.changes})
    names = list(dict.fromkeys(name for row in rows for name in row.objectives))
    others, front = [name for name in names if name != "val/top1"], len(names) > 1
    descended = any(row.parent is not None for row in rows)
    marks = [*(["from trial"] if descended else []), *(["front"] if front else [])]
    headers = ["trial", "cell", *marks, "val top-1", "test top-1", *others, "state", *paths]
    table = [
        [
            str(row.number),
            row.fingerprint,
            *([value_text(row.parent)] if descended else []),
            *(["*" if row.front else ""] if front else []),
            _number(row.val),
            _number(row.test),
            *(_count(row.objectives.get(name)) for name in others),
            row.state,
            *(value_text(row.changes.get(path)) for path in paths),
        ]
        for row in rows[:most]
    ]
    return headers, table


def measured(number: Measured) -> str:
    """`97.31 ± 0.42 (3)`; without a spread there is no ±, without a seed a dash."""
    if number.mean is None:
        return DASH
    spread = f" ± {number.std:.2f}" if number.std is not None else ""
    return f"{number.mean:.2f}{spread} ({number.n})"


def to_text(table: Table) -> str:
    """Columns aligned with spaces."""
    lines = [[cell.replace("\n", " ") for cell in line] for line in (table[0], *table[1])]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table[0]))]
    drawn = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    return "\n".join([drawn[0], "  ".join("-" * w for w in widths), *drawn[1:]])


def to_markdown(table: Table) -> str:
    """A GitHub table."""

    def escape(cell: str) -> str:
        return cell.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(escape, cells)) + " |"

    return "\n".join([line(table[0]), line(["---"] * len(table[0])), *map(line, table[1])])


def to_csv(table: Table) -> str:
    """Comma-separated values with a header line."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([table[0], *table[1]])
    return out.getvalue()


def to_json(rows: Sequence[AblationRow] | Sequence[SearchRow], **head: Any) -> str:
    """Everything in the rows, under `rows`, after the fields of `head`."""
    return json.dumps({**head, "rows": [asdict(row) for row in rows]}, indent=1, ensure_ascii=False)


def _seeds(row: AblationRow) -> str:
    """`0, 2 diverged, 1 waiting`."""
    reasons = dict.fromkeys(row.missing.values())
    return ", ".join(
        f"{', '.join(str(seed) for seed, why in row.missing.items() if why == reason)} {reason}" for reason in reasons
    )


def _difference(difference: Difference | None) -> str:
    """`+1.02 (+0.22 to +1.82)`."""
    if difference is None:
        return DASH
    interval = "" if difference.low is None else f" ({difference.low:+.2f} to {difference.high:+.2f})"
    return f"{difference.mean:+.2f}{interval}"


def _published(row: AblationRow, name: str) -> str:
    """`81.2 ± 0.1 (-0.6)`: what was printed for the row, and its difference to what was printed for the baseline."""
    if name not in row.published:
        return DASH
    difference = row.published_differences.get(name)
    spread = f" ± {row.published_std[name]:g}" if name in row.published_std else ""
    return f"{row.published[name]:g}{spread}" + ("" if difference is None else f" ({difference:+.4g})")


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _count(value: float | None) -> str:
    """Sizes in millions and more, the rest with two digits."""
    if value is None or value < 1e5:
        return _number(value)
    return f"{value / 1e9:.3f} G" if value >= 1e9 else f"{value / 1e6:.3f} M"


def value_text(value: object) -> str:
    """A recipe's value as a person reads it: three digits, a dash for none."""
    if value is None:
        return DASH
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_text(v) for v in value) + "]"
    return str(value)
