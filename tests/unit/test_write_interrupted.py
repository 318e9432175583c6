"""Writing that is cut short: killed processes, Ctrl-C, full disks, and two writers of one file."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interplay.data import Source, from_samples, partial
from interplay.data.sources import image_folder
from interplay.data.verify import verify
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from tests.unit.pieces import fill, jpeg, noise


def many(root: Path, count: int = 60) -> Path:
    return fill(root, {f"{'ab'[i % 2]}/{i:02d}.{'jpg' if i % 3 else 'png'}": jpeg(i) for i in range(count)})


def killed_write(folder: Path, out: Path, how: str, stop: int) -> None:
    """A process that is killed, or interrupted as by Ctrl-C, when `stop` samples are written and noted."""

    def write() -> None:
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            done += count
            if done >= stop:
                os.kill(os.getpid(), {"kill": signal.SIGKILL, "interrupt": signal.SIGINT}[how])

        partial.CHECKPOINT_S = 0.0
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            write_beton(image_folder(folder), out, val=0.25, progress=progress)
            os._exit(1)
        os._exit(130)

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    process.join(timeout=60)
    assert process.exitcode == {"kill": -signal.SIGKILL, "interrupt": 130}[how]


def counted(source: Source) -> tuple[Source, list[int]]:
    """The source, and the positions whose images are read of it."""
    read: list[int] = []

    def image(position: int) -> Any:
        read.append(position)
        return source.image(position)

    return replace(source, image=image), read


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_killed_write_goes_on_where_it_stopped(how: str, tmp_path: Path) -> None:
    folder, out = many(tmp_path / "pictures"), tmp_path / "out" / "o.beton"
    killed_write(folder, out, how, 40)
    assert [p.name for p in out.parent.iterdir()] == ["o.beton.partial"]
    with (out.parent / "o.beton.partial" / "journal").open("ab") as journal:
        journal.write(b'00000000 {"next": 55, "page"')  # what a killed writer may leave
    source, read = counted(image_folder(folder))
    said: list[str] = []
    manifest = write_beton(source, out, val=0.25, say=said.append)
    assert said == ["40 of 60 samples were done before; going on"]
    again = [p for p in set(read) if read.count(p) > 1]  # once in the survey, once written
    assert min(p for p in read[32:]) >= 40
    assert all(p >= 40 for p in again)
    assert manifest == verify(out) == write_beton(image_folder(folder), tmp_path / "clean.beton", val=0.25)
    assert out.read_bytes() == (tmp_path / "clean.beton").read_bytes()
    assert sorted(p.name for p in out.parent.iterdir()) == ["o.beton", "o.beton.json", "o.beton.samples.gz"]


@pytest.mark.parametrize("change", ["source", "options", "data", "journal"])
def test_what_changed_is_begun_anew(change: str, tmp_path: Path) -> None:
    folder, out = many(tmp_path / "pictures"), tmp_path / "out" / "o.beton"
    killed_write(folder, out, "kill", 40)
    unfinished = out.parent / "o.beton.partial"
    if change == "source":
        (folder / "a" / "00.png").write_bytes(jpeg(99) + b" ")
    elif change == "data":
        os.truncate(unfinished / "data", 100)
    elif change == "journal":
        (unfinished / "journal").write_bytes(b"nothing that we wrote")
    said: list[str] = []
    manifest = write_beton(image_folder(folder), out, val=0.3 if change == "options" else 0.25, say=said.append)
    assert said == []
    assert verify(out) == manifest


def test_two_writers_of_one_file(tmp_path: Path) -> None:
    source = image_folder(many(tmp_path / "pictures", 40))
    out = tmp_path / "o.beton"
    refused = []

    def progress(count: int) -> None:
        if not refused:
            with pytest.raises(InterplayError, match="is being written by another process; wait for it") as caught:
                write_beton(source, out)
            refused.append(caught.value)

    manifest = write_beton(source, out, progress=progress)
    assert len(refused) == 1
    assert verify(out) == manifest


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    """The limit of this process on the size of a file stands for the disk: the same call fails in the same way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    source = from_samples([(noise(300, 300, seed=i), 0) for i in range(12)], classes=["a"], version="1")
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
    try:
        with pytest.raises(
            InterplayError, match=r"could not be written \(File too large\); make room or name another"
        ):
            write_beton(source, tmp_path / "o.beton")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_too_little_room_is_told_before_writing(tmp_path: Path) -> None:
    picture = np.zeros((1000, 1000, 3), np.uint8)
    count = shutil.disk_usage(tmp_path).free // picture.size + 1000
    none = np.zeros(count, np.int64)
    source = Source("large", lambda _: picture, str, none[:, None], none, [["a"]])
    with pytest.raises(InterplayError, match=r"needs about .* GB, but .* GB are free; make room"):
        write_beton(source, tmp_path / "o.beton")
    assert not list(tmp_path.iterdir())
