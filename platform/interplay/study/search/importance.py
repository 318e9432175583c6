"""Which dimension of a search mattered, and which pairs of them together."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna import importance  # imports scikit-learn and pandas when it is used
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from interplay.errors import InterplayError
from interplay.study.search.objectives import Objective
from interplay.study.search.records import PARENT

FEWEST, FEW = 4, 10
"""Finished cells without which nothing is computed, and below which the numbers mean little."""

_TREES, _GRID, _BACKGROUND = 64, 8, 128
_TOP = 5
"""Cells that count as the best ones for PED-ANOVA, if that is more than a tenth; Optuna advises five."""


@dataclass(frozen=True)
class Importance:
    """Of one dimension, as shares of all dimensions.

    Attributes:
        name: of the parameter.
        fanova: share of the variance it explains alone (Hutter et al. 2014); None if some cells lack it, or have
            other limits of it.
        ped_anova: how much it sets the best cells apart (Watanabe et al. 2023); also where it is conditional.
        cells: finished cells that have it.
    """

    name: str
    fanova: float | None
    ped_anova: float
    cells: int


@dataclass(frozen=True)
class Interaction:
    """Share of the variance that a pair explains beyond what each of them does alone."""

    names: tuple[str, str]
    share: float


@dataclass(frozen=True)
class Importances:
    """What mattered for one objective, and how many finished cells say so. `of` is empty if all are the same."""

    objective: Objective
    cells: int
    of: tuple[Importance, ...]
    interactions: tuple[Interaction, ...]

    @property
    def conditional(self) -> tuple[str, ...]:
        """Dimensions that not every cell has, or not within the same limits: fANOVA and pairs leave them out."""
        return tuple(i.name for i in self.of if i.fanova is None)


def importances(
    study: optuna.Study, objectives: Sequence[Objective], by: Objective, most: int | None = None
) -> Importances:
    """What mattered for the objective `by` of a search; with `most`, over so many of its cells, evenly chosen.

    Of a population only the first generation is looked at: later ones have more behind them than their parameters.

    Raises:
        InterplayError: if fewer than four cells are finished.
    """
    trials = [
        t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE and PARENT not in t.user_attrs
    ]
    if len(trials) < FEWEST:
        raise InterplayError(f"importance takes {FEWEST} finished cells, better {FEW}; there are {len(trials)}")
    if most is not None and len(trials) > most:
        trials = [trials[i * len(trials) // most] for i in range(most)]
    place = list(objectives).index(by)

    def worse(trial: FrozenTrial) -> float:
        return (-1.0 if by.maximise else 1.0) * float(trial.values[place])

    if len({worse(trial) for trial in trials}) == 1:
        return Importances(by, len(trials), (), ())
    everywhere = _shared(trials)
    one = _single(trials, worse)
    share = min(0.5, max(0.1, _TOP / len(trials)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's, of experimental features
        evaluator = importance.PedAnovaImportanceEvaluator(target_quantile=share)
        ped = importance.get_param_importances(one, evaluator=evaluator)
        forest = importance.FanovaImportanceEvaluator(seed=0)
        fanova = importance.get_param_importances(one, evaluator=forest, params=everywhere) if everywhere else {}
    counts = {name: sum(name in t.params for t in trials) for name in ped}
    found = [Importance(name, fanova.get(name), value, counts[name]) for name, value in ped.items()]
    pairs = _interactions(trials, everywhere, worse) if len(everywhere) > 1 else []
    order = sorted(found, key=lambda i: (i.fanova is None, -(i.fanova or 0.0), -i.ped_anova))
    return Importances(by, len(trials), tuple(order), tuple(pairs))


def _shared(trials: Sequence[FrozenTrial]) -> list[str]:
    """Dimensions that every cell has, within the same limits."""
    first = trials[0].distributions
    return sorted(name for name in first if all(t.distributions.get(name) == first[name] for t in trials))


def _single(trials: Sequence[FrozenTrial], worse: Callable[[FrozenTrial], float]) -> optuna.Study:
    """The same cells with one objective, to be minimised."""
    study = optuna.create_study()
    study.add_trials(
        [optuna.trial.create_trial(params=t.params, distributions=t.distributions, value=worse(t)) for t in trials]
    )
    return study


def _interactions(
    trials: Sequence[FrozenTrial], names: Sequence[str], worse: Callable[[FrozenTrial], float]
) -> list[Interaction]:
    """Functional ANOVA of second order, on the cells as they are spread: the largest share first.

    A random forest is fitted, and its mean over the other dimensions (the partial dependence, Friedman 2001) is taken
    on a grid of each pair; what remains of its variance without both lone effects is the pair's.
    """
    from sklearn.ensemble import RandomForestRegressor

    x = np.array([[_number(t, name) for name in names] for t in trials])
    y = np.array([worse(t) for t in trials])
    forest = RandomForestRegressor(n_estimators=_TREES, random_state=0).fit(x, y)
    total = float(np.var(forest.predict(x)))
    if not total:
        return []
    background = x[np.random.default_rng(0).permutation(len(x))[:_BACKGROUND]]
    found = []
    for i, j in combinations(range(len(names)), 2):
        first, second = _levels(x[:, i]), _levels(x[:, j])
        mean = _partial(forest, background, (i, j), first, second)
        alone = mean.mean(axis=1, keepdims=True) + mean.mean(axis=0, keepdims=True) - mean.mean()
        found.append(Interaction((names[i], names[j]), float(np.mean((mean - alone) ** 2)) / total))
    return sorted(found, key=lambda pair: -pair.share)


def _partial(
    forest: Any, background: NDArray[np.float64], at: tuple[int, int], first: Any, second: Any
) -> NDArray[np.float64]:
    """[A, B] the forest's mean answer over the background, with two dimensions set to A and B levels."""
    one, other = np.meshgrid(first, second, indexing="ij")
    points = np.repeat(background[None], one.size, axis=0)
    points[:, :, at[0]], points[:, :, at[1]] = one.reshape(-1, 1), other.reshape(-1, 1)
    answers: NDArray[np.float64] = forest.predict(points.reshape(-1, background.shape[1]))
    mean: NDArray[np.float64] = answers.reshape(*one.shape, len(background)).mean(axis=2)
    return mean


def _levels(column: NDArray[np.float64]) -> NDArray[np.float64]:
    """Up to eight values, equally often below and above each other."""
    return np.unique(np.quantile(column, (np.arange(_GRID) + 0.5) / _GRID, method="nearest"))


def _number(trial: FrozenTrial, name: str) -> float:
    """A parameter as a forest splits it: choices by their place, what is logarithmic by its logarithm."""
    distribution, value = trial.distributions[name], trial.params[name]
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.choices.index(value))
    return float(np.log(value)) if getattr(distribution, "log", False) else float(value)
