"""Optuna's samplers by name, and which searches each can do."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import optuna
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from interplay.counter_rng import torch_seed
from interplay.errors import InterplayError, closest

GRID, TPE = "grid", "tpe"

POPULATION = 20
"""Cells of a generation of NSGA-II and NSGA-III, whose first one is random: Optuna's 50 is most searches' whole."""

_SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    TPE: lambda seed, draw: TPESampler(seed=draw, multivariate=True, group=True, constant_liar=True),
    "gp": lambda seed, draw: GPSampler(seed=draw, warn_independent_sampling=False),
    "cmaes": lambda seed, draw: CmaEsSampler(seed=draw, warn_independent_sampling=False),
    "nsga2": lambda seed, draw: NSGAIISampler(seed=draw, population_size=POPULATION),
    "nsga3": lambda seed, draw: NSGAIIISampler(seed=draw, population_size=POPULATION),
    "random": lambda seed, draw: RandomSampler(seed=draw),
    # one sequence for the whole search; what is not part of it is drawn anew
    "qmc": lambda seed, draw: QMCSampler(
        seed=seed, scramble=True, independent_sampler=RandomSampler(seed=draw), warn_independent_sampling=False
    ),
    # the cells of a grid are given; nothing is left to draw
    GRID: lambda seed, draw: RandomSampler(seed=draw),
}

SAMPLERS = tuple(_SAMPLERS)


def check_sampler(name: str, objectives: int) -> None:
    """Refuses what cannot work.

    Raises:
        InterplayError: if there is no such sampler, or it optimises one objective only.
    """
    if name not in _SAMPLERS:
        raise InterplayError(f"there is no sampler {name!r}{closest(name, SAMPLERS) or f'; use {_listed()}'}")
    if name == "cmaes" and objectives > 1:
        raise InterplayError(f"cmaes optimises one objective, not {objectives}; use --sampler tpe, gp or nsga2")


def make_sampler(name: str, seed: int, draw: tuple[int, int] = (0, 0)) -> BaseSampler:
    """A fresh sampler for one draw.

    Args:
        name: one of `SAMPLERS`.
        seed: of the search.
        draw: which proposal, and which attempt at it: a search that was stopped draws what it would have.

    Raises:
        InterplayError: if there is none of that name.
    """
    check_sampler(name, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate and group
        sequence, single = torch_seed("sequence", seed, 0), torch_seed("sampler", seed, *draw)
        return _SAMPLERS[name](sequence % 2**32, single % 2**32)


def attempts_of(name: str) -> int:
    """How often a sampler is asked again for a cell that may not be trained, or that the study has, until one is
    drawn at random. TPE repeats what it likes; the Gaussian process says the same again, and takes seconds for it.
    """
    return 3 if name == "gp" else 20


def _listed() -> str:
    return ", ".join(SAMPLERS)
