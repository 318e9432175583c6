"""Population-based training (Jaderberg et al. 2017) whose members are cells, generation by generation.

A cell of a later generation starts from the weights of one of the generation before, as a stage of its own: of the
same member, or, in place of the worst quarter, of one of the best quarter, whose parameters it takes and changes. So
a cell's recipe holds its whole line: what a population found can be trained again, and a population can be stopped
and extended as every search. Ray Tune's own changes a trial while it trains: no stored number belongs to one recipe
then, and who copies whom depends on who is faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from interplay.counter_rng import torch_seed
from interplay.recipe import Recipe
from interplay.study.search.spaces import Point
from interplay.tracking.store import Cell

RESAMPLED, FACTORS = 0.25, (0.8, 1.2)
"""How parameters that were taken over are changed, as in Ray Tune: with this probability drawn anew, otherwise
multiplied by one of these; choices that are not drawn anew stay."""

_SHARE = 4  # the worst quarter takes over from the best


@dataclass(frozen=True)
class Member:
    """One cell of a generation that has ended.

    Attributes:
        cell: whose weights are handed on.
        params: what the space suggested.
        distributions: of these parameters.
        value: the larger, the better; None if there is none: it diverged, or failed.
    """

    cell: Cell
    params: Point
    distributions: Mapping[str, BaseDistribution]
    value: float | None


def heir(generation: Sequence[Member], place: int, seed: int, attempt: int = 0) -> tuple[Cell, Point] | None:
    """Where the next generation's cell at `place` starts, and with which parameters; some may be left open.

    Args:
        generation: the one before, whole.
        place: of the member in it.
        seed: of the search, and of this generation.
        attempt: later ones propose something else.

    Returns:
        None if no member has a value.
    """
    order = sorted(range(len(generation)), key=lambda i: (-_value(generation[i]), i))
    quarter = max(1, len(order) // _SHARE)
    best = [generation[i] for i in order[:quarter] if generation[i].value is not None]
    if not best:
        return None
    own = generation[place]
    goes_on = own.value is not None and place not in order[-quarter:]
    if goes_on and not attempt:
        return own.cell, own.params
    random = np.random.default_rng(torch_seed("population", seed, place, attempt))
    parent = own if goes_on else best[int(random.integers(len(best)))]
    return parent.cell, _explored(parent, random)


def descended(recipe: Recipe, parent: Recipe) -> Recipe:
    """`recipe` as the stage after `parent`, which sees the images in another order and other views of them."""
    seeds = parent.seeds.model_copy(update={"order": parent.seeds.order + 1, "augment": parent.seeds.augment + 1})
    return recipe.model_copy(update={"start": None, "after": parent, "seeds": seeds})


def generation_of(recipe: Recipe, base: Recipe) -> int:
    """How many stages a population put between `recipe` and the search's `base`."""
    generation = 0
    while recipe.after is not None and recipe.after != base.after:
        recipe, generation = recipe.after, generation + 1
    return generation


def _value(member: Member) -> float:
    return float("-inf") if member.value is None else member.value


def _explored(member: Member, random: np.random.Generator) -> Point:
    kept: dict[str, Any] = {}
    for name, value in member.params.items():
        redrawn, factor = random.random() < RESAMPLED, random.choice(FACTORS)
        if not redrawn:
            kept[name] = _scaled(value, float(factor), member.distributions[name])
    return kept


def _scaled(value: Any, factor: float, within: BaseDistribution) -> Any:
    """A number, changed by one step at least; a choice stays."""
    if not isinstance(within, FloatDistribution | IntDistribution):
        return value
    scaled = value * factor
    if within.step:
        steps = round((scaled - value) / within.step) or (1 if factor > 1 else -1)
        scaled = value + steps * within.step
    scaled = min(max(float(f"{scaled:.12g}"), within.low), within.high)
    return int(scaled) if isinstance(within, IntDistribution) else scaled
