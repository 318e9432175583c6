"""Telling a damaged `.beton` before a reader crashes on it or trains on garbage."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from interplay.data import ffcv_engine as engine
from interplay.data.decode import open_encoded, why_unreadable
from interplay.data.layout import IMAGE
from interplay.data.manifest import Manifest, read_manifest, sha256
from interplay.data.origins import Origins, read_origins
from interplay.data.structure import AGAIN, allocations, check_structure
from interplay.errors import InterplayError

_CHUNK = 256


def open_checked(path: Path) -> tuple[Manifest, Any]:
    """The manifest and FFCV's reader of a `.beton` whose structure is sound. Reads no image.

    Raises:
        InterplayError: one sentence for the first damage.
    """
    if not path.is_file():
        raise InterplayError(f"there is no data set {path}; write one with interplay data write SOURCE {path}")
    size = path.stat().st_size
    if not size:
        raise InterplayError(f"{path} is empty; {AGAIN}")
    manifest = read_manifest(path)
    if size != manifest.bytes:
        raise InterplayError(
            f"{path} has {size} bytes instead of {manifest.bytes}: it is truncated or changed; {AGAIN}"
        )
    return manifest, check_structure(path, manifest)


def verify(path: Path, progress: Callable[[int], None] = lambda count: None) -> Manifest:
    """Reads everything: structure, labels, the digest, and every image.

    Args:
        path: the `.beton`.
        progress: called with the number of samples read since the last call.

    Raises:
        InterplayError: one sentence for the first damage.
    """
    manifest, reader = open_checked(path)
    try:
        origins: Origins | None = read_origins(path, manifest.digest)
    except InterplayError:
        origins = None  # of an older version, or not copied along: the digest tells damage, but not where
    digest = sha256(path)
    images = reader.metadata[f"f{reader.field_names.index(IMAGE)}"]
    starts, ends = (column.tolist() for column in allocations(reader))
    data = np.memmap(path, np.uint8, mode="r")

    def damage(position: int) -> str | None:
        stored = data[starts[position] : ends[position]]
        if origins is not None and zlib.crc32(stored.data) != origins.checksums[position]:
            zeroed = "" if stored.any() else ", they are all zero"
            place = f"sample {position} ({origins.places[position]})"
            return f" differs from its manifest: the bytes of {place} are not those written{zeroed}"
        if images["mode"][position] != engine.JPEG_MODE:
            return None
        try:
            shape = open_encoded(stored).size
        except Exception as error:
            return f": the JPEG of sample {position} cannot be decoded ({why_unreadable(error)})"
        if shape != (images["width"][position], images["height"][position]):
            return f": the JPEG of sample {position} has another size than stated"
        return None

    with ThreadPoolExecutor() as pool:
        for first in range(0, len(starts), _CHUNK):
            part = range(first, min(first + _CHUNK, len(starts)))
            for found in pool.map(damage, part):
                if found:
                    raise InterplayError(f"{path}{found}; {AGAIN}")
            progress(len(part))
    if digest != manifest.digest:
        raise InterplayError(
            f"{path} differs from its manifest (SHA-256 {digest[:12]} instead of {manifest.digest[:12]}); {AGAIN}"
        )
    return manifest
