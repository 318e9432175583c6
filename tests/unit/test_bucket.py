"""Copies of a storage root in object storage: against moto's S3 server on this machine, and a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from interplay.cli import main
from interplay.cluster import bucket
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.status import study_status
from interplay.studies.copies import pull_studies, push_studies
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition, StudyRow
from interplay.tracking.store import CellStore
from tests.studies import write_ablation, write_cell


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """An S3 server with the bucket `runs`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    boto3.client("s3").create_bucket(Bucket="runs")
    yield "s3://runs/main"
    server.stop()
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(params=["s3", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return (tmp_path / "elsewhere").as_uri()
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def study(tiny: Recipe, root: Path) -> StudyDefinition:
    """Three cells, one of them half trained."""
    definition = write_ablation(root, tiny, [StudyRow(BASELINE, {}, {})])
    cells = definition.rows[0].cells
    for seed in (0, 1):
        write_cell(root, cells[seed], 90.0 + seed, epochs=2, recipe=tiny)
    write_cell(root, cells[2], 90.0, epochs=1, status=None, recipe=tiny)
    checkpoint = CellStore(root).checkpoint(cells[2])
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"weights after one epoch")
    (CellStore(root).directory(cells[2]) / "lease.json").write_text("{}")
    (root / "datasets").mkdir(exist_ok=True)
    (root / "datasets" / "digits.beton").write_bytes(b"x" * 300_000)
    return definition


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_there_and_back(study: StudyDefinition, root: Path, place: str, tmp_path: Path) -> None:
    copied = push_studies(root, place)
    assert copied.kept == 0
    back = tmp_path / "back"
    assert pull_studies(back, place).files == copied.files
    expected = {name: data for name, data in tree(root).items() if not name.endswith("lease.json")}
    assert tree(back) == expected
    assert study_status(back, study.name).cells == {"finished": 2, "waiting": 1}

    again = push_studies(root, place)
    # what may change without growing is sent again: the definition, the checkpoint of the unfinished cell
    assert again.files == 2
    assert again.kept == copied.files - 2


def test_one_study_with_its_cells(
    study: StudyDefinition, root: Path, place: str, tmp_path: Path, tiny: Recipe
) -> None:
    write_ablation(root, tiny, [StudyRow(BASELINE, {}, {})], name="other")
    push_studies(root, place)
    back = tmp_path / "back"
    pull_studies(back, place, [study.name])
    assert sorted(p.name for p in (back / "studies").iterdir()) == [study.name]
    assert {p.name for p in (back / "cells").iterdir()} == set(study.rows[0].cells.values())
    with pytest.raises(InterplayError, match="there is no study 'nope'"):
        pull_studies(back, place, ["nope"])


def test_a_copy_that_breaks_off_holds_no_finished_cell(
    study: StudyDefinition, root: Path, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = bucket._Objects.write, []

    def breaks(self: Any, name: str, chunks: Any) -> None:
        if len(written) == 7:
            raise OSError("the network is gone")
        written.append(name)
        real(self, name, chunks)

    monkeypatch.setattr(bucket._Objects, "write", breaks)
    with pytest.raises(InterplayError, match=r"broke off .*goes on"):
        push_studies(root, place)
    monkeypatch.undo()
    back = tmp_path / "back"
    pull_studies(back, place)
    assert not list(back.rglob("result.json"))

    push_studies(root, place)
    pull_studies(back, place)
    assert len(list(back.rglob("result.json"))) == 2


def test_an_upload_in_the_middle_of_a_file_leaves_no_object(study: StudyDefinition, root: Path, s3: str) -> None:
    system, base = bucket.open_place(f"{s3}/broken")

    def half() -> Iterator[bytes]:
        yield b"x" * 100
        raise OSError("killed")

    objects = bucket._Objects(system, base)
    with pytest.raises(OSError, match="killed"):
        objects.write("cells/a/result.json", half())
    assert list(objects.files("cells")) == []


def test_a_longer_journal_is_never_cut(study: StudyDefinition, root: Path, place: str) -> None:
    push_studies(root, place)
    journal = CellStore(root).journal(study.rows[0].cells[2])
    with journal.open("a") as file:
        file.write('{"event": "end", "at": 0, "status": "stopped"}\n')
    longer = journal.read_bytes()
    pull_studies(root, place)
    assert journal.read_bytes() == longer
    push_studies(root, place)
    journal.write_bytes(longer[:10])
    pull_studies(root, place)
    assert journal.read_bytes() == longer


def test_on_the_command_line(study: StudyDefinition, root: Path, place: str) -> None:
    done = CliRunner().invoke(main, ["--storage", str(root), "push", place, study.name])
    assert done.exit_code == 0, done.output
    assert "files copied" in done.output
    bad = CliRunner().invoke(main, ["--storage", str(root), "push", "nowhere"])
    assert bad.exit_code == 2
    assert "s3://BUCKET/FOLDER" in bad.output


def test_a_bucket_that_is_not_there(study: StudyDefinition, root: Path, s3: str) -> None:
    with pytest.raises(InterplayError, match="broke off"):
        push_studies(root, "s3://no-such-bucket/x")
