"""Which cell next? The Optuna study is the truth of a search. The one importer of optuna.

The persistent study holds one record for each cell and nothing else. Proposals are made on a copy in
memory; a proposal becomes a record, with its cell, in one write. So a driver that is killed at any moment
leaves either a cell or nothing, and what it left unfinished is handed out first by the next driver.
"""

from __future__ import annotations

import json
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from interplay.counter_rng import torch_seed
from interplay.errors import InterplayError, closest
from interplay.recipe import Recipe
from interplay.tracking.store import FINISHED, Cell, CellResult, CellStore

Space = Callable[[optuna.Trial], Mapping[str, Any]]
"""A search space: suggests values on a trial and returns changes."""

_ATTEMPTS, _RANDOM = 50, 200
"""Proposals of the sampler, then random ones, before a space counts as exhausted: TPE repeats what it likes."""

CELL, CHANGES, MESSAGE = "cell", "changes", "message"
"""User attributes of a record: the cell's fingerprint, its changes as JSON, why it failed."""


class Proposals(Protocol):
    """Hands out cells to be trained, and is told what became of them."""

    def next(self) -> Cell | None:
        """The next cell to train, or None when there is none left."""
        ...

    def settle(self, fingerprint: str, message: str | None = None) -> None:
        """The cell has ended: its result is in the store, or `message` says why there is none."""
        ...


class ListedCells:
    """The cells of an ablation, in order, each once."""

    def __init__(self, cells: list[Cell]) -> None:
        self._left = deque(cells)

    def next(self) -> Cell | None:
        return self._left.popleft() if self._left else None

    def settle(self, fingerprint: str, message: str | None = None) -> None:
        """The store is the truth; nothing more is kept."""


class OptunaProposals:
    """Cells that a sampler proposes, until `target` cells are in the study."""

    def __init__(
        self,
        directory: Path,
        space: Space,
        base: Recipe,
        dataset: Path,
        store: CellStore,
        *,
        target: int,
        metric: str,
        sampler: str = "tpe",
        seed: int = 0,
        earlier: Cell | None = None,
    ) -> None:
        self._space, self._base, self._dataset, self._store = space, base, dataset, store
        self._earlier = earlier
        self._target, self._metric, self._sampler, self._seed = target, metric, sampler, seed
        make_sampler(sampler, seed)  # a wrong name is refused before anything is written
        self._storage = _storage(directory)
        self._study = _open(directory.name, self._storage)
        _quiet()
        self._memory = optuna.create_study(direction="maximize")
        self._numbers: dict[str, int] = {}  # fingerprint -> number in the persistent study
        self._asked: dict[str, optuna.Trial | int] = {}  # fingerprint -> the same trial in memory
        self._unfinished: deque[Cell] = deque()
        for record in self._study.get_trials(deepcopy=False):
            self._take_up(record)

    def known(self) -> list[Cell]:
        """The cells the study has already, in the order they were proposed."""
        records = self._study.get_trials(deepcopy=False)
        return [self._cell(record) for record in records]

    def next(self) -> Cell | None:
        if self._unfinished:
            return self._unfinished.popleft()
        while len(self._numbers) < self._target:
            cell = self._propose()
            if cell is None:
                return None
            if self._store.result(cell.fingerprint) is None:
                return cell
            self.settle(cell.fingerprint)  # trained before, by this study or another
        return None

    def settle(self, fingerprint: str, message: str | None = None) -> None:
        result = self._store.result(fingerprint)
        value = result.metric(self._metric) if result is not None else None
        if value is not None:
            state = TrialState.COMPLETE
        else:
            state = TrialState.FAIL
            self._record_failure(fingerprint, message or self._why(result))
        self._study.tell(self._numbers[fingerprint], value, state=state, skip_if_finished=True)
        self._memory.tell(self._asked[fingerprint], value, state=state, skip_if_finished=True)

    def _why(self, result: CellResult | None) -> str:
        if result is None:
            return "no result"
        return f"{self._metric} is not a finite number" if result.status == FINISHED else result.status

    def _record_failure(self, fingerprint: str, reason: str) -> None:
        number = self._numbers[fingerprint]
        if not self._study.get_trials(deepcopy=False)[number].state.is_finished():
            study_id = self._storage.get_study_id_from_name(self._study.study_name)
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
            self._storage.set_trial_user_attr(trial_id, MESSAGE, reason)

    def _take_up(self, record: FrozenTrial) -> None:
        fingerprint = record.user_attrs[CELL]
        self._numbers[fingerprint] = record.number
        self._memory.add_trial(record)
        self._asked[fingerprint] = len(self._memory.get_trials(deepcopy=False)) - 1
        if record.state.is_finished():
            return
        if self._store.result(fingerprint) is not None:
            self.settle(fingerprint)
        else:
            self._unfinished.append(self._cell(record))

    def _cell(self, record: FrozenTrial) -> Cell:
        return self._changed(json.loads(record.user_attrs[CHANGES]))

    def _changed(self, changes: Mapping[str, Any]) -> Cell:
        recipe = self._base.with_(dict(changes))
        if recipe.after != self._base.after:
            raise InterplayError("a search varies one stage: search the earlier stage in a study of its own")
        return Cell(recipe, self._dataset, self._earlier)

    def _propose(self) -> Cell | None:
        """A cell the study does not have yet, recorded; None if the space seems to hold no more."""
        refused = ""
        for attempt in range(_ATTEMPTS + _RANDOM):
            # seeded by the number of records, so that a search that was stopped proposes what it would have
            seed = torch_seed("sampler", self._seed, len(self._numbers), attempt)
            self._memory.sampler = make_sampler(self._sampler if attempt < _ATTEMPTS else "random", seed)
            trial = self._memory.ask()
            changes = dict(self._space(trial))
            try:
                cell = self._changed(changes)
            except InterplayError as error:
                refused = str(error)
                self._memory.tell(trial, state=TrialState.FAIL)
                continue
            if cell.fingerprint in self._numbers:
                self._memory.tell(trial, state=TrialState.FAIL)
                continue
            self._add(trial, cell, changes)
            return cell
        if refused and not self._numbers:
            raise InterplayError(f"the search space proposes nothing the recipe accepts: {refused}")
        return None

    def _add(self, trial: optuna.Trial, cell: Cell, changes: dict[str, Any]) -> None:
        asked = self._memory.get_trials(deepcopy=False)[trial.number]
        self._study.add_trial(
            optuna.trial.create_trial(
                state=TrialState.RUNNING,
                params=asked.params,
                distributions=asked.distributions,
                user_attrs={CELL: cell.fingerprint, CHANGES: json.dumps(changes)},
            )
        )
        self._numbers[cell.fingerprint] = len(self._numbers)
        self._asked[cell.fingerprint] = trial


