"""The command line: its help, what it says as a process, and the way from a training to its reports."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from interplay.cli import main
from interplay.study.driving.lock import study_lock
from interplay.tracking.journal import read
from tests.unit.malformed_input import RECIPE, TINY, make_images, write_digits
from tests.unit.refusals import check_refused, listing, run

TRAIN = ["train", RECIPE]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """A storage folder with the digits in it and nothing else."""
    root = tmp_path_factory.mktemp("storage")
    write_digits(root, digits_beton)
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        (["--help"], 0, "Find out what matters", ""),
        ([*TRAIN, "-s", "model.heads=7"], 2, "", "Error: model.heads=7 does not divide model.width=48"),
    ],
)
def test_as_a_process(tmp_path: Path, command: list[str], code: int, out: str, err: str) -> None:
    whole = [sys.executable, "-m", "interplay", "--storage", str(tmp_path / "runs"), *command]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=120)
    assert done.returncode == code
    assert out in done.stdout
    assert done.stderr.startswith(err)
    assert len(done.stderr.splitlines()) <= 1
    assert not list(tmp_path.iterdir())


def commands(group: click.Group, *path: str) -> list[list[str]]:
    found = [list(path)]
    for name, command in group.commands.items():
        found += commands(command, *path, name) if isinstance(command, click.Group) else [[*path, name]]
    return found


@pytest.mark.parametrize("command", commands(main), ids=" ".join)
def test_help(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    usage, _, about, *_ = result.stdout.splitlines()
    assert usage.startswith(f"Usage: {' '.join(['main', *command])}")
    assert len(about.split()) >= 4  # a sentence
    assert result.stdout == run(*command, "-h").stdout


def test_a_folder_of_images(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        make_images(tmp_path / "images" / kind, 10)
    beton = tmp_path / "new" / "pets.beton"
    written = run("data", "write", tmp_path / "images", beton, "--val", "0.2", "--test", "0.1")
    assert written.exit_code == 0, written.output
    assert "14 train, 4 val, 2 test, 2 classes" in written.stdout
    sound = run("data", "verify", beton)
    assert sound.exit_code == 0
    assert "is sound: 20 samples" in sound.stdout


@pytest.mark.parametrize("command", [["search", RECIPE, "digits.demo"], ["ablate", RECIPE, "digits.heads"]], ids=str)
def test_a_study_that_another_drives_is_refused_before_a_cluster_is_started(
    storage: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setattr("interplay.studies.cluster_with_room", lambda *_: pytest.fail("a cluster was started"))
    with study_lock(storage / "studies" / "driven"):
        refused = run("--storage", storage, *command, "--name", "driven")
    check_refused(refused, f"study 'driven' is being run by process {os.getpid()}")
    shutil.rmtree(storage / "studies")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # SQLAlchemy leaves connections to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_from_training_to_report(storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "runs"
    shutil.copytree(storage, root)
    mine = tmp_path / "mine.py"
    mine.write_text(TINY)
    command = ["--storage", root, "train", f"{mine}:tiny", "--name", "first"]

    trained = run(*command)
    assert trained.exit_code == 0, trained.output
    assert "1 cell\n" in trained.stderr
    assert re.search(r"\[1/1\] baseline · seed 0: val/top1 [\d.]+  test/top1 [\d.]+", trained.stderr)
    (cell,) = (root / "cells").iterdir()
    result = json.loads((cell / "result.json").read_text())
    top1 = result["metrics"]["test/top1"]
    assert f"{top1:.2f} (1)" in trained.stdout

    written = listing(cell)
    again = run(*command)
    assert again.exit_code == 0, again.output
    assert "1 finished before and kept" in again.stderr
    assert listing(cell) == written
    assert [r["event"] for r in read(cell / "journal.jsonl")[0]] == ["start", "epoch", "epoch", "end"]

    scores = run("--storage", root, "evaluate", cell, "--data", "digits")
    assert scores.exit_code == 0, scores.output
    assert f"test/top1  {top1:.4f}\n" in scores.stdout
    check_refused(run("--storage", root, "evaluate", cell, "--data", "digits", "--crop-ratio", "3"), "crop_ratio=3")

    same = run("--storage", root, "train", cell / "recipe.yaml", "--name", "from its file")
    assert same.exit_code == 0, same.output
    assert [p.name for p in (root / "cells").iterdir()] == [cell.name]
    check_reports(root, f"{top1:.2f} (1)")

    before = listing(root / "studies"), listing(root / "cells")
    other = run(*command, "-s", "model.drop_path=0.1")
    check_refused(other, r"study 'first' was made from another recipe \(model\.drop_path\); choose another --name")
    with study_lock(root / "studies" / "first"):
        pid = os.getpid()
        for second in (command, ["--storage", root, "sync", "first"]):
            check_refused(run(*second), f"study 'first' is being run by process {pid}; stop it first")
    after = listing(root / "studies"), listing(root / "cells")
    lock = str(root / "studies" / "first" / "lock")
    before[0].pop(lock), after[0].pop(lock)
    assert after == before

    synced = run("--storage", root, "sync", "first")
    assert synced.exit_code == 0, synced.output
    assert "has all of first" in synced.stdout


def check_reports(root: Path, number: str) -> None:
    texts = {
        form: run("--storage", root, "report", "first", "--format", form) for form in ("text", "md", "csv", "json")
    }
    assert {form: r.exit_code for form, r in texts.items()} == dict.fromkeys(texts, 0)
    assert all(number in texts[form].stdout for form in ("text", "md", "csv"))
    assert texts["md"].stdout.startswith("# first")
    header, row = [line for line in csv.reader(io.StringIO(texts["csv"].stdout)) if line]
    assert dict(zip(header, row, strict=True))["verdict"] == "baseline"
    (line,) = json.loads(texts["json"].stdout)["rows"]
    assert (line["label"], line["test"]["seeds"]) == ("baseline", [0])
