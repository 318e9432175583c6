"""What the page's template draws: sections of tables, figures and commands."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from interplay.report.draw import DASH
from interplay.report.figures.chart import Chart, Note
from interplay.report.figures.svg import key_svg, to_svg


@dataclass(frozen=True)
class Link:
    """A short link within a table's cell; `what` says it in words."""

    text: str
    href: str
    what: str


@dataclass(frozen=True)
class Value:
    """What stands in a table's cell.

    Attributes:
        text: its words or number.
        sort: the number by which it is sorted; None is sorted by its words, and a dash last.
        href: where it leads.
        outside: it leads out of the page.
        mark: good, bad or dim; the words say the same.
        code: it is to be copied.
        links: further places.
        more: small print behind it.
    """

    text: str = DASH
    sort: float | None = None
    href: str = ""
    outside: bool = False
    mark: str = ""
    code: bool = False
    links: tuple[Link, ...] = ()
    more: str = ""


@dataclass(frozen=True)
class Column:
    """A table's column: numbers are at the right."""

    name: str
    number: bool = False
    title: str = ""


@dataclass(frozen=True)
class Row:
    """A table's row; `id` is its anchor."""

    values: tuple[Value, ...]
    id: str = ""
    mark: str = ""

    def pairs(self, columns: Sequence[Column]) -> Iterator[tuple[Column, Value]]:
        return zip(columns, self.values, strict=True)


@dataclass(frozen=True)
class Grid:
    """A table."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    sortable: bool = True

    @property
    def many(self) -> bool:
        """It has so many columns that it may be wider than a screen."""
        return len(self.columns) > 8


@dataclass(frozen=True)
class Command:
    """What can be typed, and what that does."""

    about: str
    text: str


@dataclass(frozen=True)
class Drawn:
    """A figure with its SVG and its legend: (picture, name) of each mark that has one."""

    chart: Chart
    svg: Markup
    legend: tuple[tuple[Markup, str], ...]


@dataclass(frozen=True)
class Picture:
    """Pictures under one title, as PNGs in base64."""

    title: str
    about: str
    pngs: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page. Of the figures in `choices` one is shown at a time."""

    id: str
    title: str
    about: tuple[str, ...] = ()
    tables: tuple[Grid, ...] = ()
    notes: tuple[str, ...] = ()
    figures: tuple[Drawn, ...] = ()
    choices: tuple[Drawn, ...] = ()
    commands: tuple[Command, ...] = ()
    pictures: tuple[Picture, ...] = ()

    @property
    def empty(self) -> bool:
        drawn = self.figures or self.choices or self.pictures
        return not (self.about or self.tables or self.notes or drawn or self.commands)


def drawn(charts: Sequence[Chart], linked: Collection[str]) -> tuple[Drawn, ...]:
    """The charts as SVG. `to_svg` and `key_svg` have escaped what is a person's."""
    found = []
    for chart in charts:
        legend = {m.name: m for m in chart.marks if not isinstance(m, Note) and m.name}
        keys = tuple((Markup(key_svg(mark)), name) for name, mark in legend.items())
        found.append(Drawn(chart, Markup(to_svg(chart, linked)), keys))
    return tuple(found)


def number(value: float | None, digits: int = 2) -> Value:
    """A number with so many digits, or a dash."""
    return Value() if value is None else Value(f"{value:.{digits}f}", sort=value)
