"""Two drivers on one storage root, with studies that share cells: each cell is trained once, whoever is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interplay.tracking.journal import read
from interplay.tracking.lease import LEASE
from interplay.tracking.mlflow import run_states
from interplay.tracking.store import FINISHED

CELLS = 6
SMALL = ["-s", "schedule.epochs=4", "-s", "schedule.warmup_epochs=1"]

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]


def ablate(root: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "interplay", "--storage", str(root), "ablate", "digits.deit_small_patch4"]
    command += ["digits.leave_one_out_demo", "--name", name, "--seeds", "1", "--concurrency", "1", *SMALL]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)


def starts(root: Path) -> dict[str, list[int]]:
    """Cell -> the epochs from which it was trained, of all processes that began with it."""
    return {
        path.parent.name: [r["epoch"] for r in read(path)[0] if r["event"] == "start"]
        for path in root.glob("cells/*/journal.jsonl")
    }


def check_all_finished(root: Path) -> None:
    assert len(list(root.glob("cells/*/result.json"))) == CELLS
    for path in root.glob("cells/*/journal.jsonl"):
        ends = [r["status"] for r in read(path)[0] if r["event"] == "end"]
        assert ends == [FINISHED]


def leased(root: Path) -> set[str]:
    return {path.parent.name for path in root.glob(f"cells/*/{LEASE}")}


def trained(root: Path, name: str) -> int:
    """Cells that a study began with."""
    return sum(r["event"] == "begin" for r in read(root / "studies" / name / "ledger.jsonl")[0])


def write_data(root: Path) -> None:
    """Beforehand: the two must differ in nothing but their cells."""
    from interplay.data import locate

    locate("digits", root / "datasets")


def test_each_cell_is_trained_once(tmp_path: Path) -> None:
    write_data(tmp_path)
    drivers = [ablate(tmp_path, name) for name in ("one", "two")]
    assert [driver.wait() for driver in drivers] == [0, 0]
    check_all_finished(tmp_path)
    assert not leased(tmp_path)
    assert set(map(tuple, starts(tmp_path).values())) == {(0,)}
    assert trained(tmp_path, "one") + trained(tmp_path, "two") == CELLS
    assert trained(tmp_path, "one") > 0 < trained(tmp_path, "two")
    for name in ("one", "two"):  # each shows its whole table, whoever trained the cells
        runs = run_states(f"sqlite:///{tmp_path / 'mlflow.db'}", name)
        assert sorted((role, status) for role, _, status in runs) == [("cell", "FINISHED")] * CELLS + [
            ("study", "FINISHED")
        ]
        assert {cell for _, cell, _ in runs if cell} == {path.name for path in tmp_path.glob("cells/*")}


def test_a_killed_drivers_cells_are_taken_over(tmp_path: Path) -> None:
    write_data(tmp_path)
    killed, other = (ablate(tmp_path, name) for name in ("one", "two"))
    deadline = time.monotonic() + 120
    while not (trained(tmp_path, "one") and len(leased(tmp_path)) == 2):
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    held = leased(tmp_path)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert other.wait() == 0
    check_all_finished(tmp_path)
    after = starts(tmp_path)
    again = {cell for cell, began in after.items() if len(began) > 1}
    assert len(again) <= 1
    assert again <= held
    left = leased(tmp_path)  # of a cell whose worker was done when its driver was gone
    assert len(left) <= 1
    assert left <= held - again
    assert sum(map(len, after.values())) == CELLS + len(again)
