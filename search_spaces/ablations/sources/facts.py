"""The tables of `chapter3.yaml` to `chapter6.yaml`, as they are printed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

CHAPTERS = (3, 4, 5, 6)
FINE_TUNED = "top1_384"
"""The column of a table whose rows were also fine-tuned at 384."""


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        id: of the table and its line, `T3.8.2`.
        label: for people.
        changes: its whole setting in the thesis's terms.
        published: metric -> number.
        std: metric -> printed spread.
        same_as: the line whose training it is.
        failed: how its training failed.
        rerun: false for somebody else's model, and for what is no training.
    """

    id: str
    label: str
    changes: Mapping[str, Any]
    published: Mapping[str, float]
    std: Mapping[str, float] = field(default_factory=dict)
    same_as: str = ""
    failed: str = ""
    rerun: bool = True

    @property
    def number(self) -> int:
        return int(self.id.rpartition(".")[2])


@dataclass(frozen=True)
class Table:
    """A table, or numbers in the text.

    Attributes:
        id: `T3.8`, `S3.5.3`, `F6.7`.
        title: for people.
        kind: how its lines came about.
        dataset: that they are measured on.
        procedure: of the lines that state none.
        model: of the lines that state none.
        fine_tuning: the procedure of the second stage of lines that have one and do not state it.
        note: what is assumed, for people.
        baseline: number of the line that others are compared with; 0 is none of them, None is not stated.
        baseline_changes: of the baseline, where it is no line.
        target: the data set of all lines of a transfer, where they do not state it.
        seeds: first and last, or all, that were used.
        lines: as printed.
    """

    id: str
    title: str
    kind: str
    dataset: str
    procedure: str
    lines: tuple[Line, ...]
    model: str = ""
    fine_tuning: str = ""
    note: str = ""
    baseline: int | None = None
    baseline_changes: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As a function's name: `T3_8`."""
        return self.id.replace(".", "_")

    @property
    def has_fine_tuned_column(self) -> bool:
        return any(FINE_TUNED in line.published for line in self.lines)


@functools.cache
def tables() -> Mapping[str, Table]:
    """Every table of chapters 3 to 6 by its id."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Table] = {}
    for chapter in CHAPTERS:
        file = resources.files("search_spaces.ablations.sources").joinpath(f"chapter{chapter}.yaml")
        tree = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)
        found |= {name: _table(name, dict(facts)) for name, facts in tree.items()}
    return MappingProxyType(found)


def _table(name: str, facts: dict[str, Any]) -> Table:
    lines = tuple(Line(**line) for line in facts.pop("rows"))
    return Table(id=name, lines=lines, seeds=tuple(facts.pop("seeds", ())), **facts)
