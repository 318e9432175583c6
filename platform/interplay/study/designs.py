"""The kinds of ablations as functions: which rows a question needs. `leave_one_out` is beside `Ablation`.

Each takes `published`: the label of a row -> metric -> the number printed for it; `baseline` is a label too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_recipe
from interplay.study.ablation import BASELINE, Ablation, Changes, Row

Published = Mapping[str, Mapping[str, float]]


def add_one_in(question: str, parts: Mapping[str, Changes], *, published: Published | None = None) -> Ablation:
    """One row for each part: the baseline with that part alone added."""
    return _ablation(question, "add-one-in", ((f"+ {name}", part) for name, part in parts.items()), published)


def path(question: str, steps: Mapping[str, Changes], *, published: Published | None = None) -> Ablation:
    """One row for each step, in order: the baseline with this step and all before it."""
    rows, so_far = [], dict[str, Any]()
    for name, changes in steps.items():
        so_far = {**so_far, **changes}
        rows.append((f"+ {name}", so_far))
    return _ablation(question, "path", rows, published)


def one_factor(question: str, factor: str, values: Sequence[Any], *, published: Published | None = None) -> Ablation:
    """One row for each value of one dotted path, labelled `heads 4`; `values` leaves out the baseline's own."""
    return _ablation(question, "one-factor", _crossed({factor: values}), published)


def grid(question: str, factors: Mapping[str, Sequence[Any]], *, published: Published | None = None) -> Ablation:
    """One row for each combination of values, the last factor changing fastest: `depth 4, heads 2`."""
    return _ablation(question, "grid", _crossed(factors), published)


def fractional_factorial(
    question: str,
    parts: Mapping[str, Changes],
    *,
    halvings: int = 1,
    generators: str = "",
    published: Published | None = None,
) -> Ablation:
    """Rows that switch on about half of the parts each, so that every part's effect is estimated from all of them.

    2^(parts - halvings) combinations of parts, not 2^parts. The one without any part is the baseline and no row.

    Args:
        question: for people, who are told which effects cannot be told apart.
        parts: name -> what switching it on changes.
        halvings: how often the number of combinations is halved; pyDOE3 finds the design that mixes up the least.
        generators: a design of your own in its place, as `a b c abc`.
        published: see the module.

    Raises:
        InterplayError: if there is no such design.
    """
    from pyDOE3 import fracfact, fracfact_aliasing, fracfact_opt

    if not generators and not 0 < halvings < len(parts) - 1:
        raise InterplayError(
            f"{len(parts)} parts allow 1 to {len(parts) - 2} halvings, not {halvings}; a grid has all combinations"
        )
    try:
        design = fracfact(generators or fracfact_opt(len(parts), halvings)[0])
    except (ValueError, KeyError, IndexError) as error:
        raise InterplayError(
            f"there is no such design of {len(parts)} parts: {error}; give other generators"
        ) from None
    if design.shape[1] != len(parts):
        raise InterplayError(f"generators {generators!r} make {design.shape[1]} columns for {len(parts)} parts")
    rows = []
    for run in design:
        on = [name for name, level in zip(parts, run, strict=True) if level > 0]
        if on:
            rows.append((" + ".join(on), {path: value for name in on for path, value in parts[name].items()}))
    letters = ", ".join(f"{letter} {name}" for letter, name in zip("abcdefghijklmnop", parts, strict=False))
    mixed = "; ".join(alias for alias in fracfact_aliasing(design)[0] if "=" in alias)
    told = f"{question} Not told apart ({letters}): {mixed}."
    return _ablation(told, "fractional factorial", rows, published)


def repeats(question: str, *, published: Mapping[str, float] | None = None) -> Ablation:
    """The baseline alone: how much seeds change."""
    return Ablation(question, [], published=published or {}, kind="repeats")


def comparison(question: str, recipes: Mapping[str, Recipe | str], *, published: Published | None = None) -> Ablation:
    """Recipes side by side, the first of which is the baseline.

    Raises:
        InterplayError: if there are none, or no recipe of a name.
    """
    return _of_recipes(question, "comparison", recipes, published)


def transfer(
    question: str,
    earlier: Mapping[str, Recipe | str],
    dataset: str,
    changes: Changes | None = None,
    *,
    published: Published | None = None,
) -> Ablation:
    """First trainings compared by what fine-tuning them on another data set gives; the first is the baseline.

    Args:
        question: for people.
        earlier: label -> the first training. Rows that share one train it once.
        dataset: that all are fine-tuned on.
        changes: of the first training's recipe, while fine-tuning.
        published: see the module.

    Raises:
        InterplayError: if there are no first trainings, or the changes do not apply to one.
    """
    after = {label: find_recipe(first) if isinstance(first, str) else first for label, first in earlier.items()}
    second = {
        label: first.with_({"data.dataset": dataset, **(changes or {}), "after": first})
        for label, first in after.items()
    }
    return _of_recipes(question, "transfer", second, published)


def _of_recipes(
    question: str, kind: str, recipes: Mapping[str, Recipe | str], published: Published | None
) -> Ablation:
    if not recipes:
        raise InterplayError(f"a {kind} needs recipes to compare")
    (first, baseline), *others = recipes.items()
    known = published or {}
    return Ablation(
        question,
        [Row(label, {}, known.get(label, {}), recipe=recipe) for label, recipe in others],
        published=known.get(first, {}),
        baseline=find_recipe(baseline) if isinstance(baseline, str) else baseline,
        baseline_label=first,
        kind=kind,
    )


def _crossed(factors: Mapping[str, Sequence[Any]]) -> Iterable[tuple[str, Changes]]:
    for values in itertools.product(*factors.values()):
        changes = dict(zip(factors, values, strict=True))
        yield ", ".join(f"{name.rsplit('.', 1)[-1]} {_short(value)}" for name, value in changes.items()), changes


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(getattr(value, "kind", value))


def _ablation(question: str, kind: str, rows: Iterable[tuple[str, Changes]], published: Published | None) -> Ablation:
    known = published or {}
    lines = [Row(label, changes, known.get(label, {})) for label, changes in rows]
    if strange := sorted(known.keys() - {row.label for row in lines} - {BASELINE}):
        labels = ", ".join(repr(row.label) for row in lines)
        raise InterplayError(f"numbers are published for {strange[0]!r}, which is no row; rows are {labels}")
    return Ablation(question, lines, published=known.get(BASELINE, {}), kind=kind)
