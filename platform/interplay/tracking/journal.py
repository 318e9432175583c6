"""The journal: the append-only record of one cell, written before anything else sees it.

One JSON object on each line, each with `at` (Unix time) and `event`:

- `start`: executor, workers, from which epoch, and the evidence that travels with every number;
- `epoch`: `epoch` and `metrics`;
- `end`: `status` and `metrics`, or a `message`; after `pruned` and `stopped` another `start` may follow.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Journal:
    """Appends to the file at `path`; each record reaches the file in one write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: str, **fields: Any) -> None:
        self.write({"at": time.time(), "event": event, **fields})

    def write(self, record: Record) -> None:
        """Appends a record as it is."""
        line = json.dumps(record) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, self._separator() + line.encode())
        finally:
            os.close(descriptor)

    def _separator(self) -> bytes:
        """A line break if a killed writer left the last line unfinished: it must not swallow the next one."""
        try:
            with self.path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return b"" if file.read(1) == b"\n" else b"\n"
        except (FileNotFoundError, OSError):
            return b""


def read(path: Path, offset: int = 0) -> tuple[list[Record], int]:
    """The whole records after byte `offset`, and the offset to go on from. Unfinished lines are left out."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    records = []
    for line in data[:end].splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue  # the torn line of a killed writer
    return records, offset + end


def epochs(records: list[Record]) -> dict[int, Record]:
    """The last record of each epoch: a resumed cell may have written some of them twice."""
    return {r["epoch"]: r for r in records if r["event"] == "epoch"}
