"""The sampler's view of a search: everything that was proposed, in order, and how it ended. In memory only.

What a sampler keeps between draws lives here, and goes with the records, so that a search that was stopped and
built up again draws what it would have drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from interplay.study.search.objectives import Objective
from interplay.study.search.records import directions_of
from interplay.study.search.samplers import TPE, check_sampler, make_sampler
from interplay.study.search.spaces import Point

REJECTED, KEPT = "rejected", "sampler"
"""User attributes of a record: the draws that were turned down before it, and what its sampler keeps."""

Rejected = dict[str, Any]
"""`params` and `violations` of a draw that cannot be trained; without them, it was a cell the study has."""


class Sampling:
    """An Optuna study in memory, told what every draw came to.

    TPE learns from draws that broke a constraint; the other samplers are not told of them, they draw again.
    """

    def __init__(self, objectives: Sequence[Objective], sampler: str, seed: int) -> None:
        check_sampler(sampler, len(objectives))
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._several = len(objectives) > 1
        self._sampler, self._seed = sampler, seed
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, directions=directions_of(objectives))
        self._id = self._storage.get_study_id_from_name(self._study.study_name)
        self._kept: dict[str, Any] = {}
        self._rejected: list[Rejected] = []

    def ask(self, proposal: int, attempt: int, *, fixed: Point | None = None, random: bool = False) -> optuna.Trial:
        """A trial for the space to be called with; `fixed` parameters are taken as they are."""
        name = "random" if random else self._sampler
        self._study.sampler = make_sampler(name, self._seed, (proposal, attempt))
        if fixed is not None:
            self._study.enqueue_trial(dict(fixed))
        return self._study.ask()

    def reject(self, trial: optuna.Trial, violations: Mapping[str, float] | None = None) -> None:
        """The draw was turned down: it breaks `violations`, or the study has that cell."""
        rejected: Rejected = {}
        if violations:
            rejected = {"params": dict(trial.params), "violations": dict(violations)}
        self._rejected.append(rejected)
        if violations and self._sampler == TPE:
            for name, excess in violations.items():
                trial.set_constraint(name, excess)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def accept(self, trial: optuna.Trial) -> tuple[FrozenTrial, dict[str, Any], dict[str, Any]]:
        """The draw as it is recorded: with its user and system attributes, which `add` understands."""
        drawn = self._study.get_trials(deepcopy=False)[trial.number]
        attributes: dict[str, Any] = {}
        if self._rejected:
            attributes[REJECTED], self._rejected = self._rejected, []
        kept = self._storage.get_study_system_attrs(self._id)
        if changed := {key: value for key, value in kept.items() if self._kept.get(key) != value}:
            attributes[KEPT] = changed
            self._kept |= changed
        # a point that was asked for has nothing to be asked again
        system = {k: v for k, v in drawn.system_attrs.items() if k != "fixed_params"}
        return drawn, attributes, system

    def add(self, trial: FrozenTrial, *, rejected: Sequence[FrozenTrial | None] = ()) -> int:
        """A trial that was recorded, after the draws turned down before it (None: a cell the study had).

        Returns:
            Its number here.
        """
        for draw in rejected:
            self._study.add_trial(draw if draw and self._sampler == TPE else _failed())
        for key, value in trial.user_attrs.get(KEPT, {}).items():
            self._storage.set_study_system_attr(self._id, key, value)
            self._kept[key] = value
        if self._several and trial.state == TrialState.PRUNED:
            trial = _failed()  # TPE cannot rank what was cut by several objectives
        self._study.add_trial(trial)
        return len(self._study.get_trials(deepcopy=False)) - 1

    def tell(
        self,
        number: int,
        state: TrialState,
        values: Sequence[float] | None,
        intermediate: Mapping[int, float] | None = None,
    ) -> None:
        """How a trial ended, as `Records.end` has it."""
        if self._several and state == TrialState.PRUNED:
            state, intermediate = TrialState.FAIL, None
        trial = self._storage.get_trial_id_from_study_id_trial_number(self._id, number)
        for epoch, value in (intermediate or {}).items():
            self._storage.set_trial_intermediate_value(trial, epoch, value)
        self._study.tell(number, values, state=state)


def infeasible(trial: FrozenTrial, violations: Mapping[str, float]) -> FrozenTrial:
    """The draw that broke `violations`, as `Sampling.reject` tells it."""
    return optuna.trial.create_trial(
        state=TrialState.PRUNED,
        params=trial.params,
        distributions=trial.distributions,
        constraints=dict(violations),
    )


def complete(trial: FrozenTrial, values: Sequence[float]) -> FrozenTrial:
    """A cell that another study trained, as the sampler is told it."""
    return optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, values=list(values))


def _failed() -> FrozenTrial:
    return optuna.trial.create_trial(state=TrialState.FAIL)
