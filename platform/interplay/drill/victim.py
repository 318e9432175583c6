"""The study that is broken: small cells, run by the command line in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interplay.errors import InterplayError
from interplay.study.definition import study_directory
from interplay.study.driving.ledger import LEDGER
from interplay.tracking.journal import epochs, read
from interplay.tracking.lease import LEASE

RECIPE, SPACE = "digits.deit_small_patch4", "digits.demo"
SMALL = {
    "schedule.warmup_epochs": 1,
    "evaluation.every": 2,
    "model.width": 24,
    "augment.repeats": 1,
}
CHECKPOINT_EVERY_S = 0.3
_MOST_STARTS = 3
PATIENCE_S = 600.0
"""A study that does nothing for so long hangs."""


@dataclass(frozen=True)
class Cells:
    """How the cells of a study that is broken are trained.

    Attributes:
        workers: of the Ray Train job of each; 0 trains them inline. Two CPUs are always in use.
        epochs: of each; more, where it takes a while until what is broken is noticed.
    """

    workers: int = 0
    epochs: int = 16


@dataclass(frozen=True)
class Victim:
    """One study in a storage root of its own.

    Attributes:
        root: the storage root; the study is called after it.
        arguments: of the command line.
        cells: that it will have.
        environment: of its processes.
        started: all of them; as a context, it ends with none left.
    """

    root: Path
    arguments: Sequence[str]
    cells: int
    environment: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    @property
    def name(self) -> str:
        return self.root.name

    @property
    def directory(self) -> Path:
        return study_directory(self.root, self.name)

    @property
    def log(self) -> Path:
        return self.root / "output.txt"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """The study's command, or another one on its storage root; what it says goes to `log`."""
        self.root.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "interplay", "--storage", str(self.root), *(arguments or self.arguments)]
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is for the drill
            )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for the end of `process`; its exit code.

        Raises:
            InterplayError: if no epoch ends for `PATIENCE_S` seconds.
        """
        for _ in self._patiently():
            try:
                return process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        raise InterplayError(f"the study does nothing any more; what it said is in {self.log}")

    def reaches(
        self, count: int, process: subprocess.Popen[bytes], *, sparing: bool = False, before: int | None = None
    ) -> bool:
        """Waits until `count` epochs have been trained and a cell is being trained; False if `process` ends before.

        Args:
            count: of epochs of the whole study.
            process: its driver.
            sparing: wait also until no cell is trained that has lost its process twice: it may do so three times.
            before: wait also until a cell has trained an epoch, and not more than so many.

        Raises:
            InterplayError: as `finish`.
        """
        for _ in self._patiently():
            if process.poll() is not None:
                return False
            amid = before is None or any(1 <= epoch <= before for epoch in map(_last_epoch, self.unfinished()))
            if self.progress() >= count and self.training() and amid and not (sparing and self._worn()):
                return True
            time.sleep(0.05)
        process.kill()
        raise InterplayError(f"the study does nothing any more; what it said is in {self.log}")

    def _patiently(self) -> Iterator[None]:
        """Goes on until nothing has ended for `PATIENCE_S` seconds."""
        seen, since = self.progress(), time.monotonic()
        while time.monotonic() - since < PATIENCE_S:
            yield
            if (now := self.progress()) != seen:
                seen, since = now, time.monotonic()

    def _worn(self) -> bool:
        """Whether a cell without a result has begun three times, as Tune or as its own workers tell."""
        begun = Counter(r["cell"] for r in read(self.directory / LEDGER)[0] if r["event"] == "begin")
        for cell in self.unfinished():
            starts = sum(r["event"] == "start" for r in read(cell / "journal.jsonl")[0])
            if max(starts, begun[cell.name]) >= _MOST_STARTS:
                return True
        return False

    def progress(self) -> int:
        """Epochs of all cells that have been trained, each counted once."""
        return sum(len(epochs(read(path)[0])) for path in self.root.glob("cells/*/journal.jsonl"))

    def training(self) -> int:
        """Cells that a driver has."""
        return sum(not _has_result(path.parent) for path in self.root.glob(f"cells/*/{LEASE}"))

    def unfinished(self) -> list[Path]:
        """Folders of the cells that have begun and have no result."""
        return [path.parent for path in self.root.glob("cells/*/journal.jsonl") if not _has_result(path.parent)]

    def finished(self) -> dict[str, int]:
        """Cells with a result, and when it was written."""
        return {path.parent.name: path.stat().st_mtime_ns for path in self.root.glob("cells/*/result.json")}


def _last_epoch(cell: Path) -> int:
    return max(epochs(read(cell / "journal.jsonl")[0]), default=0)


def _has_result(cell: Path) -> bool:
    return (cell / "result.json").is_file()


def search(root: Path, dataset: Path, count: int, environment: Mapping[str, str], cells: Cells) -> Victim:
    """A search for `count` cells whose proposals do not depend on which of them ends first."""
    arguments = ["search", *_recipe(dataset, cells), SPACE, "--trials", str(count), "--sampler", "random"]
    return Victim(root, [*arguments, *_execution(root.name, cells)], count, environment)


def ablation(root: Path, dataset: Path, rows: str, count: int, environment: Mapping[str, str]) -> Victim:
    """An ablation with the rows of the function `rows` (`file.py:function`)."""
    arguments = ["ablate", *_recipe(dataset, Cells()), rows, "--seeds", "1"]
    return Victim(root, [*arguments, *_execution(root.name, Cells())], count, environment)


def _recipe(dataset: Path, cells: Cells) -> list[str]:
    changes = {**SMALL, "schedule.epochs": cells.epochs}
    return [RECIPE, "--data", str(dataset), *(part for k, v in changes.items() for part in ("-s", f"{k}={v}"))]


def _execution(name: str, cells: Cells) -> list[str]:
    options = {
        "--name": name,
        "--executor": "train" if cells.workers else "inline",
        "--workers": max(1, cells.workers),
        "--checkpoint-every": CHECKPOINT_EVERY_S,
        "--concurrency": 2 // max(1, cells.workers),
    }
    return [part for option, value in options.items() for part in (option, str(value))]
