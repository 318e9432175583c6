"""What can be known of a space or an ablation before anything is trained: what changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from interplay.data.labels import class_count
from interplay.data.manifest import read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.ablation import BASELINE, Ablation
from interplay.study.foresight.effects import Effects, built_on_meta, differ
from interplay.study.search.spaces import Space, SpaceFunction, bind, changes_of, random_draws
from interplay.tracking.store import Cell

_PAIRS = 6


def check_dimensions(space: SpaceFunction, base: Recipe, name: str) -> list[str]:
    """The dimensions of a space.

    Raises:
        InterplayError: if one changes neither the model, nor the batches, nor the optimiser.
    """
    dimensions, dead = dead_dimensions(space, base)
    if dead:
        raise InterplayError(
            f"{name}: {dead[0]!r} changes neither the model, nor the batches, nor the optimiser of {base.name}; "
            "remove the dimension or switch on what it belongs to"
        )
    return dimensions


def check_weights_fit(cells: Sequence[Cell], space: str) -> None:
    """Refuses a population whose members cannot take over each other's weights.

    Args:
        cells: some that the space proposes, of one data set.
        space: its name.

    Raises:
        InterplayError: if their models have weights of different names or shapes, at one resolution.
    """
    manifest, resolution, shapes = read_manifest(cells[0].dataset), cells[0].recipe.data.resolution, {}
    for recipe in (cell.recipe for cell in cells):
        model = built_on_meta(recipe.model, class_count(manifest, recipe), resolution)
        shapes[recipe.model] = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    first = next(iter(shapes.values()))
    for other in shapes.values():
        if different := [name for name in {*first, *other} if first.get(name) != other.get(name)]:
            raise InterplayError(
                f"a population's cells start from each other's weights, and {space} changes them ({min(different)}); "
                "leave out what changes the model's size"
            )


def check_rows(ablation: Ablation, base: Recipe) -> list[str]:
    """The rows that are trained, but for those that have another's cells on purpose.

    Raises:
        InterplayError: if one trains exactly as the baseline does.
    """
    (_, baseline), *rows = ablation.resolve(base)
    own = [(row, recipe) for row, recipe in rows if not row.same_as]
    was = Effects(baseline)
    same = [row.label for row, recipe in own if not was.differ(recipe)]
    if same:
        raise InterplayError(
            f"row {same[0]!r} trains exactly as the {BASELINE} does; remove it or change the baseline"
        )
    return [row.label for row, _ in own]


def dead_dimensions(space: SpaceFunction, base: Recipe, *, draws: int = 12) -> tuple[list[str], list[str]]:
    """Names of the dimensions of `space`, and of those that change nothing `effects` can see.

    Each dimension is changed alone, between values that random draws of the space took.

    Raises:
        InterplayError: if no draw of the space gives a recipe.
    """
    space = bind(space, base)
    params = [draw for draw in random_draws(space, draws) if _recipe_of(draw, space, base) is not None]
    if not params:
        base.with_(changes_of(space, random_draws(space, 1)[0]))  # says what is wrong with it
    names = sorted({name for p in params for name in p})
    return names, [name for name in names if not _matters(name, params, space, base)]


def _matters(name: str, params: list[dict[str, Any]], space: Space, base: Recipe) -> bool:
    have = sorted((p for p in params if name in p), key=lambda p: str(p[name]))
    pairs = [(one, other) for one, other in zip(have, reversed(have), strict=True) if one[name] != other[name]]
    compared = 0
    for one, other in pairs[:_PAIRS]:
        before = _recipe_of({**other, **one}, space, base)
        after = _recipe_of({**other, **one, name: other[name]}, space, base)
        if before is None or after is None:
            continue
        compared += 1
        if differ(before, after):
            return True
    return compared == 0  # never seen with two values: nothing can be said against it


def _recipe_of(params: Mapping[str, Any], space: Space, base: Recipe) -> Recipe | None:
    try:
        return base.with_(changes_of(space, params))
    except InterplayError:
        return None
