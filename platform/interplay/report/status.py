"""How a study is right now: from its storage root alone, whoever runs it and wherever."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interplay.errors import InterplayError
from interplay.report.account import Account, read_account
from interplay.study.definition import SEARCH, StudyDefinition, read_definition, study_directory
from interplay.study.search.records import CELL, open_study
from interplay.tracking.journal import Record, epochs, read
from interplay.tracking.lease import LEASE
from interplay.tracking.store import DIVERGED, EARLIER_DIVERGED, FINISHED, PRUNED, STOPPED, CellStore

RUNNING, WAITING = "running", "waiting"
COMPLETE, KILLED, ENDED = "complete", "killed", "stopped"


@dataclass(frozen=True)
class RunningCell:
    """A cell that is being trained.

    Attributes:
        cell: its fingerprint.
        label: its row and seed, or its number in the search.
        epoch: the last one that ended.
        epochs: of its recipe.
        metrics: `val/top1` and `train/loss` of that epoch, as far as it has them.
        host: where its first worker runs.
        device: of that worker.
        silent_s: seconds since its journal grew.
    """

    cell: str
    label: str
    epoch: int
    epochs: int
    metrics: Mapping[str, float]
    host: str
    device: str
    silent_s: float


@dataclass(frozen=True)
class StudyStatus:
    """A study at one moment.

    Attributes:
        study: its name.
        kind: `search` or `ablation`.
        state: `running`; `complete`: every cell has a result; `stopped`: its driver ended; `killed`: without a word.
        total: cells it shall have.
        cells: `finished`, `diverged`, `earlier stage diverged`, `pruned`, `failed`, `out_of_memory`, `running`,
            `waiting` -> how many.
        running: those being trained.
        used: hours, CPU-hours, GPU-hours and money of all attempts so far; None before its first run.
        left: of its last budget.
        to_go: what the rest will use if epochs stay as dear as they were; empty before the first epoch.
        eta_s: seconds until it is complete at the pace of its current run; None if it is not running, or too early.
        hosts: machine -> running cells.
        at: Unix time of all this.
    """

    study: str
    kind: str
    state: str
    total: int
    cells: Mapping[str, int]
    running: tuple[RunningCell, ...]
    used: Mapping[str, Any] | None
    left: Mapping[str, float]
    to_go: Mapping[str, float]
    eta_s: float | None
    hosts: Mapping[str, int]
    at: float = field(default_factory=time.time)

    @property
    def over(self) -> bool:
        """Nothing of it will change by itself."""
        return self.state != RUNNING

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Look:
    """What one look at the cells has found."""

    cells: Counter[str] = field(default_factory=Counter)
    running: list[RunningCell] = field(default_factory=list)
    epochs: int = 0  # that were trained, of all cells
    to_go: int = 0
    lately: int = 0  # of them since the current run began


def study_status(root: Path, name: str) -> StudyStatus:
    """The status of the study `name` under `root`.

    Raises:
        InterplayError: if there is no such study.
    """
    now = time.time()
    definition = read_definition(root, name)
    account = read_account(root, name)
    live = account.running(now)
    labels = cells_of(root, definition)
    length = definition.base().schedule.epochs
    began = account.runs[-1].began if live else now
    look = _Look()
    store = CellStore(root)
    for cell, label in labels.items():
        _look_at(look, store, cell, label, length, now, began, live)
    total = max(len(labels), account.runs[-1].total if account.runs else 0)
    unseen = total - len(labels)  # that the search has not proposed yet
    look.cells[WAITING] += unseen
    look.to_go += unseen * length
    done = sum(look.cells[status] for status in (FINISHED, DIVERGED, EARLIER_DIVERGED, PRUNED))
    use = account.use or {}
    return StudyStatus(
        study=name,
        kind=definition.kind,
        state=RUNNING if live else _ended(account, done == total),
        total=total,
        cells={status: count for status, count in look.cells.items() if count},
        running=tuple(look.running),
        used=use.get("used"),
        left=use.get("left", {}),
        to_go=_to_go(use.get("used"), look),
        eta_s=look.to_go * (now - began) / look.lately if live and look.lately else None,
        hosts=dict(Counter(cell.host for cell in look.running)),
        at=now,
    )


def cells_of(root: Path, definition: StudyDefinition) -> dict[str, str]:
    """Fingerprint -> label, each cell once."""
    if definition.kind != SEARCH:
        return {
            cell: f"{row.label}, seed {seed}"
            for row in reversed(definition.rows)
            for seed, cell in sorted(row.cells.items())
        }
    try:
        trials = open_study(study_directory(root, definition.name)).get_trials(deepcopy=False)
    except InterplayError:
        return {}  # begun a moment ago
    return {trial.user_attrs[CELL]: f"trial {trial.number}" for trial in trials if CELL in trial.user_attrs}


def _look_at(
    look: _Look, store: CellStore, cell: str, label: str, length: int, now: float, began: float, live: bool
) -> None:
    records = read(store.journal(cell))[0]
    done = epochs(records)
    look.epochs += len(done)
    look.lately += sum(record["at"] >= began for record in done.values())
    leased = (store.directory(cell) / LEASE).exists()
    result = store.result(cell)
    if result is not None:
        look.cells[result.status] += 1
        return
    last = records[-1] if records else None
    status = str(last.get("status", WAITING)) if last is not None and last["event"] == "end" else WAITING
    if live and leased and status in (WAITING, STOPPED):
        look.cells[RUNNING] += 1
        look.running.append(_running(cell, label, records, done, length, now))
    else:
        look.cells[WAITING if status == STOPPED else status] += 1
    if status in (WAITING, STOPPED):
        look.to_go += length - len(done)


def _running(
    cell: str, label: str, records: list[Record], done: Mapping[int, Record], length: int, now: float
) -> RunningCell:
    starts = [record.get("evidence", {}) for record in records if record["event"] == "start"]
    evidence = starts[-1] if starts else {}
    last = max(done, default=0)
    metrics = done[last]["metrics"] if last else {}
    return RunningCell(
        cell=cell,
        label=label,
        epoch=last,
        epochs=length,
        metrics={name: metrics[name] for name in ("val/top1", "train/loss") if name in metrics},
        host=str(evidence.get("host", "")),
        device=str(evidence.get("device", "")),
        silent_s=round(max(0.0, now - records[-1]["at"]), 1) if records else 0.0,
    )


def _ended(account: Account, complete: bool) -> str:
    if complete:
        return COMPLETE
    return ENDED if not account.runs or account.runs[-1].closed else KILLED


def _to_go(used: Mapping[str, Any] | None, look: _Look) -> dict[str, float]:
    if not used or not look.epochs:
        return {}
    share = look.to_go / look.epochs
    kinds = ("cpu_hours", "gpu_hours", "cost")
    return {kind: float(used[kind]) * share for kind in kinds if used.get(kind)}
