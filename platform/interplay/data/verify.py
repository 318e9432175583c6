"""Telling a damaged `.beton` before a reader crashes on it or trains on garbage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from interplay.data import ffcv_engine as engine
from interplay.data.decode import open_encoded, why_unreadable
from interplay.data.manifest import SPLITS, Manifest, read_manifest, sha256
from interplay.data.write import IMAGE, SPLIT, label_field
from interplay.errors import InterplayError

_AGAIN = "copy it again, or write it again with interplay data write"


def open_checked(path: Path) -> tuple[Manifest, Any]:
    """The manifest and FFCV's reader of a `.beton` whose structure is sound. Reads no image.

    Raises:
        InterplayError: one sentence for the first damage.
    """
    if not path.is_file():
        raise InterplayError(f"there is no data set {path}; write one with interplay data write SOURCE {path}")
    manifest = read_manifest(path)
    size = path.stat().st_size
    if size != manifest.bytes:
        raise InterplayError(
            f"{path} has {size} bytes instead of {manifest.bytes}: it is truncated or changed; {_AGAIN}"
        )
    try:
        reader = engine.Reader(str(path))
    except Exception as error:
        raise InterplayError(f"{path} has a damaged header ({type(error).__name__}: {error}); {_AGAIN}") from None
    _check_tables(path, reader, manifest, size)
    return manifest, reader


def verify(path: Path) -> Manifest:
    """Reads everything: structure, labels, the digest, and every image.

    Raises:
        InterplayError: one sentence for the first damage.
    """
    manifest, reader = open_checked(path)
    digest = sha256(path)
    if digest != manifest.digest:
        raise InterplayError(
            f"{path} differs from its manifest (SHA-256 {digest[:12]} instead of {manifest.digest[:12]}); {_AGAIN}"
        )
    images = reader.metadata[f"f{reader.field_names.index(IMAGE)}"]
    order = np.argsort(reader.alloc_table["ptr"])
    pointers, sizes = reader.alloc_table["ptr"][order], reader.alloc_table["size"][order]
    data = np.memmap(path, np.uint8, mode="r")
    for position in np.flatnonzero(images["mode"] == engine.JPEG_MODE):
        start = int(images["data_ptr"][position])
        end = start + int(sizes[np.searchsorted(pointers, start)])
        try:
            shape = open_encoded(data[start:end]).size
        except Exception as error:
            raise InterplayError(
                f"{path}: the JPEG of sample {position} cannot be decoded ({why_unreadable(error)}); {_AGAIN}"
            ) from None
        if shape != (images["width"][position], images["height"][position]):
            raise InterplayError(f"{path}: the JPEG of sample {position} has another size than stated; {_AGAIN}")
    return manifest


def _check_tables(path: Path, reader: Any, manifest: Manifest, size: int) -> None:
    table, metadata = reader.alloc_table, reader.metadata
    if len(metadata) != sum(manifest.counts.values()) or int(reader.header["alloc_table_ptr"]) in range(1):
        raise InterplayError(f"{path} was never finished; {_AGAIN}")
    needed = [IMAGE, SPLIT, *(label_field(level) for level in range(len(manifest.classes)))]
    if missing := [name for name in needed if name not in reader.field_names]:
        raise InterplayError(f"{path} has no field {missing[0]!r}; {_AGAIN}")
    ends = table["ptr"].astype(np.int64) + table["size"].astype(np.int64)
    if len(table) < len(metadata) or (len(ends) and int(ends.max()) > size):
        raise InterplayError(f"{path} has a damaged table of allocations; {_AGAIN}")
    images = metadata[f"f{reader.field_names.index(IMAGE)}"]
    pointers = np.sort(table["ptr"])
    found = pointers[np.searchsorted(pointers, images["data_ptr"]).clip(max=len(pointers) - 1)]
    if (found != images["data_ptr"]).any() or not (images["width"].all() and images["height"].all()):
        raise InterplayError(f"{path} points to images that are not there; {_AGAIN}")
    order = np.argsort(table["ptr"])
    stored = table["size"][order][np.searchsorted(pointers, images["data_ptr"])].astype(np.int64)
    stated = images["height"].astype(np.int64) * images["width"] * 3
    wrong = np.flatnonzero((images["mode"] == engine.RAW_MODE) & (stored != stated))
    if len(wrong):  # a reader would run past the end of its pixels
        raise InterplayError(f"{path}: the pixels of sample {wrong[0]} have another size than stated; {_AGAIN}")
    for level, names in enumerate(manifest.classes):
        labels = metadata[f"f{reader.field_names.index(label_field(level))}"]
        bad = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if len(bad):
            raise InterplayError(
                f"{path}: sample {bad[0]} has label {labels[bad[0]]}, outside 0..{len(names) - 1}; {_AGAIN}"
            )
    splits = metadata[f"f{reader.field_names.index(SPLIT)}"]
    counts = {name: int((splits == i).sum()) for i, name in enumerate(SPLITS)}
    if counts != manifest.counts:
        raise InterplayError(f"{path} holds {counts} samples, its manifest says {manifest.counts}; {_AGAIN}")
