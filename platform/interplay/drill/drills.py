"""The faults, and how a study is run under each of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from interplay.data import locate
from interplay.drill import failing
from interplay.drill.nodes import cluster
from interplay.drill.outcome import (
    Numbers,
    Outcome,
    numbers,
    resumed,
    table_of,
    trained_again,
    wrong_runs,
    wrong_trials,
)
from interplay.drill.processes import CLASSES, OF_NODES, strike
from interplay.drill.tracker import Tracker
from interplay.drill.victim import Cells, Victim, ablation, search
from interplay.errors import InterplayError
from interplay.recipe.part import LAST_CHECKPOINT
from interplay.report.draw import Table
from interplay.tracking.store import FINISHED

FAULTS = {
    "driver": "the driver is killed (SIGKILL) and the command run again",
    "stop": "the driver is stopped (SIGTERM) and the command run again",
    "trial": "the process that trains a cell is killed",
    "worker": "a worker of a Ray Train job is killed",
    "controller": "the controller of a Ray Train job is killed",
    "node": "a machine on which a worker of a job of two workers is lost, and another one comes",
    "notice": "a cell's machine gets notice that it will be taken away, and another one comes",
    "storage": "the driver is killed, the checkpoints are cut in half, and the command run again",
    "mlflow-killed": "the MLflow server is killed and comes back",
    "mlflow-hung": "the MLflow server hangs (SIGSTOP) and comes back",
    "nan": "the loss of some cells becomes NaN in the middle of their training",
    "memory": "some cells run out of memory in the middle of their training",
}
_LAST = 0.6
"""Moments come before this part of the study's epochs, so that there is something left to break."""
_JITTER_S = 0.5
_AWAY_S = (1.0, 6.0)
_CELLS = {"worker": Cells(1), "controller": Cells(1), "node": Cells(2, epochs=30), "notice": Cells(epochs=60)}
"""How the cells of a fault's study are trained, if not as usual."""
_LEFT_EPOCHS = {"worker": 6, "controller": 6, "node": 15, "notice": 15}
"""Faults that strike while a cell is amid its epochs, and how many it has left then, at least: jobs are mostly
starting or ending, where there is little to lose, and it takes a while until a machine is gone."""
_BACK_EPOCHS = 24
"""Of each cell between two moments: a server takes some ten seconds to come back."""
_AGAIN = ("driver", "stop", "storage")
"""Faults that end the driver."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Moment:
    """After so many epochs of the whole study, and so many seconds."""

    epochs: int
    seconds: float

    def __str__(self) -> str:
        return f"{self.epochs} epochs + {self.seconds:.2f} s"


@dataclass
class _Drill:
    """What the faults of one drill have in common."""

    folder: Path
    dataset: Path
    cells: int
    moments: int
    seed: int
    environment: dict[str, str]
    bring: Callable[[], None]
    tell: Tell
    references: dict[Cells, tuple[Numbers, Table]] = field(default_factory=dict)
    alone: Numbers = field(default_factory=dict)

    def reference(self, cells: Cells) -> tuple[Numbers, Table]:
        """What the study gives undisturbed. A job of one worker gives what an inline cell does."""
        cells = replace(cells, workers=cells.workers if cells.workers > 1 else 0)
        if cells not in self.references:
            began = time.monotonic()
            root = self.folder / f"undisturbed-{len(self.references) + 1}"
            with search(root, self.dataset, self.cells, self.environment, cells) as study:
                if study.finish(study.start()) != 0:
                    raise InterplayError(f"the study fails without any fault; what it said is in {study.log}")
                self.references[cells] = numbers(study), table_of(study)
            self.tell(f"undisturbed: {self.cells} cells of {cells.epochs} epochs in {time.monotonic() - began:.0f} s")
        return self.references[cells]

    def sound(self, file: Path) -> Numbers:
        """What the sound row of an ablation gives whose other rows break."""
        if not self.alone:
            with ablation(self.folder / "sound", self.dataset, f"{file}:sound", 1, self.environment) as study:
                study.finish(study.start())
                self.alone = numbers(study)
        return self.alone


@dataclass
class _Course:
    """What happened to the study under one fault."""

    snapshots: list[Mapping[str, int]] = field(default_factory=list)
    missed: int = 0
    restarts: int = 0
    gone: set[str] = field(default_factory=set)  # nodes


def drill(
    folder: Path,
    faults: Sequence[str],
    *,
    cells: int = 6,
    moments: int = 5,
    seed: int = 0,
    tell: Tell = lambda line: None,
    verbose: bool = False,
) -> Iterator[Outcome]:
    """Runs a small study undisturbed, then once under each fault.

    Args:
        folder: a new one, on storage that every node of the cluster sees.
        faults: of `FAULTS`.
        cells: of each study.
        moments: of each fault.
        seed: of the moments.
        tell: is told each moment.
        verbose: let Ray talk.

    Raises:
        InterplayError: if a fault is unknown, the folder is in use, or a study hangs.
    """
    for fault in faults:
        if fault not in FAULTS:
            raise InterplayError(f"there is no fault {fault!r}; use {', '.join(FAULTS)}")
    if cells < 2 or moments < 1:
        raise InterplayError("a drill needs at least 2 cells and 1 moment; set --cells and --moments higher")
    if folder.exists():
        raise InterplayError(f"{folder} is there already; choose another --storage")
    return _drill(folder, faults, cells, moments, seed, tell, verbose)


def _drill(
    folder: Path, faults: Sequence[str], cells: int, moments: int, seed: int, tell: Tell, verbose: bool
) -> Iterator[Outcome]:
    folder.mkdir(parents=True)
    several = any(fault in OF_NODES for fault in faults)
    with cluster(folder / "notices", several=several, verbose=verbose) as bring:
        dataset, environment = locate("digits", folder / "datasets"), _environment(folder)
        common = _Drill(folder, dataset, cells, moments, seed, environment, bring, tell)
        for fault in faults:
            yield _RUN[fault](common, fault)


def _environment(folder: Path) -> dict[str, str]:
    """Of the study's own processes."""
    import ray

    variables = {
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PYTHONUNBUFFERED": "1",
    }
    return {**os.environ, **variables}


