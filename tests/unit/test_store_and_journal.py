"""What a cell leaves behind: a journal that survives its writer, and a result that is whole or not there."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from interplay.data.manifest import Manifest, write_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe, read_recipe
from interplay.tracking.journal import Journal, epochs, read
from interplay.tracking.store import (
    DIVERGED,
    FINISHED,
    Cell,
    CellResult,
    CellStore,
    default_root,
    read_result,
    write_result,
)

WRITERS, RECORDS = 4, 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cell" / "journal.jsonl"


def test_read_goes_on_from_its_offset(path: Path) -> None:
    assert read(path) == ([], 0)
    journal = Journal(path)
    journal.append("start", epoch=0)
    first, offset = read(path)
    assert [(r["event"], r["epoch"]) for r in first] == [("start", 0)]
    assert read(path, offset) == ([], offset)
    journal.append("epoch", epoch=1, metrics={"val/top1": float("nan")})
    journal.append("end", status="failed", message="two\nlines \u2028 and é")
    rest, end = read(path, offset)
    assert [r["event"] for r in rest] == ["epoch", "end"]
    assert rest[1]["message"] == "two\nlines \u2028 and é"
    assert end == path.stat().st_size
    assert first[0]["at"] <= rest[0]["at"] <= rest[1]["at"]


@pytest.mark.parametrize("torn", ['{"at": 1.0, "event": "epo', '{"at": 1.0, "event": "epoch", "epoch": 2}', "{"])
def test_a_torn_last_line(path: Path, torn: str) -> None:
    Journal(path).append("start", epoch=0)
    whole = path.stat().st_size
    with path.open("a") as file:
        file.write(torn)  # no line break: the writer was killed here
    records, offset = read(path)
    assert [r["event"] for r in records] == ["start"]
    assert offset == whole  # not read past what may still be unfinished
    Journal(path).append("end", status=FINISHED)
    assert read(path, offset)[0][-1]["event"] == "end"
    events = [r["event"] for r in read(path)[0]]
    assert events[0] == "start"
    assert events[-1] == "end"


def test_an_empty_file_is_no_torn_line(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    Journal(path).append("start", epoch=0)
    assert path.read_text().startswith("{")


def _write(path: Path, writer: int) -> None:
    journal = Journal(path)
    for number in range(RECORDS):
        journal.append("epoch", epoch=number, writer=writer, metrics={"x": "y" * (37 * number % 4000)})


def test_concurrent_writers(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, writer)) for writer in range(WRITERS)]
    for process in writers:
        process.start()
    for process in writers:
        process.join(60)
        assert process.exitcode == 0
    records, offset = read(path)
    assert offset == path.stat().st_size
    for writer in range(WRITERS):
        assert [r["epoch"] for r in records if r["writer"] == writer] == list(range(RECORDS))


def test_the_last_record_of_an_epoch_counts(path: Path) -> None:
    journal = Journal(path)
    for epoch, loss in ((1, 3.0), (2, 2.0), (2, 1.5), (3, 1.0)):
        journal.append("epoch", epoch=epoch, metrics={"loss": loss})
    journal.append("end", status=FINISHED)
    assert {e: r["metrics"]["loss"] for e, r in epochs(read(path)[0]).items()} == {1: 3.0, 2: 1.5, 3: 1.0}


def cells(tmp_path: Path, recipe: Recipe) -> list[Cell]:
    beton = tmp_path / "none.beton"
    write_manifest(beton, Manifest("none", [["a"]], {"train": 1}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))
    return [Cell(recipe.with_seed(seed), beton) for seed in range(4)]


def result_of(cell: Cell, status: str = FINISHED, **metrics: float) -> CellResult:
    return CellResult(cell.fingerprint, status, metrics, {"device": "CPU"})


def test_a_result_is_whole_or_not_there(tmp_path: Path, tiny: Recipe) -> None:
    store, cell = CellStore(tmp_path), cells(tmp_path, tiny)[0]
    directory = store.prepare(cell)
    assert store.result(cell.fingerprint) is None
    assert read_recipe(directory / "recipe.yaml") == cell.recipe
    (directory / ".result.json.1.tmp").write_text("{")  # what a writer that was killed leaves
    assert store.result(cell.fingerprint) is None
    result = result_of(cell, top1=97.5)
    write_result(directory, result)
    assert store.result(cell.fingerprint) == result
    assert {p.name for p in directory.iterdir()} == {"recipe.yaml", "result.json", ".result.json.1.tmp"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": "f"}', '{"other": 1}', "null", "\ufeff{}"])
def test_a_damaged_result_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(
        InterplayError, match=r"result\.json is damaged .*; remove it to train the cell again"
    ) as info:
        read_result(tmp_path)
    assert "\n" not in str(info.value)


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    old = CellResult("f", FINISHED, {"a": 1.0}, {})
    write_result(tmp_path, old)
    with pytest.raises(TypeError):
        write_result(tmp_path, CellResult("f", FINISHED, {}, {"device": object()}))
    assert read_result(tmp_path) == old


def test_missing_keeps_the_order_and_names_each_cell_once(tmp_path: Path, tiny: Recipe) -> None:
    store = CellStore(tmp_path)
    a, b, c, d = cells(tmp_path, tiny)
    write_result(store.prepare(b), result_of(b))
    write_result(store.prepare(d), result_of(d, DIVERGED))
    assert store.missing([c, a, b, c, d, a]) == [c, a]


@pytest.mark.parametrize(
    ("status", "metrics", "expected"),
    [
        (FINISHED, {"val/top1": 97.0}, 97.0),
        (FINISHED, {"val/top1": 0.0}, 0.0),
        (FINISHED, {"val/top1": float("nan")}, None),
        (FINISHED, {}, None),
        (DIVERGED, {"val/top1": 97.0}, None),
    ],
)
def test_a_metric_needs_a_finished_cell(status: str, metrics: dict[str, float], expected: float | None) -> None:
    result = CellResult("f", status, metrics, {})
    assert result.metric("val/top1") == expected
    assert CellResult(**json.loads(json.dumps(vars(result)))).metric("val/top1") == expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "here/runs"),
        ({"INTERPLAY_STORAGE": "~/kept"}, "home/kept"),
        ({"INTERPLAY_STORAGE": "near"}, "here/near"),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, "home/interplay"),
        ({"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}", "INTERPLAY_STORAGE": "~/kept"}, "home/kept"),
    ],
)
def test_default_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("INTERPLAY_STORAGE", raising=False)
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert default_root() == (tmp_path / expected).resolve()
