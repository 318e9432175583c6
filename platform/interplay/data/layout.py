"""Where things stand in a `.beton`: header, field descriptions, a row for each sample, pages of data, the table.

FFCV's own writer waits for ever when one of its workers meets a bad sample, so files are laid out here, with
FFCV's own types. No sample crosses a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from interplay.data import ffcv_engine as engine

IMAGE, INDEX, SPLIT = "image", "index", "split"
PAGE = 1 << 21
"""Bytes of a page, FFCV's smallest; larger images get pages that hold them."""

MAX_PAGE = 1 << 31
"""FFCV keeps the size of a page in 32 bits."""

Row = np.dtype(
    [
        ("sample", "<u8"),  # position in the source
        ("mode", "u1"),
        ("width", "<u2"),
        ("height", "<u2"),
        ("start", "<u8"),
        ("size", "<u8"),
        ("crc", "<u4"),  # CRC-32 of the stored bytes
    ]
)
"""What is known of a stored image."""


def label_field(level: int) -> str:
    """`label` for the first level, then `label1`, `label2` ..."""
    return "label" if level == 0 else f"label{level}"


def _fields(levels: int) -> dict[str, Any]:
    fields: dict[str, Any] = {IMAGE: engine.RGBImageField()}
    fields |= {label_field(level): engine.IntField() for level in range(levels)}
    return fields | {INDEX: engine.IntField(), SPLIT: engine.IntField()}


def head_bytes(levels: int, samples: int) -> int:
    """Bytes before the first page of data."""
    rows: Any = np.dtype(engine.get_metadata_type(list(_fields(levels).values())))
    fields = len(_fields(levels)) * int(engine.FieldDescType.itemsize)
    return int(engine.HeaderType.itemsize) + fields + samples * int(rows.itemsize)


@dataclass
class Space:
    """Hands out places for images, one after the other.

    Attributes:
        head: bytes that are taken at the beginning.
        page: bytes of a page; grows with the largest image.
        end: where the next image may begin; 0 before the first.
    """

    head: int
    page: int = PAGE
    end: int = 0

    def take(self, size: int) -> int:
        """The place of `size` bytes that cross no page.

        Earlier images cross no larger page either, so the page may grow at any time.
        """
        self.page = max(self.page, page_for(size))
        start = self.end or -(-self.head // self.page) * self.page
        if start // self.page != (start + size - 1) // self.page:
            start = (start // self.page + 1) * self.page
        self.end = start + size
        return start

    def close(self) -> int:
        """The place of the table, after the last page."""
        return -(-self.end // self.page) * self.page


def page_for(size: int) -> int:
    """The smallest page that holds `size` bytes."""
    page = PAGE
    while page < size:
        page *= 2
    return page


def finish(
    file: BinaryIO, rows: NDArray[Any], labels: NDArray[np.int64], split: NDArray[np.int64], space: Space
) -> None:
    """Writes the head and the table of a file whose images are all there.

    Args:
        file: open for writing at any place.
        rows: [N] of `Row`.
        labels: [N, L] class numbers.
        split: [N] positions in `SPLITS`.
        space: that the images were placed by.
    """
    fields = _fields(labels.shape[1])
    metadata = np.zeros(len(rows), dtype=engine.get_metadata_type(list(fields.values())))
    for name in ("mode", "width", "height"):
        metadata["f0"][name] = rows[name]
    metadata["f0"]["data_ptr"] = rows["start"]
    for number, column in enumerate([*labels.T, np.arange(len(rows)), split], start=1):
        metadata[f"f{number}"] = column
    table = np.zeros(len(rows), dtype=engine.ALLOC_TABLE_TYPE)
    table["sample_id"], table["ptr"], table["size"] = np.arange(len(rows)), rows["start"], rows["size"]
    end = space.close()
    file.seek(end)
    file.write(table.tobytes())
    header = np.zeros(1, dtype=engine.HeaderType)[0]
    header["version"], header["num_samples"] = engine.CURRENT_VERSION, len(rows)
    header["num_fields"], header["page_size"], header["alloc_table_ptr"] = len(fields), space.page, end
    file.seek(0)
    file.write(header.tobytes() + _descriptions(fields).tobytes() + metadata.tobytes())


def _descriptions(fields: dict[str, Any]) -> NDArray[Any]:
    type_ids = {handler: number for number, handler in engine.TYPE_ID_HANDLER.items()}
    rows = np.zeros(len(fields), dtype=engine.FieldDescType)
    for row, (name, field) in zip(rows, fields.items(), strict=True):
        row["type_id"] = type_ids[type(field)]
        encoded = np.frombuffer(name.encode("ascii"), dtype=np.uint8)
        row["name"][: len(encoded)] = encoded
        row["arguments"][:] = field.to_binary()[0]
    return rows
