"""What the journals of a study say, as lines in the order of time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from interplay.report.status import cells_of
from interplay.study.definition import read_definition
from interplay.tracking.journal import Record, read
from interplay.tracking.store import CellStore

SHOWN = ("val/top1", "train/loss")


class Timeline:
    """Reads on where it stopped: every record of every cell is given once.

    Args:
        root: the storage root.
        name: of the study.

    Raises:
        InterplayError: if there is no such study.
    """

    def __init__(self, root: Path, name: str) -> None:
        read_definition(root, name)
        self._root, self._name, self._store = root, name, CellStore(root)
        self._offsets: dict[str, int] = {}

    def news(self) -> Iterator[str]:
        """Lines of what was written since the last call, oldest first."""
        found: list[tuple[float, str]] = []
        for cell, label in cells_of(self._root, read_definition(self._root, self._name)).items():
            records, offset = read(self._store.journal(cell), self._offsets.get(cell, 0))
            self._offsets[cell] = offset
            found += [(record["at"], f"{label} ({cell[:8]}): {_said(record)}") for record in records]
        for at, line in sorted(found):
            yield f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(at))} {line}"


def _said(record: Record) -> str:
    if record["event"] == "start":
        evidence: Mapping[str, object] = record.get("evidence", {})
        after = f" after epoch {record['epoch']}" if record.get("epoch") else ""
        return f"begins{after} on {evidence.get('host', 'unknown')}, {evidence.get('device', 'unknown')}"
    if record["event"] == "epoch":
        numbers = [f"{name} {record['metrics'][name]:.4g}" for name in SHOWN if name in record["metrics"]]
        return f"epoch {record['epoch']}  {'  '.join(numbers)}".rstrip()
    if record["event"] == "end":
        return f"{record['status']}{': ' + record['message'] if record.get('message') else ''}"
    return str(record["event"])
