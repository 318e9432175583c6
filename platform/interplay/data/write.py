"""Writing `.beton` files: one pass, checked sample by sample, and never half written under the final name.

FFCV's own writer waits for ever when one of its workers meets a bad sample, so the file is laid out here,
with FFCV's own types: header, field descriptions, one row of metadata for each sample, pages of data in
which no sample crosses a page, and the table of allocations.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay.atomic import replacing
from interplay.counter_rng import uniform
from interplay.data import ffcv_engine as engine
from interplay.data.decode import why_unreadable
from interplay.data.manifest import SPLITS, Manifest, sha256, write_manifest
from interplay.data.sources import Source, Stored
from interplay.errors import InterplayError

IMAGE, INDEX, SPLIT = "image", "index", "split"
PAGE = 1 << 21
"""Bytes of a page, FFCV's smallest; a larger image gets pages that hold it."""

_CHUNK = 256
_MAX_SIDE = 65_535


def label_field(level: int) -> str:
    """`label` for the first level, then `label1`, `label2` ..."""
    return "label" if level == 0 else f"label{level}"


@dataclass(frozen=True)
class _Encoded:
    mode: int
    height: int
    width: int
    data: bytes
    sums: NDArray[np.float64]  # [3, 3]: per channel the pixels' count, sum and sum of squares


