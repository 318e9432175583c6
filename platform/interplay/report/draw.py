"""Drawing tables: text and Markdown of the rows, JSON and CSV of everything in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from interplay.report.rows import AblationRow, Measured, SearchRow

DASH = "—"

Table = tuple[list[str], list[list[str]]]
"""Headers, and rows of cells."""


def ablation_table(rows: Sequence[AblationRow]) -> Table:
    """Row, mean ± spread, difference with interval, corrected p, verdict, and published numbers if there are any."""
    published = sorted({name for row in rows for name in row.published})
    headers = ["row", "test top-1", "difference", "95 % interval", "p (Holm)", "verdict"]
    headers += [f"published {name}" for name in published]
    table = []
    for row in rows:
        d = row.difference
        table.append(
            [
                row.label,
                measured(row.test),
                DASH if d is None else f"{d.mean:+.2f}",
                DASH if d is None or d.low is None else f"{d.low:+.2f} to {d.high:+.2f}",
                DASH if row.p is None else f"{row.p:.3f}",
                row.verdict + (f" (seeds {_seeds(row)})" if row.missing else ""),
                *(f"{row.published[n]:g}" if n in row.published else DASH for n in published),
            ]
        )
    return headers, table


def search_table(rows: Sequence[SearchRow], most: int | None = None) -> Table:
    """Number, cell, validation and test accuracy, and what was changed."""
    paths = sorted({path for row in rows for path in row.changes})
    headers = ["trial", "cell", "val top-1", "test top-1", "state", *paths]
    table = [
        [
            str(row.number),
            row.fingerprint,
            _number(row.val),
            _number(row.test),
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
    return ", ".join(f"{seed} {status}" for seed, status in row.missing.items())


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def value_text(value: object) -> str:
    """A recipe's value as a person reads it: three digits, a dash for none."""
    if value is None:
        return DASH
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(value_text(v) for v in value) + "]"
    return str(value)
