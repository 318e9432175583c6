"""The end of a write: tables, manifest, reading back, and the final name."""

from __future__ import annotations

import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interplay.data import ffcv_engine as engine
from interplay.data.layout import finish
from interplay.data.manifest import SPLITS, Manifest, Writing, write_manifest
from interplay.data.origins import Origins, write_origins
from interplay.data.partial import Partial
from interplay.data.sources import Source
from interplay.data.splits import carving_notes
from interplay.data.structure import check_structure
from interplay.errors import InterplayError


def skipped_path(path: Path) -> Path:
    """`photos.beton` -> `photos.beton.skipped.txt`."""
    return path.with_name(path.name + ".skipped.txt")


def complete(unfinished: Partial, path: Path, source: Source, split: NDArray[np.int64], about: Writing) -> Manifest:
    """Completes the file that `unfinished` holds, reads it back, and gives it the name `path`.

    Args:
        unfinished: every sample stored or skipped.
        path: the final name; its manifest and other companions stand beside it.
        source: of the samples.
        split: [N] positions in `SPLITS`, of the samples of `source`.
        about: for the manifest; what only the finished file tells is filled in.

    Raises:
        InterplayError: if there is nothing to train on, or the file is not what was written.
    """
    rows = unfinished.rows
    if not unfinished.totals[0][0]:
        raise InterplayError(f"{source.name} has no training samples; put some into its train split")
    kept = rows["sample"].astype(np.int64)
    labels, splits = source.labels[kept], split[kept]
    finish(unfinished.file, rows, labels, splits, unfinished.space)
    unfinished.file.flush()
    os.fsync(unfinished.file.fileno())
    data = unfinished.folder / "data"
    manifest = _manifest(unfinished, source, labels, splits, about, data)
    check_structure(data, manifest)
    places = [source.place(int(position)) for position in kept]
    write_origins(path, Origins(places, rows["crc"].tolist(), manifest.digest))
    data.replace(path)
    write_manifest(path, manifest)
    _write_skipped(path, source, unfinished.skipped)
    return manifest


def _manifest(
    unfinished: Partial,
    source: Source,
    labels: NDArray[np.int64],
    splits: NDArray[np.int64],
    about: Writing,
    data: Path,
) -> Manifest:
    rows = unfinished.rows
    means, stds = [], []
    for pixels, total, squares in unfinished.totals:
        mean = total / pixels
        means.append(mean / 255)
        stds.append(math.sqrt(max(squares / pixels - mean**2, 1e-12)) / 255)
    about.sizes.update(
        {side: [int(f(rows[side])) for f in (np.min, np.median, np.max)] for side in ("width", "height")}
    )
    jpegs = int((rows["mode"] == engine.JPEG_MODE).sum())
    about.stored.update({"jpeg": jpegs, "pixels": len(rows) - jpegs})
    about.per_class.update(
        {
            name: [
                np.bincount(column[splits == number], minlength=len(names)).tolist()
                for column, names in zip(labels.T, source.classes, strict=True)
            ]
            for number, name in enumerate(SPLITS)
        }
    )
    about.notes.extend(_notes(source, labels[:, 0], splits, unfinished, about))
    return Manifest(
        source=source.name,
        classes=source.classes,
        counts={name: int((splits == number).sum()) for number, name in enumerate(SPLITS)},
        mean=(means[0], means[1], means[2]),
        std=(stds[0], stds[1], stds[2]),
        bytes=data.stat().st_size,
        digest=_read_back(data, rows),
        writing=about,
    )


def _notes(
    source: Source, labels: NDArray[np.int64], splits: NDArray[np.int64], unfinished: Partial, about: Writing
) -> list[str]:
    before = source.split[unfinished.rows["sample"].astype(np.int64)]
    names = source.classes[0]
    notes = carving_notes(labels, before, splits, names, val=about.shares["val"], test=about.shares["test"])
    empty = [names[c] for c in range(len(names)) if not ((labels == c) & (splits == 0)).any()]
    if empty:
        more = " ..." if len(empty) > 3 else ""
        notes.append(f"{len(empty)} of {len(names)} classes have no training sample: {', '.join(empty[:3])}{more}")
    return notes


def _read_back(data: Path, rows: NDArray[Any]) -> str:
    """SHA-256 of the file, after every image in it was compared with the checksum of what was to be stored."""
    content = np.memmap(data, np.uint8, mode="r")
    for start, size, crc, sample in zip(
        *(rows[name].tolist() for name in ("start", "size", "crc", "sample")), strict=True
    ):
        if zlib.crc32(content[start : start + size].data) != crc:
            raise InterplayError(
                f"sample {sample} was not stored as it should be: the disk of {data.parent.parent} is unreliable"
            )
    return hashlib.sha256(content.data).hexdigest()


def _write_skipped(path: Path, source: Source, skipped: dict[int, str]) -> None:
    target = skipped_path(path)
    if not skipped:
        target.unlink(missing_ok=True)
        return
    lines = [f"{source.place(position)}\t{reason}\n" for position, reason in skipped.items()]
    target.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
