"""Which cell next? The Optuna study is the truth of a search.

The stored study holds one record for each cell, and another one for each time a failed cell is tried again. Proposals
are made on a copy in memory (`sampling`); a proposal becomes a record, with its cell, in one write. So a driver that
is killed at any moment leaves either a cell or nothing, and what it left unfinished is handed out first by the next
driver.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from interplay.counter_rng import torch_seed
from interplay.data.manifest import Manifest, read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.search.objectives import TOP1, Constraint, Objective, values, violations
from interplay.study.search.points import StartPoint, WarmCell
from interplay.study.search.population import Member, descended, heir
from interplay.study.search.records import CELL, CHANGES, MESSAGE, PARENT, POINT, Records, open_study
from interplay.study.search.samplers import GRID, attempts_of
from interplay.study.search.sampling import REJECTED, Sampling, complete, infeasible
from interplay.study.search.spaces import SpaceFunction, Unsuited, bind, changes_of, grid, is_allowed, replay
from interplay.tracking.journal import epochs, read
from interplay.tracking.store import FINISHED, Cell, CellResult, CellStore

__all__ = [
    "CELL",
    "CHANGES",
    "MESSAGE",
    "Later",
    "ListedCells",
    "OptunaProposals",
    "Proposals",
    "Search",
    "open_study",
]

_RANDOM = 200
"""Random draws, after the sampler's own, before a space counts as exhausted."""

_WARM = "warm_start"


class Later(Enum):
    """There are cells left, and none can be trained yet."""

    WAIT = "wait"


class Proposals(Protocol):
    """Hands out cells to be trained, and is told what became of them."""

    def next(self) -> Cell | Later | None:
        """The next cell to train, or None when there is none left."""
        ...

    def settle(self, fingerprint: str, message: str | None = None, *, pruned: bool = False) -> None:
        """The cell has ended: its result is in the store, it was cut (`pruned`), or `message` says what failed."""
        ...


class ListedCells:
    """The cells of an ablation, in order, each once."""

    def __init__(self, cells: list[Cell]) -> None:
        self._left = deque(cells)

    def next(self) -> Cell | None:
        return self._left.popleft() if self._left else None

    def settle(self, fingerprint: str, message: str | None = None, *, pruned: bool = False) -> None:
        """The store is the truth; nothing more is kept."""


@dataclass(frozen=True)
class Search:
    """What is wanted of a search, beside its space.

    Attributes:
        target: cells the study shall have.
        sampler: one of `samplers.SAMPLERS`.
        seed: of the sampler.
        objectives: what is optimised; the first one selects.
        constraints: limits on what can be counted; a draw beyond them is not trained and not a cell.
        points: tried first, in order.
        warm: finished cells of other studies, told to the sampler.
        retry_failed: try cells that failed once more.
        storage: address of a data base for the Optuna study; "" is a file in the study's folder.
        population: cells of a generation, each of which starts from the one before; 0 is no generations.
    """

    target: int
    sampler: str = "tpe"
    seed: int = 0
    objectives: tuple[Objective, ...] = (TOP1,)
    constraints: tuple[Constraint, ...] = ()
    points: tuple[StartPoint, ...] = ()
    warm: tuple[WarmCell, ...] = ()
    retry_failed: bool = False
    storage: str = ""
    population: int = 0


