"""Search spaces: functions of an Optuna trial, or of a trial and the recipe, that return changes. They add up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from interplay.errors import InterplayError
from interplay.recipe import Recipe, flatten

Changes = Mapping[str, Any]
"""Dotted recipe path -> value."""

Space = Callable[[optuna.Trial], Changes]
"""A search space around one recipe: suggests values on a trial and returns changes."""

SpaceFunction = Callable[..., Changes]
"""What a person writes: a function of (trial), or of (trial, recipe) where the recipe sets limits."""

Point = Mapping[str, Any]
"""Parameter name -> value; it may leave parameters open."""

Marked = TypeVar("Marked", bound=SpaceFunction)

Owners = dict[str, tuple[int, str]]
"""What several spaces set together: name -> which of them, and what it is called."""

_PUBLISHED = "published"
_DRAWS, _LOOKED_AT = 200, 32


def bind(space: SpaceFunction, base: Recipe) -> Space:
    """`space` around `base`, as a function of the trial alone.

    Raises:
        InterplayError: if it is no function of (trial) or (trial, recipe).
    """
    wanted = [
        p
        for p in inspect.signature(space).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    if len(wanted) not in (1, 2):
        raise InterplayError(
            f"{_name(space)} takes {len(wanted)} arguments; a search space takes (trial) or (trial, recipe)"
        )
    return space if len(wanted) == 1 else lambda trial: space(trial, base)


def combine(*spaces: SpaceFunction) -> SpaceFunction:
    """The changes of several spaces together; their published points of one name become one point.

    When it is called, it raises InterplayError if two spaces set one path.
    """

    def combined(trial: optuna.Trial, recipe: Recipe) -> Changes:
        changes: dict[str, Any] = {}
        owners: Owners = {}
        suggested: Owners = {}
        for owner in enumerate(map(_name, spaces)):
            space = bind(spaces[owner[0]], recipe)
            for path, value in space(_Part(trial, owner, suggested)).items():  # type: ignore[arg-type]
                _own(path, owner, owners)
                changes[path] = value
        return changes

    points: dict[str, dict[str, Any]] = {}
    for space in spaces:
        for name, point in published_points(space).items():
            points.setdefault(name, {}).update(point)
    combined.__name__ = "+".join(_name(space) for space in spaces)
    return published(points)(combined)


class _Part:
    """A trial as one of several spaces sees it: it may not suggest what another one has."""

    def __init__(self, trial: optuna.Trial, owner: tuple[int, str], owners: Owners) -> None:
        self._trial, self._owner, self._owners = trial, owner, owners

    @property
    def params(self) -> dict[str, Any]:
        return self._trial.params

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        _own(name, self._owner, self._owners)
        return self._trial.suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        _own(name, self._owner, self._owners)
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        _own(name, self._owner, self._owners)
        return self._trial.suggest_categorical(name, choices)


def _own(name: str, owner: tuple[int, str], owners: Owners) -> None:
    if (first := owners.setdefault(name, owner)) != owner:
        raise InterplayError(f"{first[1]} and {owner[1]} both set {name}; leave one of the spaces out")


def published(points: Mapping[str, Point]) -> Callable[[Marked], Marked]:
    """Gives a space points that were published: name -> parameters, as the space calls them.

    A point may leave parameters open, and may name some that the space does not ask for.
    """

    def mark(space: Marked) -> Marked:
        vars(space)[_PUBLISHED] = {name: dict(point) for name, point in points.items()}
        return space

    return mark


def published_points(space: SpaceFunction) -> dict[str, dict[str, Any]]:
    """The published points of a space, by name."""
    return dict(getattr(space, _PUBLISHED, {}))


class Unsuited(InterplayError):
    """Given parameters are not what a space asks for: one is missing, or has a value that is not allowed."""


class _Given(optuna.trial.FixedTrial):
    """A trial on which given values are suggested, and nothing else."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        super().__init__(dict(answers))
        self._answers = answers

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self._check(name, FloatDistribution(low, high, log=log, step=step))
        return super().suggest_float(name, low, high, step=step, log=log)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self._check(name, IntDistribution(low, high, log=log, step=step))
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self._check(name, CategoricalDistribution(choices))
        return super().suggest_categorical(name, choices)

    def _check(self, name: str, distribution: BaseDistribution) -> None:
        if name not in self._answers:
            raise Unsuited(f"{name} is left open")
        value = self._answers[name]
        if not _holds({name: distribution}, {name: value}):
            raise Unsuited(f"{name}={value!r} is not in {distribution}")


