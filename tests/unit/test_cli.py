"""The command line: one sentence and exit code 2 for every mistake, and nothing written for it."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from interplay.cli import main
from interplay.data.manifest import manifest_path
from interplay.study.lock import study_lock
from interplay.tracking.journal import read
from tests.unit.refusals import check_refused, listing, run

RECIPE = "digits.deit_small_patch4"
TRAIN, SEARCH = ["train", RECIPE], ["search", RECIPE, "digits.demo", "--name", "x"]
ABLATE = ["ablate", RECIPE, "digits.leave_one_out_demo", "--name", "x"]
CHECK = ["check", RECIPE]

MINE = '''
"""A person's own recipe, space and ablation."""
from interplay.recipe import Augment, Cosine, Data, Evaluation, RandomResizedCrop, Recipe, ViT
from interplay.study.ablation import Ablation, Row


def tiny():
    return Recipe(
        name="mine",
        model=ViT(patch_size=4, width=16, depth=1, heads=2, init_std=0.1),
        data=Data(resolution=16, batch_size=64),
        augment=Augment(crop=RandomResizedCrop(scale=(0.7, 1.0)), flip=0.0),
        schedule=Cosine(epochs=2, warmup_epochs=1),
        evaluation=Evaluation(crop_ratio=1.0),
    )


def heads():
    return Recipe(model=ViT(width=16, heads=5))


def field():
    return Recipe(model=ViT(widht=16))


def infeasible(trial):
    return {"model.heads": trial.suggest_categorical("model.heads", [7, 11])}


def dead(trial):
    trial.suggest_float("forgotten", 0.0, 1.0)
    return {}


def empty_row():
    return Ablation("?", [Row("nothing", {})])


def wrong_row():
    return Ablation("?", [Row("misspelt", {"model.hedas": 2})])
