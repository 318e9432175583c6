"""How a study is, from its storage root alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from interplay.cli import main
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.status import study_status
from interplay.report.status_text import duration, status_text
from interplay.report.timeline import Timeline
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition, StudyRow, study_directory
from interplay.study.driving.budget import Budget, Prices
from interplay.study.driving.ledger import Ledger
from interplay.study.driving.stopping import stop_driver
from interplay.tracking.lease import Leases
from tests.studies import made_up, write_ablation, write_cell, write_search


@pytest.fixture
def half(tiny: Recipe, tmp_path: Path) -> StudyDefinition:
    """An ablation of six cells: three finished, one of them diverged; one begun, two not."""
    recipe = tiny.with_({"schedule.epochs": 4})
    rows = [StudyRow(BASELINE, {}, {}), StudyRow("no flip", {"augment.flip": 0.0}, {})]
    definition = write_ablation(tmp_path, recipe, rows)
    base, row = definition.rows
    write_cell(tmp_path, base.cells[0], 90.0, epochs=4)
    write_cell(tmp_path, base.cells[1], 91.0, epochs=4)
    write_cell(tmp_path, base.cells[2], 1.0, epochs=1, status="diverged")
    write_cell(tmp_path, row.cells[0], 90.0, epochs=2, status=None)
    return definition


def run(root: Path, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["--storage", str(root), *words])
    return done.exit_code, done.output


def test_before_its_first_run(half: StudyDefinition, tmp_path: Path) -> None:
    status = study_status(tmp_path, half.name)
    assert status.state == "stopped"
    assert status.cells == {"finished": 2, "diverged": 1, "waiting": 3}
    assert (status.total, status.running, status.used, status.eta_s) == (6, (), None, None)
    assert status.over


def test_while_it_runs(half: StudyDefinition, tmp_path: Path) -> None:
    cell = half.rows[1].cells[0]
    budget = Budget(gpu_hours=10.0, prices=Prices(cpu=0.1, gpu=2.0))
    leases = Leases(tmp_path / "cells", half.name)
    with Ledger(study_directory(tmp_path, half.name), budget) as ledger, leases:
        ledger.begin(cell, 1.0, 1.0)
        leases.take(cell)
        time.sleep(0.05)
        # an epoch of the current run is what its pace is known from
        write_cell(tmp_path, cell, 90.0, epochs=3, status=None)
        ledger.end(cell, "stopped")
        ledger.begin(cell, 1.0, 1.0)
        status = study_status(tmp_path, half.name)
        code, out = run(tmp_path, "status", half.name)
    assert status.state == "running"
    assert status.cells == {"finished": 2, "diverged": 1, "running": 1, "waiting": 2}
    (running,) = status.running
    assert (running.label, running.epoch, running.epochs, running.host) == ("no flip, seed 0", 3, 4, "node-1")
    assert status.hosts == {"node-1": 1}
    assert status.used is not None
    assert status.used["gpu_hours"] > 0
    # 4 + 4 + 1 + 3 epochs were trained, 1 + 4 + 4 are left
    assert status.to_go["gpu_hours"] == pytest.approx(status.used["gpu_hours"] * 9 / 12)
    assert status.to_go["cost"] == pytest.approx(status.used["cost"] * 9 / 12)
    assert code == 0
    assert "a1: ablation, running" in out
    assert "3 of 6 cells done: 2 finished, 1 running, 2 waiting, 1 diverged" in out
    assert "no flip, seed 0: epoch 3/4" in out
    assert "on: node-1 (1)" in out


def test_the_pace_is_that_of_the_current_run(half: StudyDefinition, tmp_path: Path) -> None:
    from interplay.tracking.journal import Journal
    from interplay.tracking.store import CellStore

    cell = half.rows[1].cells[0]
    with Ledger(study_directory(tmp_path, half.name), Budget()):
        began = time.time()
        assert study_status(tmp_path, half.name).eta_s is None, "nothing was trained in this run yet"
        time.sleep(0.2)
        Journal(CellStore(tmp_path).journal(cell)).append("epoch", epoch=3, metrics={})
        eta = study_status(tmp_path, half.name).eta_s
    assert eta is not None
    assert 9 * 0.2 < eta < 9 * (time.time() - began)


def test_a_killed_driver_is_told_from_a_stopped_one(half: StudyDefinition, tmp_path: Path) -> None:
    journal = study_directory(tmp_path, half.name) / "ledger.jsonl"
    with Ledger(study_directory(tmp_path, half.name), Budget()):
        pass
    assert study_status(tmp_path, half.name).state == "stopped"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    old = [{**line, "at": line["at"] - 3600} for line in lines if line["event"] != "close"]
    journal.write_text("".join(json.dumps(line) + "\n" for line in old))
    assert study_status(tmp_path, half.name).state == "killed"


def test_of_a_search(tiny: Recipe, tmp_path: Path) -> None:
    definition = write_search(tmp_path, tiny.with_({"schedule.epochs": 8}), 6, epochs=8, cut=1, failed=1)
    with Ledger(study_directory(tmp_path, definition.name), Budget(), total=10):
        status = study_status(tmp_path, definition.name)
    assert status.total == 10
    assert status.cells == {"finished": 4, "pruned": 1, "failed": 1, "waiting": 4}


def test_as_json(half: StudyDefinition, tmp_path: Path) -> None:
    code, out = run(tmp_path, "status", half.name, "--json")
    assert code == 0
    assert json.loads(out)["cells"] == {"finished": 2, "diverged": 1, "waiting": 3}


def test_following_ends_with_the_study(half: StudyDefinition, tmp_path: Path) -> None:
    code, out = run(tmp_path, "status", half.name, "--json", "-f")
    assert (code, len(out.splitlines())) == (0, 1)


def test_a_study_that_is_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    for command in ("status", "logs", "stop"):
        code, out = run(tmp_path, command, "nope", "--address", "http://127.0.0.1:9")
        assert code == 2
        assert "no Ray cluster answers at http://127.0.0.1:9" in out


def test_inside_a_job_no_job_server_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    code, out = run(tmp_path, "status", "nope")
    assert code == 2
    assert "there is no study 'nope'" in out


def test_logs_are_the_journals_in_order(half: StudyDefinition, tmp_path: Path) -> None:
    timeline = Timeline(tmp_path, half.name)
    lines = list(timeline.news())
    assert list(timeline.news()) == []
    assert lines == sorted(lines, key=lambda line: line[:19])
    assert sum(": begins on node-1, CPU, 1 threads" in line for line in lines) == 4
    assert sum(": epoch " in line for line in lines) == 4 + 4 + 1 + 2
    assert any(": diverged" in line for line in lines)
    write_cell(tmp_path, half.rows[1].cells[1], 50.0, epochs=1, status="failed", message="RuntimeError: no")
    assert [line.split(": ", 1)[1] for line in timeline.news()][-1].endswith("failed: RuntimeError: no")
    assert run(tmp_path, "logs", half.name)[1].count("\n") == len(lines) + 3


def test_stop_here(tmp_path: Path) -> None:
    directory = tmp_path / "studies" / "s1"
    code = (
        "import signal, sys, time; from pathlib import Path; from interplay.study.driving.lock import study_lock\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "with study_lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE, text=True, env=os.environ | _path()
    )
    try:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "held\n"
        assert stop_driver(directory) == driver.pid
        assert driver.wait(10) == 3
        with pytest.raises(InterplayError, match="not running"):
            stop_driver(directory)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        driver.stdout.close()


def _path() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2] / "platform")}


def test_the_text_says_what_the_cluster_has() -> None:
    nodes = [{"head": True, "cpus": 0.0, "gpus": 0.0}, *({"head": False, "cpus": 8.0, "gpus": 1.0},) * 2]
    plain = {"study": "s", "kind": "search", "state": "running", "total": 2, "cells": {}, "running": []}
    plain |= {"used": None, "left": {}, "to_go": {}, "eta_s": 3725.0, "hosts": {}, "nodes": nodes}
    text = status_text({**plain, "job": "raysubmit_1", "job_status": "running"})
    assert "s: search, running, job raysubmit_1 running" in text
    assert "nodes: 1 head, 2 with 1 GPU" in text
    assert "complete in about 1 h 02 min" in text


@pytest.mark.parametrize(("seconds", "said"), [(40, "40 s"), (95, "1 min 35 s"), (90061, "1 d 1 h")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_cells_of_two_rows_count_once(tiny: Recipe, tmp_path: Path) -> None:
    shared = {0: made_up("shared")}
    rows = [StudyRow(BASELINE, {}, dict(shared)), StudyRow("the same", {}, dict(shared))]
    definition = write_ablation(tmp_path, tiny, rows, seeds=[0])
    assert study_status(tmp_path, definition.name).total == 1
