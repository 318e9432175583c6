"""What a fault cost: what the store, MLflow and Optuna hold after the study has been run to its end."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from interplay.drill.victim import Victim
from interplay.report.draw import Table
from interplay.report.study import study_table
from interplay.study.definition import SEARCH, read_definition
from interplay.study.search.records import CELL, open_study
from interplay.tracking.journal import read
from interplay.tracking.mlflow import run_states
from interplay.tracking.store import FINISHED, CellStore

_DETERMINED = ("train", "val", "test")
"""Groups of metrics that must not depend on when and how often a cell was stopped."""

Numbers = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """One fault.

    Attributes:
        fault: its name.
        moments: when it struck.
        missed: moments at which there was nothing to break.
        seen: what happened to the study.
        lost: cells without the result they should have.
        twice: cells trained again after they had finished.
        runs: MLflow runs that are doubled, missing or left RUNNING.
        trials: Optuna trials that are doubled, missing or left RUNNING; None for an ablation.
        equal: the final table is the undisturbed one, and so is every number behind it.
        seconds: that the study took, with its repetitions.
    """

    fault: str
    moments: tuple[str, ...]
    missed: int
    seen: str
    lost: int
    twice: int
    runs: int
    trials: int | None
    equal: bool
    seconds: float

    @property
    def survived(self) -> bool:
        return not (self.missed or self.lost or self.twice or self.runs or self.trials) and self.equal


def numbers(victim: Victim) -> Numbers:
    """Cell -> its status and the numbers that are determined by its recipe."""
    store = CellStore(victim.root)
    results = {cell: store.result(cell) for cell in victim.finished()}
    return {
        cell: {"status": r.status}
        | {k: v for k, v in r.metrics.items() if k.split("/")[0] in _DETERMINED and math.isfinite(v)}
        for cell, r in results.items()
        if r is not None
    }


def table_of(victim: Victim) -> Table:
    return study_table(victim.root, victim.name).table


def trained_again(victim: Victim, snapshots: Sequence[Mapping[str, int]]) -> set[str]:
    """Cells that had a result at one of the moments and were written or begun again afterwards."""
    now, store, found = victim.finished(), CellStore(victim.root), set()
    for snapshot in snapshots:
        found |= {cell for cell, written in snapshot.items() if now.get(cell) != written}
    for cell in now:
        records, _ = read(store.journal(cell))
        ended = [i for i, r in enumerate(records) if r["event"] == "end" and r["status"] == FINISHED]
        if ended and any(r["event"] == "start" for r in records[ended[-1] :]):
            found.add(cell)
    return found


def resumed(victim: Victim) -> str:
    """After which of their epochs cells were begun again."""
    store, found = CellStore(victim.root), []
    for cell in sorted(victim.finished()):
        starts = [r["epoch"] for r in read(store.journal(cell))[0] if r["event"] == "start"]
        found += starts[1:]
    return f"cells went on from epochs {', '.join(map(str, sorted(found)))}" if found else "no cell was begun again"


def wrong_runs(victim: Victim, expected: Mapping[str, str]) -> int:
    """MLflow runs that are doubled, missing or not in the expected state (cell -> state)."""
    states = run_states(victim.environment["MLFLOW_TRACKING_URI"], victim.name)
    parents = [state for role, _, state in states if role == "study"]
    children = Counter(cell for role, cell, _ in states if role == "cell")
    unlike = sum(expected.get(cell) != state for role, cell, state in states if role == "cell")
    doubled = sum(count - 1 for count in children.values())
    missing = len(expected.keys() - children.keys())
    return unlike + doubled + missing + (len(parents) != 1) + sum(state == "RUNNING" for state in parents)


def wrong_trials(victim: Victim) -> int | None:
    """Optuna trials that are doubled, missing or RUNNING."""
    if read_definition(victim.root, victim.name).kind != SEARCH:
        return None
    trials = open_study(victim.directory).get_trials(deepcopy=False)
    cells = {trial.user_attrs[CELL] for trial in trials}
    return (
        len(trials)
        - len(cells)
        + abs(victim.cells - len(cells))
        + sum(not trial.state.is_finished() for trial in trials)
    )


def drill_table(outcomes: Sequence[Outcome]) -> Table:
    """One line for each fault."""
    headers = ["fault", "moments", "what was seen", "cells lost", "trained twice", "MLflow runs wrong"]
    headers += ["Optuna trials wrong", "table equal", "seconds"]
    rows = [
        [
            o.fault,
            f"{len(o.moments) - o.missed} of {len(o.moments)}",
            o.seen,
            str(o.lost),
            str(o.twice),
            str(o.runs),
            "—" if o.trials is None else str(o.trials),
            "yes" if o.equal else "no",
            f"{o.seconds:.0f}",
        ]
        for o in outcomes
    ]
    return headers, rows