class OptunaProposals:
    """Cells that a sampler proposes, until `target` cells are in the study."""

    def __init__(
        self,
        directory: Path,
        space: SpaceFunction,
        base: Recipe,
        dataset: Path,
        store: CellStore,
        search: Search,
        *,
        earlier: Cell | None = None,
    ) -> None:
        self._space, self._base, self._dataset, self._store = bind(space, base), base, dataset, store
        self._search, self._earlier = search, earlier
        # a sampler that cannot work is refused before anything is written
        self._memory = Sampling(search.objectives, search.sampler, search.seed)
        self._records = Records(directory, search.objectives, search.storage)
        self._numbers: dict[str, int] = {}  # fingerprint -> number of its last record; in order of their first
        self._asked: dict[str, int] = {}  # fingerprint -> number of the same trial in memory
        self._members: dict[str, Cell] = {}  # of a population: others need not stay in memory
        self._running: dict[str, Cell] = {}
        self._unfinished: deque[Cell] = deque()
        self._failed: dict[str, FrozenTrial] = {}
        self._points = deque(search.points)
        self._grid = grid(self._space) if search.sampler == GRID else None
        self._refused = ""
        self._build_up()
        self._retries = deque(self._failed.values() if search.retry_failed else ())

    def known(self) -> list[Cell]:
        """The cells the study has already, in the order they were proposed."""
        records = {record.user_attrs[CELL]: record for record in self._records.all()}
        return [self._cell(record) for record in records.values()]

    def next(self) -> Cell | Later | None:
        if self._unfinished:
            return self._unfinished.popleft()
        for cell in self._new():
            if isinstance(cell, Later):
                return cell
            if self._store.result(cell.fingerprint) is None:
                return cell
            self.settle(cell.fingerprint)  # trained before, by this study or another
        return None

    def settle(self, fingerprint: str, message: str | None = None, *, pruned: bool = False) -> None:
        cell = self._running.pop(fingerprint, None)
        if cell is None:
            return  # told before
        result = self._store.result(fingerprint)
        found, reason = self._values(cell, result)
        intermediate = {}
        if found:
            state, reason = TrialState.COMPLETE, ""
        elif result is None and pruned:
            state, reason, intermediate = TrialState.PRUNED, "", self._intermediate(fingerprint)
        else:
            state, reason = TrialState.FAIL, message or reason
        told = found or None
        self._records.end(self._numbers[fingerprint], state, told, message=reason, intermediate=intermediate)
        self._memory.tell(self._asked[fingerprint], state, told, intermediate)

    def _values(self, cell: Cell, result: CellResult | None) -> tuple[list[float], str]:
        if result is None:
            return [], "no result"
        if result.status != FINISHED:
            return [], result.status
        return values(self._search.objectives, result, cell.recipe, self._manifest)

    def _intermediate(self, fingerprint: str) -> dict[int, float]:
        """The metric that selects at every epoch it was measured, from the cell's journal."""
        name = self._search.objectives[0].name
        found = epochs(read(self._store.journal(fingerprint))[0])
        return {epoch: r["metrics"][name] for epoch, r in sorted(found.items()) if name in r["metrics"]}

    @cached_property
    def _manifest(self) -> Manifest:
        return read_manifest(self._dataset)

    # ------------------------------------------------------------------------------------ what is there
    def _build_up(self) -> None:
        records = self._records.all()
        warm: list[list[Any]] = self._records.note(_WARM, [])
        known = {fingerprint for _, fingerprint, _ in warm}
        new = [[len(records), w.fingerprint, dict(w.params)] for w in self._search.warm if w.fingerprint not in known]
        if new:
            warm = [*warm, *new]
            self._records.set_note(_WARM, warm)  # a search that goes on is told the same cells
        for position in range(len(records) + 1):
            for _, fingerprint, params in (w for w in warm if w[0] == position):
                self._warm_up(fingerprint, params)
            if position < len(records):
                self._take_up(records[position])

    def _warm_up(self, fingerprint: str, params: Mapping[str, Any]) -> None:
        try:
            trial = replay(self._space, params)
        except Unsuited:
            return  # the space has changed since
        cell = self._changed(changes_of(self._space, trial.params))
        found, _ = self._values(cell, self._store.result(fingerprint))
        if found:
            self._memory.add(complete(trial, found))

    def _take_up(self, record: FrozenTrial) -> None:
        fingerprint = record.user_attrs[CELL]
        rejected = [self._rejected(draw) for draw in record.user_attrs.get(REJECTED, [])]
        self._numbers[fingerprint] = record.number
        self._asked[fingerprint] = self._memory.add(record, rejected=rejected)
        tried = record.user_attrs.get(POINT)
        self._points = deque(point for point in self._points if point.tag != tried)
        self._failed.pop(fingerprint, None)
        if record.state == TrialState.FAIL:
            self._failed[fingerprint] = record
        finished = record.state.is_finished()
        if finished and not self._search.population:
            return
        cell = self._cell(record)
        self._remember(cell)
        if finished:
            return
        self._running[fingerprint] = cell
        if self._store.result(fingerprint) is not None:
            self.settle(fingerprint)
        else:
            self._unfinished.append(cell)

    def _rejected(self, draw: Mapping[str, Any]) -> FrozenTrial | None:
        try:
            return infeasible(replay(self._space, draw["params"]), draw["violations"]) if draw else None
        except Unsuited:
            return None  # the space has changed since

    def _cell(self, record: FrozenTrial) -> Cell:
        parent = record.user_attrs.get(PARENT)
        return self._changed(json.loads(record.user_attrs[CHANGES]), self._members[parent] if parent else None)

    def _changed(self, changes: Mapping[str, Any], parent: Cell | None = None) -> Cell:
        recipe = self._base.with_(dict(changes))
        if recipe.after != self._base.after:
            raise InterplayError("a search varies one stage: search the earlier stage in a study of its own")
        if parent is not None:
            return Cell(descended(recipe, parent.recipe), self._dataset, parent)
        return Cell(recipe, self._dataset, self._earlier)

    # ---------------------------------------------------------------------------------------- what is new
    def _new(self) -> Iterator[Cell | Later]:
        while self._retries:
            yield self._again(self._retries.popleft())
        while len(self._numbers) < self._search.target:
            cell = self._descend() if self._generation else self._propose()
            if cell is None:
                return
            yield cell

    def _again(self, failed: FrozenTrial) -> Cell:
        cell = self._cell(failed)
        attributes = {key: failed.user_attrs[key] for key in (CELL, CHANGES, PARENT) if key in failed.user_attrs}
        record = self._records.add(failed, attributes, {})
        self._numbers[cell.fingerprint] = record.number
        self._asked[cell.fingerprint] = self._memory.add(record)
        self._running[cell.fingerprint] = cell
        return cell

    @property
    def _generation(self) -> int:
        """Of the next cell, from 0; always 0 without a population."""
        return len(self._numbers) // self._search.population if self._search.population else 0

    def _descend(self) -> Cell | Later | None:
        """The next cell of a later generation, recorded, once the one before has ended; None if it died out."""
        size, generation = self._search.population, self._generation
        before = list(self._numbers)[(generation - 1) * size : generation * size]
        if any(fingerprint in self._running for fingerprint in before):
            return Later.WAIT
        records, number = self._records.all(), len(self._numbers)
        members = [self._member(fingerprint, records[self._numbers[fingerprint]]) for fingerprint in before]
        for attempt in range(_RANDOM):
            found = heir(members, number % size, torch_seed("generation", self._search.seed, generation), attempt)
            if found is None:
                return None
            parent, params = found
            trial = self._memory.ask(number, attempt, fixed=params, random=True)
            if (cell := self._try(trial, {PARENT: parent.fingerprint}, parent)) is not None:
                return cell
        return None

    def _member(self, fingerprint: str, record: FrozenTrial) -> Member:
        sign = 1.0 if self._search.objectives[0].maximise else -1.0
        value = sign * record.values[0] if record.state == TrialState.COMPLETE else None
        return Member(self._members[fingerprint], record.params, record.distributions, value)

    def _remember(self, cell: Cell) -> None:
        """Others may start from it, if there is a population."""
        if self._search.population:
            self._members[cell.fingerprint] = cell

    def _propose(self) -> Cell | None:
        """A cell the study does not have yet, recorded; None if the space seems to hold no more."""
        while self._points:
            point = self._points.popleft()
            if (cell := self._given(point.params, {POINT: point.tag})) is not None:
                return cell
        if self._grid is not None:
            given = (self._given(params, {}) for params in self._grid)
            return next((cell for cell in given if cell is not None), None)
        own = attempts_of(self._search.sampler)
        for attempt in range(own + _RANDOM):
            trial = self._memory.ask(len(self._numbers), attempt, random=attempt >= own)
            if (cell := self._try(trial, {})) is not None:
                return cell
        if self._refused and not self._numbers:
            raise InterplayError(f"the search space proposes nothing the recipe accepts: {self._refused}")
        return None

    def _given(self, params: Mapping[str, Any], attributes: Mapping[str, Any]) -> Cell | None:
        """The cell at a given point; what the point leaves open is drawn."""
        attempts = _RANDOM
        try:
            cell = self._changed(changes_of(self._space, params))
        except Unsuited:
            pass  # it leaves something open
        except InterplayError:
            return None
        else:
            if cell.fingerprint in self._numbers or self._broken(cell):
                return None
            attempts = 1
        for attempt in range(attempts):
            trial = self._memory.ask(len(self._numbers), attempt, fixed=params)
            if (found := self._try(trial, attributes)) is not None:
                return found
        return None

    def _try(self, trial: optuna.Trial, attributes: Mapping[str, Any], parent: Cell | None = None) -> Cell | None:
        """The cell of what `trial` suggests, recorded, if it is new and may be trained."""
        changes = dict(self._space(trial))
        if not is_allowed(trial):
            self._memory.reject(trial)
            return None
        try:
            cell = self._changed(changes, parent)
        except InterplayError as error:
            self._refused = str(error)
            self._memory.reject(trial, {"recipe": 1.0})
            return None
        if cell.fingerprint in self._numbers:
            self._memory.reject(trial)
            return None
        if broken := self._broken(cell):
            self._refused = f"it breaks {', '.join(broken)}"
            self._memory.reject(trial, broken)
            return None
        drawn, kept, system = self._memory.accept(trial)
        named = {CELL: cell.fingerprint, CHANGES: json.dumps(changes)}
        record = self._records.add(drawn, {**named, **kept, **attributes}, system)
        self._numbers[cell.fingerprint] = record.number
        self._asked[cell.fingerprint] = trial.number
        self._running[cell.fingerprint] = cell
        self._remember(cell)
        return cell

    def _broken(self, cell: Cell) -> dict[str, float]:
        return violations(self._search.constraints, cell.recipe, self._manifest)