# ------------------------------------------------------------------------------------ processes that are killed
def _processes(drill: _Drill, fault: str) -> Outcome:
    rng = random.Random(f"{fault} {drill.seed}")
    cells = _CELLS.get(fault, Cells())
    reference, began = drill.reference(cells), time.monotonic()
    victim = search(drill.folder / fault, drill.dataset, drill.cells, drill.environment, cells)
    drawn, course = _draw(drill, rng, cells), _Course()
    with victim:
        process = victim.start()
        for moment in drawn:
            before = cells.epochs - _LEFT_EPOCHS[fault] if fault in _LEFT_EPOCHS else None
            ended = _wait_until(moment, victim, process, sparing=fault not in _AGAIN, before=before)
            course.snapshots.append(victim.finished())
            struck = "" if ended else _break(fault, victim, process, rng, course)
            drill.tell(f"{fault}: after {moment}: {struck or 'nothing to break'}")
            course.missed += not struck
            if fault in OF_NODES:
                drill.bring()
            if fault in _AGAIN:
                process = victim.start()
        code = victim.finish(process)
    runs = f"{1 + course.restarts} runs of the command" if course.restarts else "one run"
    seen = f"{runs}, the last exit code was {code}; {resumed(victim)}"
    return _outcome(victim, reference, fault, drawn, course, code == 0, seen, began)


def _break(fault: str, victim: Victim, process: subprocess.Popen[bytes], rng: random.Random, course: _Course) -> str:
    """What was broken."""
    if fault not in _AGAIN:
        return strike(fault, process.pid, rng, course.gone)
    course.restarts += 1
    process.send_signal(signal.SIGTERM if fault == "stop" else signal.SIGKILL)
    code = victim.finish(process)
    cut = f", {_cut_checkpoints(victim)} checkpoints cut in half" if fault == "storage" else ""
    return f"driver {process.pid} ended with {code}, {victim.training()} cells in its hands{cut}"


