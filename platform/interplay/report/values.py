"""What a row or a cell has at a path of its recipe: from its changes and the study's recipe, building neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from interplay.report.draw import DASH, value_text
from interplay.report.rows import AblationRow
from interplay.study.definition import StudyDefinition

MOST_COLUMNS = 8
ON, OFF = "✓", "✗"


def value_at(changes: Mapping[str, Any], recipe: Mapping[str, Any], path: str) -> Any:
    """The value at `path`; None if it is not there, or within a part that was exchanged by its name alone."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        if (owner := ".".join(parts[:length])) in changes:
            return _walk(changes[owner], parts[length:])
    return _walk(recipe, parts)


def _walk(node: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    return node


@dataclass(frozen=True)
class ToggleColumn:
    """A column of an ablation table that says what of one path each row has.

    Attributes:
        path: in the recipe.
        name: its shortest unambiguous end.
        texts: of the rows: a value, or for something that is there or not a check mark or a cross.
        changed: whether the row differs from the baseline in it.
    """

    path: str
    name: str
    texts: tuple[str, ...]
    changed: tuple[bool, ...]


def toggle_columns(definition: StudyDefinition, rows: Sequence[AblationRow]) -> list[ToggleColumn]:
    """As the thesis draws its ablations; none if the rows change more than `MOST_COLUMNS` paths in all."""
    changes = {row.label: row.changes for row in definition.rows}
    every = list(dict.fromkeys(path for row in rows for path in changes[row.label]))
    owners = [path for path in every if not any(path.startswith(f"{other}.") for other in every)]
    paths = list(dict.fromkeys(path.removesuffix(".kind") for path in owners))
    if len(paths) > MOST_COLUMNS:
        return []
    columns = []
    for path in paths:
        values = [_named(value_at(changes[row.label], definition.recipe, path)) for row in rows]
        kinds = {repr(value): value for value in values}.values()
        toggle = len(kinds) == 2 and sum(map(_is_off, kinds)) == 1
        texts = [(OFF if _is_off(value) else ON) if toggle else _text(value) for value in values]
        changed = [any(p == path or p.startswith(f"{path}.") for p in changes[row.label]) for row in rows]
        columns.append(ToggleColumn(path, _short(path, paths), tuple(texts), tuple(changed)))
    return columns


def changes_text(changes: Mapping[str, Any]) -> str:
    """`drop_path 0.2, policy three_augment`."""
    return ", ".join(f"{path.rsplit('.', 1)[-1]} {value_text(_named(value))}" for path, value in changes.items())


def varying_paths(changes: Sequence[Mapping[str, object]]) -> list[str]:
    """Paths at which cells differ, in the order they come."""
    paths = dict.fromkeys(path for row in changes for path in row)
    return [path for path in paths if len({repr(row.get(path)) for row in changes}) > 1]


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it has a place on an axis of numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _named(value: Any) -> Any:
    """A part as its kind, the rest as it is."""
    if isinstance(value, Mapping):
        return value.get("kind", value.get("family", dict(value)))
    return value


def _is_off(value: Any) -> bool:
    return value in (None, False, 0, "none")


def _text(value: Any) -> str:
    return DASH if value is None else value_text(value)


def _short(path: str, paths: Sequence[str]) -> str:
    parts = path.split(".")
    for length in range(1, len(parts) + 1):
        name = ".".join(parts[-length:])
        if sum(other == name or other.endswith(f".{name}") for other in paths) == 1:
            return name
    return path