def is_allowed(trial: optuna.Trial) -> bool:
    """Whether a trial has values that its space allows: Optuna takes a value that it is given as it is."""
    return _holds(trial.distributions, trial.params)


def _holds(distributions: Mapping[str, BaseDistribution], params: Point) -> bool:
    """Whether each value is one that its distribution can draw."""
    try:  # it refuses others
        optuna.trial.create_trial(params=dict(params), distributions=dict(distributions), value=0.0)
    except (ValueError, TypeError):
        return False
    return True


def replay(space: Space, answers: Mapping[str, Any]) -> FrozenTrial:
    """The trial on which `space` was suggested what `answers` holds: parameters and distributions.

    Raises:
        Unsuited: if it asks for a parameter that is not there, or whose value it does not allow.
    """
    trial = _Given(answers)
    space(trial)  # type: ignore[arg-type]
    return optuna.trial.create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)


def changes_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that `space` makes of given parameters.

    Raises:
        Unsuited: see `replay`.
    """
    return dict(space(_Given(params)))  # type: ignore[arg-type]


def answers_of(recipe: Recipe) -> dict[str, Any]:
    """Every value of a recipe by its dotted path; a choice between kinds is there by its name too."""
    answers = flatten(recipe)
    for path, value in list(answers.items()):
        if path.endswith(".kind"):
            answers[path.removesuffix(".kind")] = value
    return answers


def random_draws(space: Space, count: int) -> list[dict[str, Any]]:
    """What `count` random trials of `space` suggested: parameter name -> value."""
    return [dict(trial.params) for trial, _ in _draws(space, count)]


def check_feasible(space: Space, base: Recipe, refuse: Callable[[Recipe], str] = lambda recipe: "") -> None:
    """Refuses a space of which no random draw gives a recipe.

    Args:
        space: whose own errors are raised, from 32 draws at least: some may stand in a branch.
        base: the recipe it changes.
        refuse: says why a recipe that is complete is not wanted, or "".

    Raises:
        InterplayError: saying what is wrong with the last draw.
    """
    reason, feasible = "", False
    for number, (_, changes) in enumerate(_draws(space, _DRAWS)):
        if not feasible:
            reason = _refused(base, changes, refuse)
            feasible = not reason
        if feasible and number + 1 >= _LOOKED_AT:
            return
    raise InterplayError(f"the search space proposes nothing the recipe accepts: {reason}")


def _refused(base: Recipe, changes: Changes, refuse: Callable[[Recipe], str]) -> str:
    try:
        return refuse(base.with_(dict(changes)))
    except InterplayError as error:
        return str(error)


def _draws(space: Space, count: int) -> Iterator[tuple[optuna.Trial, Changes]]:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    for _ in range(count):
        trial = study.ask()
        yield trial, space(trial)


def _name(space: SpaceFunction) -> str:
    """As a person names it: `regularisation.dropout`."""
    name = str(getattr(space, "__name__", type(space).__name__))
    module = str(getattr(space, "__module__", "")).removeprefix("search_spaces.")
    return name if module == __name__ or not module else f"{module}.{name}"


# ---------------------------------------------------------------------------------------------- grids
class _Walk:
    """A trial that takes given choices, then the first one of everything else it is asked for."""

    def __init__(self, choices: list[int]) -> None:
        self.params: dict[str, Any] = {}
        self.taken: list[tuple[int, int]] = []  # the choice, out of how many
        self._choices = choices

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self._take(name, list(choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._take(name, list(range(low, high + 1, step))))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        if step is None:
            raise InterplayError(
                f"a grid has no end for {name}, which is continuous; give it a step, or use --sampler qmc"
            )
        # rounded, so that 3 steps of 0.05 are 0.15
        count = int((high - low) / step + 1e-9) + 1
        return float(self._take(name, [round(low + i * step, 12) for i in range(count)]))

    def _take(self, name: str, values: list[Any]) -> Any:
        if name not in self.params:
            place = len(self.taken)
            choice = self._choices[place] if place < len(self._choices) else 0
            self.taken.append((choice, len(values)))
            self.params[name] = values[choice]
        return self.params[name]


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a space whose dimensions are all discrete, in order; the last dimension changes first.

    Raises:
        InterplayError: if a dimension is continuous.
    """
    choices: list[int] | None = []
    while choices is not None:
        walk = _Walk(choices)
        space(walk)  # type: ignore[arg-type]
        yield walk.params
        more = [i for i, (choice, count) in enumerate(walk.taken) if choice + 1 < count]
        choices = [c for c, _ in walk.taken[: more[-1]]] + [walk.taken[more[-1]][0] + 1] if more else None