def _cut_checkpoints(victim: Victim) -> int:
    """As a storage leaves them that loses what it has promised."""
    found = [cell / LAST_CHECKPOINT for cell in victim.unfinished() if (cell / LAST_CHECKPOINT).is_file()]
    for checkpoint in found:
        os.truncate(checkpoint, checkpoint.stat().st_size // 2)
    return len(found)


# --------------------------------------------------------------------------------------- MLflow goes away
def _mlflow(drill: _Drill, fault: str) -> Outcome:
    rng = random.Random(f"{fault} {drill.seed}")
    cells = Cells(epochs=max(Cells().epochs, _BACK_EPOCHS * (drill.moments - 1)))
    reference, began = drill.reference(cells), time.monotonic()
    drawn, course = _draw(drill, rng, cells), _Course()
    with ExitStack() as stack:
        tracker = stack.enter_context(Tracker(drill.folder / f"{fault}-server", drill.environment))
        environment = {**drill.environment, "MLFLOW_TRACKING_URI": tracker.uri}
        victim = stack.enter_context(search(drill.folder / fault, drill.dataset, drill.cells, environment, cells))
        away, back = (tracker.hang, tracker.wake) if fault == "mlflow-hung" else (tracker.kill, tracker.start)
        process, code = victim.start(), 0
        for number, moment in enumerate(drawn, 1):
            course.missed += _wait_until(moment, victim, process)
            course.snapshots.append(victim.finished())
            away()
            if last := number == len(drawn):  # the study ends without MLflow
                code = victim.finish(process)
            seconds = rng.uniform(*_AWAY_S)
            time.sleep(seconds)
            drill.tell(f"{fault}: after {moment}: away for {seconds:.1f} s{' more than the study' if last else ''}")
            back()
        sync = victim.finish(victim.start("sync", victim.name))
        seen = f"the study ended with exit code {code} without MLflow, interplay sync with {sync}"
        return _outcome(victim, reference, fault, drawn, course, code == sync == 0, seen, began)


# ------------------------------------------------------------------------------- cells that cannot be trained
def _failing(drill: _Drill, fault: str) -> Outcome:
    began = time.monotonic()
    steps = failing.draw(random.Random(f"{fault} {drill.seed}"), drill.moments)
    file = failing.write_rows(drill.folder / f"{fault}-rows", fault, steps)
    sound = drill.sound(file)
    with ablation(drill.folder / fault, drill.dataset, f"{file}:rows", 1 + len(steps), drill.environment) as victim:
        codes = [victim.finish(victim.start())]
        drill.tell(f"{fault}: at steps {', '.join(map(str, steps))} of a cell each: {failing.seen(victim)}")
        snapshot = victim.finished()
        codes.append(victim.finish(victim.start()))  # what is finished stays, what has no result is tried again
    expected, states = failing.expected(victim, fault), failing.states(victim)
    shown = {cell: "FINISHED" if state == FINISHED else "FAILED" for cell, state in expected.items()}
    return Outcome(
        fault=fault,
        moments=tuple(f"step {step}" for step in steps),
        missed=0,
        seen=f"{failing.seen(victim)}; exit codes {codes[0]} and {codes[1]}",
        lost=sum(states[cell] != state for cell, state in expected.items()),
        twice=len(trained_again(victim, [snapshot])),
        runs=wrong_runs(victim, shown),
        trials=wrong_trials(victim),
        equal=bool(sound) and sound.items() <= numbers(victim).items(),
        seconds=time.monotonic() - began,
    )


_RUN: dict[str, Callable[[_Drill, str], Outcome]] = {
    **dict.fromkeys((*_AGAIN, *CLASSES), _processes),
    **dict.fromkeys(("mlflow-killed", "mlflow-hung"), _mlflow),
    **dict.fromkeys(("nan", "memory"), _failing),
}


def _draw(drill: _Drill, rng: random.Random, cells: Cells) -> list[Moment]:
    """One moment in each of as many equal parts of the study."""
    part = _LAST * drill.cells * cells.epochs / drill.moments
    return [Moment(int((i + rng.random()) * part), rng.uniform(0, _JITTER_S)) for i in range(drill.moments)]


def _wait_until(
    moment: Moment,
    victim: Victim,
    process: subprocess.Popen[bytes],
    *,
    sparing: bool = False,
    before: int | None = None,
) -> bool:
    """Whether the study ended before the moment came."""
    if not victim.reaches(moment.epochs, process, sparing=sparing, before=before):
        return True
    time.sleep(moment.seconds)
    return process.poll() is not None


def _outcome(
    victim: Victim,
    reference: tuple[Numbers, Table],
    fault: str,
    drawn: Sequence[Moment],
    course: _Course,
    ended_well: bool,
    seen: str,
    began: float,
) -> Outcome:
    found, table = numbers(victim), table_of(victim)
    expected = {cell: "FINISHED" for cell in reference[0]}
    return Outcome(
        fault=fault,
        moments=tuple(map(str, drawn)),
        missed=course.missed,
        seen=seen,
        lost=len(reference[0].keys() - found.keys()),
        twice=len(trained_again(victim, course.snapshots)),
        runs=wrong_runs(victim, expected),
        trials=wrong_trials(victim),
        equal=ended_well and (found, table) == reference,
        seconds=time.monotonic() - began,
    )
