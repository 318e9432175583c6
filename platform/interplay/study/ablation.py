"""Ablations: a baseline recipe and named rows of changes, trained over the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe

BASELINE = "baseline"


@dataclass(frozen=True)
class Row:
    """One line of an ablation table: what differs from the baseline, and what was published for it."""

    label: str
    changes: Mapping[str, Any]
    published: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ablation:
    """A question, and the rows that answer it. The baseline is a row of its own, without changes."""

    question: str
    rows: Sequence[Row]
    published: Mapping[str, float] = field(default_factory=dict)

    def resolve(self, baseline: Recipe) -> list[tuple[Row, Recipe]]:
        """The baseline and every row as recipes.

        Raises:
            InterplayError: if a row does not apply to the baseline, or two rows have one label.
        """
        rows = [Row(BASELINE, {}, self.published), *self.rows]
        labels = [row.label for row in rows]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise InterplayError(f"two rows of the ablation are called {twice[0]!r}; give each its own label")
        resolved = []
        for row in rows:
            try:
                resolved.append((row, baseline.with_(dict(row.changes))))
            except InterplayError as error:
                raise InterplayError(f"row {row.label!r}: {error}") from None
        return resolved


def leave_one_out(question: str, parts: Mapping[str, Mapping[str, Any]]) -> Ablation:
    """One row for each part: the baseline with that part taken away."""
    return Ablation(question, [Row(f"no {name}", changes) for name, changes in parts.items()])
