"""A study on a cluster from another folder: submitted, looked at, stopped, submitted again, plainly; with tokens."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interplay.tracking.journal import read
from tests.cluster.heads import ROOT, Head, processes_of, running_head

TRIALS = 2
SMALL = ["-s", "schedule.epochs=40", "-s", "schedule.warmup_epochs=1", "--trials", str(TRIALS), "--seed", "1"]
MINE = """
import platform

from interplay.recipe import find_recipe

print("platform is", platform.python_version(), "from", platform.__file__, flush=True)


def small():
    return find_recipe("digits.deit_small_patch4").with_({"name": "mine"})


def space(trial):
    return {"model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.3)}
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    token = tmp_path_factory.mktemp("token") / "auth_token"
    token.write_text("0123456789abcdef0123456789abcdef")
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    with running_head("--num-cpus=2", variables=variables) as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of a user's own, with a folder `platform` that must not hide the standard library's module."""
    (tmp_path / "mine" / "platform").mkdir(parents=True)
    (tmp_path / "mine" / "mine.py").write_text(MINE)
    return tmp_path / "mine"


def search(name: str) -> list[str]:
    return ["search", "mine.py:small", "mine.py:space", "--name", name, *SMALL]


def submit(head: Head, folder: Path, root: Path, *options: str) -> tuple[int, str]:
    command = ["submit", *options, *search("reg1"), "--checkpoint-every", "1"]
    done = head.run("interplay", "--storage", str(root), *command, cwd=folder, timeout_s=500)
    return done.returncode, done.stdout + done.stderr


def status(head: Head, *options: str) -> dict[str, Any]:
    # from a folder whose storage does not hold the study, as on a laptop
    done = head.run("interplay", "--storage", "/nonexistent", "status", "reg1", "--json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_from_a_laptop_and_back(head: Head, folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    code, out = submit(head, folder, root, "--no-wait")
    assert code == 0, out
    job = re.search(r"raysubmit_\w+", out)
    assert job is not None

    deadline = time.monotonic() + 400
    while not list(root.glob("cells/*/checkpoint/last.pt")):
        assert time.monotonic() < deadline, head.run("interplay", "logs", "reg1").stdout
        time.sleep(0.5)
    seen = status(head)
    assert (seen["state"], seen["total"], seen["job"]) == ("running", TRIALS, job[0])
    assert seen["cells"]["running"] >= 1
    assert seen["running"][0]["epochs"] == 40
    assert [node["head"] for node in seen["nodes"]] == [True]

    logs = head.run("interplay", "--storage", "/nonexistent", "logs", "reg1").stdout
    assert re.search(r"platform is 3\.\d+\.\d+ from .*/lib/python3\.\d+/platform.py", logs)

    stopped = head.run("interplay", "--storage", "/nonexistent", "stop", "reg1")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "submit its command again" in stopped.stdout
    assert leftovers(head) == []
    events = [record["event"] for record in read(root / "studies" / "reg1" / "ledger.jsonl")[0]]
    assert events[-1] == "close"
    assert "RUNNING" not in mlflow_statuses(root)
    assert not list(root.glob("cells/*/lease.json"))
    ends = [read(journal)[0][-1] for journal in root.glob("cells/*/journal.jsonl")]
    assert {end.get("status") for end in ends} <= {"stopped", "finished"}
    unfinished = [p.parent for p in root.glob("cells/*/journal.jsonl") if not (p.parent / "result.json").exists()]
    assert unfinished, "the study was over before it was stopped; the test needs more epochs"
    reached = {cell: max(r.get("epoch", 0) for r in read(cell / "journal.jsonl")[0]) for cell in unfinished}
    assert status(head)["state"] == "stopped"

    code, out = submit(head, folder, root)
    assert code == 0, out
    assert "COMPLETE" in out
    assert len(list(root.glob("cells/*/result.json"))) == TRIALS
    for cell, epoch in reached.items():
        starts = [r["epoch"] for r in read(cell / "journal.jsonl")[0] if r["event"] == "start"]
        assert starts[-1] >= epoch - 1, "it went on from its checkpoint"
    assert status(head, "-f")["state"] == "complete"
    again = head.run("interplay", "--storage", "/nonexistent", "stop", "reg1")
    assert again.returncode == 2
    assert "is not running" in again.stderr

    # the plain way; under another name it finds every cell and trains nothing
    trained = {path: path.stat().st_mtime_ns for path in root.glob("cells/*/result.json")}
    environment = {"env_vars": {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}}
    plain = ["ray", "job", "submit", "--working-dir", ".", "--runtime-env-json", json.dumps(environment), "--"]
    plain += ["python", "-m", "interplay", "--storage", str(root), *search("reg2")]
    done = head.run(*plain, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "COMPLETE" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in root.glob("cells/*/result.json")} == trained


def leftovers(head: Head) -> list[str]:
    """What still runs for the study: its driver, or an actor that trains its cells."""
    deadline = time.monotonic() + 30
    while True:
        lines = [" ".join(process.cmdline()) for process in processes_of(str(head.folder))]
        found = [line for line in lines if "--name reg1" in line or "ray::ImplicitFunc" in line]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def mlflow_statuses(root: Path) -> list[str]:
    import sqlite3

    with sqlite3.connect(root / "mlflow.db") as db:
        return [row[0] for row in db.execute("select status from runs")]


def test_without_the_token_nothing_is_told(head: Head, folder: Path) -> None:
    tokenless = {k: v for k, v in head.environment.items() if not k.startswith("RAY_AUTH")}
    stranger = Head(head.address, head.gcs, tokenless | {"RAY_AUTH_MODE": "disabled"}, head.folder)
    for command in (["submit", "search"], ["status", "reg1"], ["logs", "reg1"], ["stop", "reg1"]):
        done = stranger.run("interplay", "--storage", str(folder / "none"), *command, cwd=folder)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "wants a token" in done.stderr


def test_a_checkout_travels_in_less_than_a_megabyte(head: Head, tmp_path: Path) -> None:
    done = head.run("interplay", "submit", "recipe", "list")
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = [p for p in head.folder.rglob("_ray_pkg_*") if (p / "recipes").is_dir()]
    assert (package / "platform" / "interplay" / "__init__.py").is_file()
    archive = Path(shutil.make_archive(str(tmp_path / "package"), "zip", package))
    assert archive.stat().st_size < 1_000_000, sorted(
        ((p.stat().st_size, str(p)) for p in package.rglob("*") if p.is_file()), reverse=True
    )[:10]
    assert not list(package.rglob("*.png"))
    assert ROOT not in [package, *package.parents]