def write_beton(
    source: Source,
    path: Path,
    *,
    val: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    progress: Callable[[int], None] = lambda count: None,
) -> Manifest:
    """Writes `source` to `path` and its manifest beside it.

    JPEG files in RGB are stored as they are; everything else is stored as pixels, without loss.

    Args:
        source: images, labels and splits.
        path: the `.beton` to write; replaced if it exists.
        val: share of the training samples to carve off for validation if the source has none; stratified by
            class and seeded.
        test: the same for the test split, carved off first.
        seed: of the carving.
        progress: called with the number of samples written since the last call.

    Raises:
        InterplayError: for the first bad sample, naming it. Nothing is left behind.
    """
    _check_labels(source)
    split = carve(source.labels[:, 0], source.split, val=val, test=test, seed=seed)
    with replacing(path) as file:
        mean, std = _write(file, source, split, progress)
    manifest = Manifest(
        source=source.name,
        classes=source.classes,
        counts={name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
        mean=mean,
        std=std,
        bytes=path.stat().st_size,
        digest=sha256(path),
    )
    write_manifest(path, manifest)
    return manifest


def carve(
    labels: NDArray[np.int64], split: NDArray[np.int64], *, val: float, test: float, seed: int
) -> NDArray[np.int64]:
    """Moves a share of each class from train to test and val, where the source has none."""
    split = split.copy()
    for name, share in (("test", test), ("val", val)):
        target = SPLITS.index(name)
        if not share or (split == target).any():
            continue
        order = uniform(f"carve.{name}", seed, 0, np.arange(len(labels)))[:, 0]
        for label in np.unique(labels):
            rows = np.flatnonzero((labels == label) & (split == 0))
            chosen = rows[np.argsort(order[rows], kind="stable")][: round(share * len(rows))]
            split[chosen] = target
    return split


def _check_labels(source: Source) -> None:
    if not len(source):
        raise InterplayError(f"{source.name} holds no samples")
    if source.labels.shape[1] != len(source.classes):
        raise InterplayError(
            f"{source.name}: samples have {source.labels.shape[1]} labels, "
            f"but classes are named for {len(source.classes)}"
        )
    for level, names in enumerate(source.classes):
        column = source.labels[:, level]
        bad = np.flatnonzero((column < 0) | (column >= len(names)))
        if len(bad):
            raise InterplayError(
                f"{source.place(int(bad[0]))} has label {column[bad[0]]}, outside 0..{len(names) - 1} "
                f"({len(bad)} such); correct the label or name more classes"
            )


def _encode(source: Source, position: int) -> _Encoded:
    stored: Stored = source.image(position)
    keep: bytes | None = None
    try:
        if isinstance(stored, bytes):
            image: Image.Image = Image.open(io.BytesIO(stored))
            image.load()
            if image.format == "JPEG" and image.mode == "RGB":
                keep = stored
        elif isinstance(stored, np.ndarray):
            image = Image.fromarray(stored)
        else:
            image = stored
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns of a palette with transparency that becomes RGB at once
        pixels = np.asarray(image.convert("RGB"))
    except Exception as error:
        raise InterplayError(
            f"{source.place(position)} is no image that can be read ({why_unreadable(error)}); remove or repair it"
        ) from None
    height, width = pixels.shape[:2]
    if max(height, width) > _MAX_SIDE:
        raise InterplayError(f"{source.place(position)} is {width}x{height}; a .beton holds sides up to {_MAX_SIDE}")
    flat = pixels.reshape(-1, 3).astype(np.float64) / 255.0
    sums = np.stack([np.full(3, len(flat), dtype=np.float64), flat.sum(axis=0), (flat**2).sum(axis=0)])
    if keep is not None:
        return _Encoded(engine.JPEG_MODE, height, width, keep, sums)
    return _Encoded(engine.RAW_MODE, height, width, np.ascontiguousarray(pixels).tobytes(), sums)


def _write(
    file: BinaryIO, source: Source, split: NDArray[np.int64], progress: Callable[[int], None]
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    levels = source.labels.shape[1]
    fields: dict[str, Any] = {IMAGE: engine.RGBImageField()}
    fields |= {label_field(level): engine.IntField() for level in range(levels)}
    fields |= {INDEX: engine.IntField(), SPLIT: engine.IntField()}
    metadata = np.zeros(len(source), dtype=engine.get_metadata_type(list(fields.values())))
    descriptions = _descriptions(fields)
    columns = [*(source.labels[:, level] for level in range(levels)), np.arange(len(source)), split]
    for number, column in enumerate(columns, start=1):
        metadata[f"f{number}"] = column

    head = engine.HeaderType.itemsize + descriptions.nbytes + metadata.nbytes
    table = np.zeros(len(source), dtype=engine.ALLOC_TABLE_TYPE)
    totals = np.zeros((3, 3))
    offset, page = 0, PAGE
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(source), _CHUNK):
            positions = range(start, min(start + _CHUNK, len(source)))
            for position, encoded in zip(positions, pool.map(lambda p: _encode(source, p), positions), strict=True):
                size = len(encoded.data)
                while size > page:
                    if offset:
                        raise InterplayError(
                            f"{source.place(position)} takes {size} bytes, more than a page; store it smaller"
                        )
                    page *= 2
                offset = offset or -(-head // page) * page
                if offset // page != (offset + size - 1) // page:
                    offset = (offset // page + 1) * page
                file.seek(offset)
                file.write(encoded.data)
                metadata["f0"][position] = (encoded.mode, encoded.width, encoded.height, offset)
                table[position] = (position, offset, size)
                offset += size
                if split[position] == 0:
                    totals += encoded.sums
            progress(len(positions))
    end = -(-offset // page) * page
    file.seek(end)
    file.write(table.tobytes())
    header = np.zeros(1, dtype=engine.HeaderType)[0]
    header["version"], header["num_samples"] = engine.CURRENT_VERSION, len(source)
    header["num_fields"], header["page_size"], header["alloc_table_ptr"] = len(fields), page, end
    file.seek(0)
    file.write(header.tobytes() + descriptions.tobytes() + metadata.tobytes())
    if not totals[0].all():
        raise InterplayError(f"{source.name} has no training samples; put some into its train split")
    mean = totals[1] / totals[0]
    std = np.sqrt((totals[2] / totals[0] - mean**2).clip(min=1e-12))
    return (float(mean[0]), float(mean[1]), float(mean[2])), (float(std[0]), float(std[1]), float(std[2]))


def _descriptions(fields: dict[str, Any]) -> NDArray[Any]:
    type_ids = {handler: number for number, handler in engine.TYPE_ID_HANDLER.items()}
    rows = np.zeros(len(fields), dtype=engine.FieldDescType)
    for row, (name, field) in zip(rows, fields.items(), strict=True):
        row["type_id"] = type_ids[type(field)]
        encoded = np.frombuffer(name.encode("ascii"), dtype=np.uint8)
        row["name"][: len(encoded)] = encoded
        row["arguments"][:] = field.to_binary()[0]
    return rows