'''


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """What the malformed command lines refer to."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "mine.py").write_text(MINE)
    (folder / "broken.py").write_text("def tiny(:\n")
    (folder / "cell.yaml").write_text("- not a mapping\n")
    (folder / "nonsense.pt").write_bytes(b"not a checkpoint")
    (folder / "empty").mkdir()
    (folder / "file").touch()
    for name in ("truncated", "no manifest", "changed"):
        shutil.copy(digits_beton, folder / f"{name}.beton")
        shutil.copy(manifest_path(digits_beton), manifest_path(folder / f"{name}.beton"))
    os.truncate(folder / "truncated.beton", 100_000)
    manifest_path(folder / "no manifest.beton").unlink()
    with (folder / "changed.beton").open("r+b") as file:
        file.seek(-100_000, os.SEEK_END)
        file.write(b"\x7f")
    for split, kind in (("train", "cat"), ("val", "dog")):
        make_images(folder / "images" / split / kind, 2)
    make_images(folder / "unreadable" / "cat", 2)
    (folder / "unreadable" / "cat" / "0.png").write_bytes(b"\x89PNG but no more")
    for i in range(1, 6):
        batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10 if i == 3 else 1]}
        write_pickle(folder / "cifar" / f"data_batch_{i}", batch)
    write_pickle(folder / "cifar" / "test_batch", {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0]})
    write_pickle(folder / "cifar" / "batches.meta", {b"label_names": [b"a", b"b"]})
    return folder


def make_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((20, 20, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")


def write_pickle(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """A storage folder with the digits in it and nothing else."""
    root = tmp_path_factory.mktemp("storage")
    (root / "datasets").mkdir()
    for path in (digits_beton, manifest_path(digits_beton)):
        shutil.copy(path, root / "datasets" / path.name)
    return root


MISTAKES: list[tuple[list[str], str]] = [
    (["trian", RECIPE], "No such command 'trian'"),
    (["train"], "Missing argument 'RECIPE'"),
    (["train", "digits.deit_smal_patch4"], "did you mean 'deit_small_patch4'"),
    (["train", "digit.deit_small_patch4"], "did you mean 'digits.deit_small_patch4'"),
    (["train", "FILES/none.py:tiny"], "there is no file .*none.py"),
    (["train", "FILES/mine.py:tinny"], "did you mean 'tiny'"),
    (["train", "FILES/mine.py"], "mine has no function 'default'"),
    (["train", "FILES/mine.py:infeasible"], "raised TypeError: infeasible.. missing 1 required"),
    (["train", "FILES/mine.py:heads"], "mine.py:heads: model.heads=5 does not divide model.width=16"),
    (["train", "FILES/mine.py:field"], "mine.py:field: widht: Extra inputs are not permitted"),
    (["train", "FILES/mine.py:empty_row"], "returned Ablation, not a Recipe"),
    (["train", "FILES/broken.py:tiny"], "could not be read: SyntaxError"),
    (["train", "FILES/cell.yaml"], "holds no recipe"),
    (["train", "FILES/none.yaml"], "there is no recipe file"),
    (["train", "best:nothing"], "there is no study 'nothing'"),
    ([*TRAIN, "-s", "model.drop_pth=0.1"], "recipes have no 'model.drop_pth'; did you mean 'model.drop_path'"),
    ([*TRAIN, "-s", "model.drop_path"], "is not of the form path=value"),
    ([*TRAIN, "-s", "model.drop_path=1.5"], r"model\.drop_path=1\.5.*less than 1"),
    ([*TRAIN, "-s", "model.drop_path=[0.1"], "is not a YAML value"),
    ([*TRAIN, "-s", "model.heads=7"], r"model\.heads=7 does not divide model\.width=48"),
    ([*TRAIN, "-s", "augment.policy=three_augmnt"], "did you mean 'three_augment'"),
    ([*TRAIN, "-s", "data.batch_size=2000"], "more than the 1151 training samples"),
    ([*TRAIN, "-s", "data.resolution=18"], "not a multiple of model.patch_size=4"),
    ([*TRAIN, "--data", "imagenet"], "there is no data set 'imagenet'"),
    ([*TRAIN, "--data", "FILES/none.beton"], "there is no data set .*none.beton"),
    ([*TRAIN, "--data", "FILES/truncated.beton"], "it is truncated or changed"),
    ([*TRAIN, "--data", "FILES/no manifest.beton"], "has no manifest"),
    ([*TRAIN, "--name", "a/b"], "a study cannot be called 'a/b'"),
    ([*TRAIN, "--name", ".."], "a study cannot be called '..'"),
    ([*TRAIN, "--name", "it's"], "a study cannot be called"),
    ([*TRAIN, "--name", "x" * 300], "a study cannot be called"),
    ([*TRAIN, "--gpus", "1.5"], "1.5 GPUs .* must be a whole number"),
    ([*TRAIN, "--gpus", "-1"], "numbers from 0 on"),
    ([*TRAIN, "--workers", "0"], "--workers 0 is too few"),
    ([*TRAIN, "--threads", "0"], "--threads 0 is too few"),
    ([*TRAIN, "--executor", "inline", "--workers", "2"], "the inline executor trains with one worker"),
    ([*TRAIN, "--executor", "spark"], "'spark' is not one of"),
    (["search", RECIPE, "digits.demoo", "--name", "x"], "did you mean 'demo'"),
    (["search", RECIPE, "digits.demo"], "Missing option '--name'"),
    (["search", RECIPE, "FILES/mine.py:infeasible", "--name", "x"], "proposes nothing the recipe accepts"),
    (["search", RECIPE, "FILES/mine.py:tiny", "--name", "x"], "tiny takes 0 arguments; a search space takes"),
    ([*SEARCH, "--sampler", "tp"], "no sampler 'tp'; did you mean 'tpe'"),
    ([*SEARCH, "--trials", "0"], "needs at least one trial, not 0"),
    ([*SEARCH, "--trials", "many"], "'many' is not a valid integer"),
    ([*SEARCH, "--sampler", "grid"], r"no end for model\.drop_path, which is continuous"),
    ([*SEARCH, "--sampler", "cmaes", "--objective", "val/top1", "--objective", "macs"], "cmaes optimises one"),
    ([*SEARCH, "--objective", "test/top1"], "the test split never steers a search"),
    ([*SEARCH, "--constraint", "parameters<=1e3"], "parameters<=1000 is exceeded by"),
    ([*SEARCH, "--constraint", "speed<=3"], "no 'speed' can be counted"),
    ([*SEARCH, "--start-from", "nowhere.yaml"], "there is no such file"),
    ([*SEARCH, "--start-from", "published:deit"], "no published point 'deit'"),
    ([*SEARCH, "--start-from", "best:nothing"], "there is no study 'nothing'"),
    ([*SEARCH, "--warm-start", "nothing"], "there is no study 'nothing'"),
    ([*SEARCH, "--optuna-storage", "nonsense"], "is the address of a data base"),
    (["search", RECIPE, "heads.fixed_width+digits.demo", "--name", "x"], r"both set model\.heads; leave one"),
    ([*SEARCH, "--concurrency", "-1"], "numbers from 0 on"),
    (["ablate", RECIPE, "digits.leave_one_out", "--name", "x"], "did you mean 'leave_one_out_demo'"),
    (["ablate", RECIPE, "FILES/mine.py:tiny", "--name", "x"], "returned Recipe, not an Ablation"),
    (["ablate", RECIPE, "FILES/mine.py:wrong_row", "--name", "x"], "row 'misspelt': recipes have no 'model.hedas'"),
    ([*ABLATE, "--seeds", "0"], "seeds"),
    ([*ABLATE, "--seeds", "-2"], "seeds"),
    (["check", "FILES/mine.py:tiny", "--space", "FILES/mine.py:dead"], "'forgotten' changes neither the model"),
    ([*CHECK, "--ablation", "FILES/mine.py:empty_row"], "row 'nothing' trains exactly as the baseline"),
    (["evaluate", "FILES/none.pt", "--data", "digits"], "there is no checkpoint"),
    (["evaluate", "FILES/nonsense.pt", "--data", "digits"], "is not a checkpoint"),
    (["evaluate", "FILES/empty", "--data", "digits"], "there is no checkpoint"),
    (["report", "nothing"], "there is no study 'nothing'"),
    (["report", "nothing", "--format", "html"], "there is no study 'nothing'"),
    (["report", "nothing", "--format", "yaml"], "'yaml' is not one of"),
    (["report", "nothing", "--format", "html", "--best", "3"], "--best shortens a table"),
    (["report", "nothing", "--format", "png", "--audit"], "--audit and --importance are text"),
    (["report", "nothing", "--audit", "--importance"], "give one of them"),
    (["report", "nothing", "--best", "0"], "0 is not in the range"),
    (["sync", "nothing"], "there is no study 'nothing'"),
    (["submit", "--address", "http://127.0.0.1:PORT", *SEARCH], "no Ray cluster answers at http://127.0.0.1"),
    (["submit"], "Missing argument"),
    (["data", "write", "digits", "FILES/digits.zip"], "must end in .beton"),
    (["data", "write", "digits", "FILES/out.beton", "--val", "0.6", "--test", "0.5"], "leave something to train on"),
    (["data", "write", "coco:FILES", "FILES/out.beton"], "'coco' is no kind of source"),
    (["data", "write", "FILES/none", "FILES/out.beton"], "there is no folder"),
    (["data", "write", "FILES/empty", "FILES/out.beton"], "holds no images"),
    (["data", "write", "FILES/images", "FILES/out.beton"], "class 'dog' is not in"),
    (["data", "write", "FILES/unreadable", "FILES/out.beton"], "no image that can be read"),
    (["data", "write", "cifar:FILES/cifar", "FILES/out.beton"], "has label 10, outside 0..1"),
    (["data", "verify", "FILES/none.beton"], "there is no data set"),
    (["data", "verify", "FILES/truncated.beton"], "truncated"),
    (["data", "verify", "FILES/changed.beton"], "differs from its manifest"),
]


@pytest.mark.parametrize(
    ("command", "message"), MISTAKES, ids=lambda v: " ".join(v)[:60] if isinstance(v, list) else ""
)
def test_mistakes(command: list[str], message: str, files: Path, storage: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]  # nobody listens there
    before = listing(storage), listing(files)
    given = [c.replace("FILES", str(files)).replace("PORT", str(port)) for c in command]
    check_refused(run("--storage", storage, *given), message)
    assert (listing(storage), {k: v for k, v in listing(files).items() if "__pycache__" not in k}) == before


def test_a_storage_that_is_a_file(files: Path) -> None:
    check_refused(run("--storage", files / "file", *TRAIN), "is a file")


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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # SQLAlchemy leaves connections to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_from_training_to_report(files: Path, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    root = tmp_path / "runs"
    shutil.copytree(storage, root)
    command = ["--storage", root, "train", f"{files / 'mine.py'}:tiny", "--name", "first"]

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
