"""A data set while it is written: a folder beside its final place, which a later run may take up.

`OUT.beton.partial/` holds the data and a journal. A line of the journal is appended when all data that it speaks
of is on the disk, and carries its own checksum: whatever killed the writer, what the journal says is there.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from interplay.data.encode import Encoded
from interplay.data.layout import Row, Space
from interplay.errors import InterplayError

CHECKPOINT_S = 2.0
"""Seconds of work that a killed writer loses at most."""


def partial_path(path: Path) -> Path:
    """`photos.beton` -> `photos.beton.partial`."""
    return path.with_name(path.name + ".partial")


def bytes_held(path: Path) -> int:
    """Bytes on the disk that an unfinished write of `path` has taken already."""
    data = partial_path(path) / "data"
    return data.stat().st_blocks * 512 if data.is_file() else 0


class Partial:
    """The images stored so far.

    Attributes:
        file: the data.
        next: position in the source of the next sample to be stored.
        skipped: position in the source -> why it was left out.
        totals: [3, 3] per channel of the training images: pixels, their sum, the sum of their squares.
        space: places for images.
    """

    def __init__(self, folder: Path, identity: str, space: Space, samples: int) -> None:
        self.folder, self.space = folder, space
        self.next = 0
        self.skipped: dict[int, str] = {}
        self.totals = [[0, 0, 0] for _ in range(3)]
        self._rows = np.zeros(samples, dtype=Row)
        self._count = self._noted = self._noted_skips = 0
        self._at = time.monotonic()
        data, journal = folder / "data", folder / "journal"
        lines = _read_journal(journal)
        if lines and lines[0][0] == {"identity": identity} and data.is_file():
            valid = self._take_up(lines, data.stat().st_size)
            os.truncate(journal, valid)
            self.file: BinaryIO = data.open("r+b")
            self._journal: BinaryIO = journal.open("ab")
        else:
            self.file, self._journal = data.open("w+b"), journal.open("wb")
            self._note({"identity": identity})

    def add(self, position: int, encoded: Encoded, *, training: bool) -> None:
        """Stores one image."""
        start = self.space.take(len(encoded.data))
        self.file.seek(start)
        self.file.write(encoded.data)
        size, crc = len(encoded.data), zlib.crc32(encoded.data)
        self._rows[self._count] = (position, encoded.mode, encoded.width, encoded.height, start, size, crc)
        self._count += 1
        if training:
            values = np.arange(256, dtype=np.int64)
            for total, histogram in zip(self.totals, encoded.histogram, strict=True):
                total[0] += int(histogram.sum())
                total[1] += int(histogram @ values)
                total[2] += int(histogram @ values**2)
        self._advance(position)

    def skip(self, position: int, reason: str) -> None:
        """Leaves one sample out."""
        self.skipped[position] = reason
        self._advance(position)

    @property
    def rows(self) -> NDArray[Any]:
        """[N] of `Row`."""
        return self._rows[: self._count]

    def close(self) -> None:
        """Closes the files; what was not checkpointed is lost."""
        self.file.close()
        self._journal.close()

    def _advance(self, position: int) -> None:
        self.next = position + 1
        if time.monotonic() - self._at >= CHECKPOINT_S:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Brings everything to the disk and notes it."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._note(
            {
                "next": self.next,
                "page": self.space.page,
                "end": self.space.end,
                "totals": self.totals,
                "rows": self._rows[self._noted : self._count].tolist(),
                "skipped": list(self.skipped.items())[self._noted_skips :],
            }
        )
        self._noted, self._noted_skips, self._at = self._count, len(self.skipped), time.monotonic()

    def _note(self, record: dict[str, Any]) -> None:
        text = json.dumps(record, ensure_ascii=False).encode()
        self._journal.write(b"%08x %s\n" % (zlib.crc32(text), text))
        self._journal.flush()
        os.fsync(self._journal.fileno())

    def _take_up(self, lines: list[tuple[dict[str, Any], int]], size: int) -> int:
        """Restores the state of the last record that holds, and returns the bytes of the journal up to it."""
        valid = lines[0][1]
        for record, end in lines[1:]:
            if record["end"] > size:  # the disk lost what it had promised; what came before is still there
                break
            self.next, self.totals = record["next"], record["totals"]
            self.space.page, self.space.end = record["page"], record["end"]
            rows = [tuple(row) for row in record["rows"]]
            self._rows[self._count : self._count + len(rows)] = rows
            self._count += len(rows)
            self.skipped |= dict(record["skipped"])
            valid = end
        self._noted, self._noted_skips = self._count, len(self.skipped)
        return valid


@contextmanager
def partial(path: Path, identity: str, space: Space, samples: int) -> Iterator[Partial]:
    """The unfinished `path`; taken up if it is of the same `identity`, otherwise begun anew.

    Without an identity nothing is taken up and nothing is left. With one, what was noted is left behind if the
    block is interrupted (Ctrl-C), and removed when it ends or raises.

    Raises:
        InterplayError: if another process is writing the same file.
    """
    folder = partial_path(path)
    if not identity:
        folder = path.with_name(f".{path.name}.{os.getpid()}.partial")
    folder.mkdir(parents=True, exist_ok=True)
    keep = False
    with _locked(folder, path):
        begun = Partial(folder, identity, space, samples)
        try:
            yield begun
        except KeyboardInterrupt:
            keep = bool(identity)  # what was noted last holds; a sample may be half done
            raise
        finally:
            begun.close()
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path, path: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise InterplayError(f"{path} is being written by another process; wait for it, or stop it first") from None
    finally:
        os.close(descriptor)


def _read_journal(path: Path) -> list[tuple[dict[str, Any], int]]:
    """The records up to the first that is not whole, and where each ends."""
    records: list[tuple[dict[str, Any], int]] = []
    end = 0
    if path.is_file():
        for line in path.read_bytes().splitlines(keepends=True):
            checksum, _, text = line[:-1].partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
                break
            end += len(line)
            records.append((json.loads(text), end))
    return records
