"""Which of our recipes a procedure of the thesis is, for an architecture and a data set."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from interplay.recipe import NoDistillation, Recipe, find_function, find_recipe
from interplay.recipe.catalogue import architecture
from interplay.recipe.find import names
from interplay.study.ablation import with_architecture
from recipes.sources import NOT_BUILT, Origin, origin_of

_TAUGHT = {"deit_ft384": "deit_distill_ft384", "cait_ft384": "cait_ft384_distill"}
"""How models that learn from a teacher are fine-tuned."""


class NotHere(Exception):
    """A line of a table cannot be trained here; the message says why."""


@functools.cache
def _origins() -> Mapping[str, Origin]:
    found = {name: origin_of(find_function(name, package="recipes")) for name in names("recipes")}
    return {name: origin for name, origin in found.items() if origin is not None}


@functools.cache
def first_stage(procedure: str, model: str, dataset: str = "") -> Recipe:
    """The recipe of `procedure` for an architecture; one for another architecture gets this one, if there is none.

    Args:
        procedure: of `recipes/thesis.yaml`, or the name of a recipe (`resmlp.s12`).
        model: of `interplay.recipe.catalogue`.
        dataset: where the procedure differs between data sets.

    Raises:
        NotHere: if the procedure has no recipe.
    """
    if "." in procedure:
        return find_recipe(procedure)
    if procedure in NOT_BUILT:
        raise NotHere(NOT_BUILT[procedure])
    mine = {
        name: origin
        for name, origin in _origins().items()
        if (origin.procedure, origin.dataset) == (procedure, dataset)
    }
    if not mine:
        raise NotHere(f"there is no recipe of the procedure {procedure}" + (f" for {dataset}" if dataset else ""))
    # the one that departs least from the procedure; of the same family if the architecture is none of its own
    family = architecture(model).family
    name = min(
        mine,
        key=lambda n: (mine[n].model != model, architecture(mine[n].model).family != family, len(mine[n].because), n),
    )
    recipe = find_recipe(name)
    return recipe if mine[name].model == model else with_architecture(recipe, model)


def second_stage(first: Recipe, procedure: str, model: str, side: int | None = None) -> Recipe:
    """`first` fine-tuned by `procedure`, at its size or at `side`. The teacher, if there is one, stays.

    Raises:
        NotHere: if the procedure has no recipe.
    """
    taught = not isinstance(first.distillation, NoDistillation)
    plain = {v: k for k, v in _TAUGHT.items()}
    procedure = _TAUGHT.get(procedure, procedure) if taught else plain.get(procedure, procedure)
    like = first_stage(procedure, model)
    side = side or like.data.resolution
    trained = {k: getattr(like.model, k) for k in ("drop_path", "dropout") if hasattr(like.model, k)}
    update: dict[str, Any] = {
        "name": f"{first.name}, {procedure}",
        "model": first.model.model_copy(update={k: v for k, v in trained.items() if hasattr(first.model, k)}),
        "after": first,
        "data": like.data.model_copy(update={"resolution": side}),
    }
    if not isinstance(first.distillation, NoDistillation):
        update["distillation"] = first.distillation.model_copy(update={"teacher_resolution": side})
    return like.model_copy(update=update)
