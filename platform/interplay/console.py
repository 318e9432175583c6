"""What a person sees while a study runs: one line for each finished cell, and a bar on a terminal."""

from __future__ import annotations

import threading
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from interplay.report.study import study_table
from interplay.studies import Progress, StudyOutcome
from interplay.study.definition import study_directory
from interplay.study.driving.budget import use_text
from interplay.study.driving.dispatch import CUT
from interplay.study.driving.ledger import use_of_study
from interplay.tracking.journal import epochs, read
from interplay.tracking.store import STOPPED, Cell, CellResult, CellStore

REFRESH_S = 0.5


class ConsoleProgress(Progress):
    """Lines on standard error; on a terminal also a bar that moves with every epoch, read from the journals."""

    def __init__(self, root: Path) -> None:
        self._store = CellStore(root)
        self._console = Console(stderr=True, highlight=False)
        self._epochs: dict[str, int] = {}  # of the cells that are being trained
        self._behind = 0  # epochs of the cells that have ended
        self._total = self._done = 0
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._stop = threading.Event()
        self._task = self._bar.add_task("training", total=None)

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        threading.Thread(target=self._follow, name="progress", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._bar.stop()

    def begin(self, total: int, finished: int) -> None:
        self._total, self._done = total, finished
        kept = f", {finished} finished before and kept" if finished else ""
        self._console.print(f"{total} {'cell' if total == 1 else 'cells'}{kept}")

    def remark(self, sentence: str) -> None:
        self._console.print(sentence, markup=False)

    def started(self, cell: Cell, name: str) -> None:
        if self._bar.tasks[0].total is None:
            self._bar.update(self._task, total=(self._total - self._done) * cell.recipe.schedule.epochs)
        self._epochs[cell.fingerprint] = 0

    def ended(self, cell: Cell, name: str, result: CellResult | None, message: str) -> None:
        self._done += 1
        self._epochs.pop(cell.fingerprint, None)  # its journal is not read again
        self._behind += cell.recipe.schedule.epochs
        self._console.print(f"[{self._done}/{self._total}] {name}: {_outcome(result, message)}", markup=False)

    def _follow(self) -> None:
        while not self._stop.wait(REFRESH_S):
            if not self._bar.disable:
                for fingerprint in list(self._epochs):
                    done = epochs(read(self._store.journal(fingerprint))[0])
                    if fingerprint in self._epochs:
                        self._epochs[fingerprint] = max(done, default=0)
                self._bar.update(self._task, completed=self._behind + sum(self._epochs.values()))


def _outcome(result: CellResult | None, message: str) -> str:
    if result is None:
        if message == CUT or message.startswith(STOPPED):
            return message
        return f"failed ({message})" if message else "failed"
    parts = [
        f"{name} {value:.2f}" for name in ("val/top1", "test/top1") if (value := result.metric(name)) is not None
    ]
    return "  ".join(parts) or result.status


def print_study(root: Path, outcome: StudyOutcome) -> None:
    """The study's table on standard output, its runs, and the commands to look closer."""
    table = study_table(root, outcome.study)
    print(f"\n{table.definition.question}\n\n{table.text}\n")
    rows = [(row.label, list(row.cells.values())) for row in table.definition.rows]
    for label, cells in rows:
        ids = " ".join(outcome.runs[cell][:8] for cell in cells if cell in outcome.runs)
        if ids:
            print(f"MLflow runs of {label}: {ids}")
    if (use := use_of_study(study_directory(root, outcome.study))) is not None:
        print(use_text(use))
    if outcome.parent_run:
        print(f"MLflow run of the study: {outcome.parent_run}")
    if not outcome.mlflow_sent:
        print(f"MLflow at {outcome.mlflow_uri} did not take everything; later: interplay sync {outcome.study}")
    print("\nlook closer:")
    if outcome.mlflow_uri.startswith("http"):
        print(f"  {outcome.mlflow_uri.rstrip('/')}{outcome.page}")
    else:
        print(f"  mlflow ui --backend-store-uri {outcome.mlflow_uri}")
        print(f"    and open http://127.0.0.1:5000{outcome.page}")
    print(f"  interplay --storage {root} report {outcome.study}")
