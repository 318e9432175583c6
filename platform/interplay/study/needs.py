"""What the rows of an ablation need that no recipe carries: data sets, teachers, second test sets, trained values."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from interplay.data import locate
from interplay.data.datasets import BUILT_IN
from interplay.errors import InterplayError
from interplay.recipe import NoDistillation, Recipe, fingerprint
from interplay.study.ablation import Ablation, Given

TEACHER = "teacher"
OTHER_SETS = ("real", "v2")
"""Names of second test sets that tables print numbers for, as `top1_v2`."""


def stages(recipe: Recipe) -> Iterator[Recipe]:
    """`recipe` and its earlier stages, the last one first."""
    stage: Recipe | None = recipe
    while stage is not None:
        yield stage
        stage = stage.after


def training_key(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """Two recipes with the same key are the same training, earlier stages included."""
    return tuple(
        (fingerprint(stage.model_copy(update={"after": None}), ""), stage.data.dataset) for stage in stages(recipe)
    )


def placeholders(value: Any) -> list[Given]:
    """Every `Given` in the values of changes."""
    if isinstance(value, Given):
        return [value]
    return [one for child in value.values() for one in placeholders(child)] if isinstance(value, Mapping) else []


def filled(value: Any, given: Mapping[str, str]) -> Any:
    """`value` with what is given in the place of each `Given`."""
    if isinstance(value, Given):
        return given[value.name]
    return {k: filled(v, given) for k, v in value.items()} if isinstance(value, Mapping) else value


def with_given(recipe: Recipe, given: Mapping[str, str]) -> Recipe:
    """`recipe` and its earlier stages on the data sets, with the teachers and the second test sets that are given."""
    changes: dict[str, Any] = {}
    if (dataset := given.get(recipe.data.dataset)) is not None:
        changes["data.dataset"] = dataset
    if path := next((given[name] for name in teacher_names(recipe) if name in given), None):
        changes["distillation.teacher.checkpoint"] = path
        changes["distillation.teacher.digest"] = ""
    also = dict(recipe.evaluation.also)
    for name in OTHER_SETS:
        if name in given and name not in also:
            changes[f"evaluation.also.{name}"] = given[name]
    earlier = None if recipe.after is None else with_given(recipe.after, given)
    return recipe.model_copy(update={"after": earlier}).with_(changes) if changes or earlier else recipe


def teacher_names(recipe: Recipe) -> list[str]:
    """What a recipe's teacher can be given as, the particular name first; empty without a teacher."""
    if isinstance(recipe.distillation, NoDistillation):
        return []
    model = recipe.distillation.teacher.model
    own = getattr(model, "name", None) or getattr(model, "family", None)
    return [own, TEACHER] if own else [TEACHER]


def missing(recipe: Recipe, root: Path, main: str, chosen: Collection[str]) -> str:
    """What `recipe` or an earlier stage lacks, to be said after the row's name; empty if nothing.

    Args:
        recipe: of the row.
        root: the storage root.
        main: the data set that `--data` takes the place of.
        chosen: data sets that were named by who runs it.
    """
    for stage in stages(recipe):
        if lacks := _missing(stage, root, main, chosen):
            return lacks
    return ""


def _missing(recipe: Recipe, root: Path, main: str, chosen: Collection[str]) -> str:
    name = recipe.data.dataset
    if name not in BUILT_IN:  # those are written when they are used
        try:
            locate(name, root / "datasets")
        except InterplayError as error:
            if name.endswith(".beton") or name in chosen:
                return f"cannot be trained: {error}"
            how = "--data " if name == main else f"--give {name}="
            return f"needs the data set {name}; give it with {how}PATH.beton"
    if not isinstance(recipe.distillation, NoDistillation) and not recipe.distillation.teacher.checkpoint:
        names = teacher_names(recipe)
        which = f" ({names[0]})" if len(names) > 1 else ""
        return f"needs the trained weights of its teacher{which}; give them with --give {names[0]}=PATH"
    return ""


def usable(recipes: Iterable[Recipe]) -> set[str]:
    """Names that can be given to some of `recipes`: their data sets and teachers."""
    return {
        name for recipe in recipes for stage in stages(recipe) for name in (stage.data.dataset, *teacher_names(stage))
    }


def needs(ablation: Ablation) -> list[str]:
    """Names of what its rows need, as they can be given."""
    found: set[str] = set()
    for row in ablation.lines():
        found |= {one.name for one in placeholders(row.changes)}
        if row.not_run or placeholders(row.changes) or ablation.baseline is None:
            continue
        found |= usable([row.of(ablation.baseline)])
    return sorted(found - {TEACHER})
