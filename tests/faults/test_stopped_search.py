"""A search that a person stops goes on with the same command, and nothing is done twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from interplay.study.search.proposals import CELL, open_study
from interplay.tracking.journal import read

TRIALS = 4
SMALL = ["-s", "schedule.epochs=4", "-s", "schedule.warmup_epochs=1"]

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]


def search(root: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "interplay", "--storage", str(root), "search"]
    command += ["digits.deit_small_patch4", "digits.demo", "--name", "kill", "--trials", str(TRIALS), *SMALL]
    # a process group of its own: what it started dies with it, as when a machine goes away
    return subprocess.Popen([*command, *options], start_new_session=True, stdout=subprocess.DEVNULL)


def results(root: Path) -> dict[str, float]:
    """Finished cells and when each was finished."""
    return {p.parent.name: p.stat().st_mtime for p in root.glob("cells/*/result.json")}


def wait_for(root: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 180
    while len(results(root)) < count:
        assert process.poll() is None, "the search ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def mlflow_runs(root: Path) -> tuple[list[str], list[str]]:
    """(statuses of the children, statuses of the parents), straight from MLflow."""
    code = (
        "import sys, json, mlflow; c = mlflow.MlflowClient(sys.argv[1]);"
        "e = c.get_experiment_by_name('interplay'); rs = c.search_runs([e.experiment_id]);"
        "print(json.dumps([[r.data.tags.get('interplay.role'), r.info.status] for r in rs]))"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{root / 'mlflow.db'}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = json.loads(out.splitlines()[-1])
    return [s for role, s in rows if role == "cell"], [s for role, s in rows if role == "study"]


def check_nothing_twice(root: Path, before: dict[str, float]) -> None:
    after = results(root)
    assert len(after) == TRIALS
    assert {cell: after[cell] for cell in before} == before  # not written again
    for cell in before:
        starts = [r for r in read(root / "cells" / cell / "journal.jsonl")[0] if r["event"] == "start"]
        assert len(starts) == 1, "a finished cell was trained again"
    records = open_study(root / "studies" / "kill").get_trials()
    assert Counter(r.state.name for r in records) == {"COMPLETE": TRIALS}
    assert sorted(r.user_attrs[CELL] for r in records) == sorted(after)
    children, parents = mlflow_runs(root)
    assert children == ["FINISHED"] * TRIALS
    assert parents == ["FINISHED"]


def test_stopped_politely(tmp_path: Path) -> None:
    process = search(tmp_path)
    wait_for(tmp_path, 1, process)
    process.send_signal(signal.SIGINT)  # SIGTERM is the drill's
    assert process.wait(timeout=60) == 130
    children, parents = mlflow_runs(tmp_path)
    assert "RUNNING" not in {*children, *parents}
    before = results(tmp_path)
    assert search(tmp_path).wait() == 0
    check_nothing_twice(tmp_path, before)
