"""Ablations: a baseline recipe and named rows of changes, trained over the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_recipe

BASELINE = "baseline"

Changes = Mapping[str, Any]
"""Dotted recipe path -> value."""


@dataclass(frozen=True)
class Given:
    """A value of a change that whoever runs the ablation gives: `--give NAME=PATH`.

    Attributes:
        name: how it is given.
        what: for people: what it is.
    """

    name: str
    what: str


@dataclass(frozen=True)
class Row:
    """One line of an ablation table: what differs from the baseline, and what was published for it.

    Attributes:
        label: for people; unique in its table.
        changes: of the baseline, or of `recipe` where the row has one.
        published: metric -> the number printed for it.
        recipe: replaces the baseline, as a recipe or by name.
        published_std: metric -> the spread printed for it.
        same_as: label of the row whose cells this one has on purpose, `baseline` included.
        expects_failure: how its training failed where it was published; then it may fail here too.
        not_run: why it is not trained; the row shows its published numbers and no others.
    """

    label: str
    changes: Changes = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    recipe: Recipe | str | None = None
    published_std: Mapping[str, float] = field(default_factory=dict)
    same_as: str = ""
    expects_failure: str = ""
    not_run: str = ""

    def of(self, baseline: Recipe) -> Recipe:
        """The row's recipe.

        Raises:
            InterplayError: if there is no recipe of its name, or the changes do not apply.
        """
        try:
            base = find_recipe(self.recipe) if isinstance(self.recipe, str) else self.recipe or baseline
            return base.with_(dict(self.changes))
        except InterplayError as error:
            raise InterplayError(f"row {self.label!r}: {error}") from None


@dataclass(frozen=True)
class Ablation:
    """A question, and the rows that answer it. The baseline is a row of its own, without changes.

    Attributes:
        question: for people.
        rows: what is compared with the baseline.
        published: metric -> the number printed for the baseline.
        published_std: metric -> the spread printed for the baseline.
        baseline: the recipe that rows change where no other is given.
        baseline_label: what the table that this is from calls its baseline.
        kind: how the rows came about, such as `leave-one-out`.
        dataset: name of the data set that `--data` takes the place of; empty is the baseline's.
        scale: the declared scale that all recipes have been brought to, see `interplay.study.scale`.
    """

    question: str
    rows: Sequence[Row]
    published: Mapping[str, float] = field(default_factory=dict)
    published_std: Mapping[str, float] = field(default_factory=dict)
    baseline: Recipe | None = None
    baseline_label: str = BASELINE
    kind: str = ""
    dataset: str = ""
    scale: Mapping[str, float] = field(default_factory=dict)

    def lines(self) -> list[Row]:
        """The baseline and every row, in the table's order.

        Raises:
            InterplayError: if two have one label.
        """
        rows = [Row(BASELINE, {}, self.published, published_std=self.published_std), *self.rows]
        labels = [row.label for row in rows]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise InterplayError(f"two rows of the ablation are called {twice[0]!r}; give each its own label")
        return rows

    def resolve(self, baseline: Recipe) -> list[tuple[Row, Recipe]]:
        """The baseline and every row that is trained, as recipes.

        Raises:
            InterplayError: if a row does not apply to the baseline, or two rows have one label.
        """
        return [(row, row.of(baseline)) for row in self.lines() if not row.not_run]


def leave_one_out(question: str, parts: Mapping[str, Changes]) -> Ablation:
    """One row for each part: the baseline with that part taken away."""
    return Ablation(question, [Row(f"no {name}", changes) for name, changes in parts.items()], kind="leave-one-out")


def with_architecture(recipe: Recipe, name: str) -> Recipe:
    """`recipe` with an architecture of the thesis; drop path, its rule and dropout stay those of the recipe.

    Raises:
        InterplayError: if there is no architecture of that name.
    """
    changed = recipe.with_({"model": name, "name": f"{recipe.name} with {name}"})
    kept = {
        f"model.{field}": getattr(recipe.model, field)
        for field in ("drop_path", "drop_path_rule", "dropout")
        if hasattr(recipe.model, field) and hasattr(changed.model, field)
    }
    return changed.with_(kept)