def random_draws(space: Space, count: int) -> list[dict[str, Any]]:
    """What `count` random trials of `space` suggested: parameter name -> value."""
    _quiet()
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    draws = []
    for _ in range(count):
        trial = study.ask()
        space(trial)
        draws.append(dict(trial.params))
    return draws


def check_feasible(space: Space, base: Recipe) -> None:
    """Refuses a space of which no random draw gives a recipe.

    Raises:
        InterplayError: saying what is wrong with the last draw.
    """
    _quiet()
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    refused: InterplayError | None = None
    for _ in range(_RANDOM):
        try:
            base.with_(dict(space(study.ask())))
            return
        except InterplayError as error:
            refused = error
    raise InterplayError(f"the search space proposes nothing the recipe accepts: {refused}")


def changes_of(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that `space` makes of given parameters.

    Raises:
        ValueError: if `space` asks for a parameter that is not given.
    """
    return dict(space(optuna.trial.FixedTrial(dict(params))))  # type: ignore[arg-type]


def open_study(directory: Path) -> optuna.Study:
    """The persistent Optuna study of a search, for reading.

    Raises:
        InterplayError: if the search has not been started.
    """
    if not _journal(directory).is_file():
        raise InterplayError(f"study {directory.name!r} has not been started: there is no {_journal(directory)}")
    return _open(directory.name, _storage(directory))


def _journal(directory: Path) -> Path:
    return directory / "optuna.journal"


def _storage(directory: Path) -> optuna.storages.JournalStorage:
    directory.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(str(_journal(directory)))
    return optuna.storages.JournalStorage(backend)


def _open(name: str, storage: optuna.storages.JournalStorage) -> optuna.Study:
    _quiet()
    return optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)


def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def make_sampler(name: str, seed: int) -> BaseSampler:
    """A fresh sampler.

    Raises:
        InterplayError: if there is none of that name.
    """
    seed %= 2**32
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True),
        "random": lambda: RandomSampler(seed=seed),
    }
    if name not in samplers:
        raise InterplayError(f"there is no sampler {name!r}{closest(name, samplers) or '; use tpe or random'}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # multivariate and group
        return samplers[name]()
