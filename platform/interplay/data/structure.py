"""Whether the tables of a `.beton` hold together, before a reader follows them. Reads no image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interplay.data import ffcv_engine as engine
from interplay.data.layout import IMAGE, INDEX, PAGE, SPLIT, label_field
from interplay.data.manifest import SPLITS, Manifest
from interplay.errors import InterplayError

_TABLE_ROW = np.dtype(engine.ALLOC_TABLE_TYPE).itemsize

AGAIN = "copy it again, or write it again with interplay data write"


def check_structure(path: Path, manifest: Manifest) -> Any:
    """FFCV's reader of a file whose structure is sound.

    Raises:
        InterplayError: one sentence for the first damage that would crash a reader or give it garbage.
    """
    _check_header(path, path.stat().st_size)
    try:
        reader = engine.Reader(str(path))
    except Exception as error:
        raise InterplayError(f"{path} has a damaged header ({type(error).__name__}: {error}); {AGAIN}") from None
    needed = [IMAGE, INDEX, SPLIT, *(label_field(level) for level in range(len(manifest.classes)))]
    if missing := [name for name in needed if name not in reader.field_names]:
        raise InterplayError(f"{path} has no field {missing[0]!r}; {AGAIN}")
    if len(reader.metadata) != sum(manifest.counts.values()):
        raise InterplayError(
            f"{path} holds {len(reader.metadata)} samples, its manifest says {sum(manifest.counts.values())}; {AGAIN}"
        )
    _check_images(path, reader)
    _check_columns(path, reader, manifest)
    return reader


def allocations(reader: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each sample's image starts and ends in the file: two [N]."""
    table = reader.alloc_table
    order = np.argsort(table["ptr"], kind="stable")
    starts = reader.metadata[f"f{reader.field_names.index(IMAGE)}"]["data_ptr"]
    sizes = table["size"][order][np.searchsorted(table["ptr"][order], starts).clip(max=len(table) - 1)]
    return starts.astype(np.int64), starts.astype(np.int64) + sizes.astype(np.int64)


def _check_header(path: Path, size: int) -> None:
    """FFCV takes what the header says for true, and aborts or asks for terabytes if it is not."""
    if size == 0:
        raise InterplayError(f"{path} is empty; {AGAIN}")
    if size < engine.HeaderType.itemsize:
        raise InterplayError(f"{path} is no .beton: it has {size} bytes; {AGAIN}")
    header = np.fromfile(path, dtype=engine.HeaderType, count=1)[0]
    table, page = int(header["alloc_table_ptr"]), int(header["page_size"])
    samples, fields = int(header["num_samples"]), int(header["num_fields"])
    if not any((table, page, samples, fields)) or (table == 0 and header["version"] == engine.CURRENT_VERSION):
        raise InterplayError(f"{path} was never finished; {AGAIN}")
    if header["version"] != engine.CURRENT_VERSION or page < PAGE or page & (page - 1) or not 0 < fields <= 256:
        raise InterplayError(
            f"{path} is no .beton of version {engine.CURRENT_VERSION}, or has a damaged header; {AGAIN}"
        )
    if samples == 0:
        raise InterplayError(f"{path} holds no samples; {AGAIN}")
    head = engine.HeaderType.itemsize + fields * engine.FieldDescType.itemsize
    if table > size or head > size or samples * _TABLE_ROW > size:
        raise InterplayError(f"{path} is truncated: its tables lie beyond its {size} bytes; {AGAIN}")
    if size - table != samples * _TABLE_ROW:
        raise InterplayError(f"{path} has a damaged table of allocations: it is cut or too long; {AGAIN}")


def _check_images(path: Path, reader: Any) -> None:
    table, metadata = reader.alloc_table, reader.metadata
    images = metadata[f"f{reader.field_names.index(IMAGE)}"]
    order = np.argsort(table["ptr"], kind="stable")
    starts = table["ptr"][order].astype(np.int64)
    ends = starts + table["size"][order].astype(np.int64)
    head = engine.HeaderType.itemsize + reader.field_descriptors.nbytes + metadata.nbytes
    page = int(reader.page_size)
    if (
        starts[0] < head
        or int(ends.max()) > int(reader.header["alloc_table_ptr"])
        or (starts[1:] < ends[:-1]).any()
        or (table["size"] == 0).any()
        or (starts // page != (ends - 1) // page).any()
    ):
        raise InterplayError(f"{path} has a damaged table of allocations: its images overlap or lie outside; {AGAIN}")
    pointers = images["data_ptr"].astype(np.int64)
    if (np.sort(pointers) != starts).any():
        raise InterplayError(f"{path} points to images that are not there; {AGAIN}")
    if not (images["width"].all() and images["height"].all()):
        raise InterplayError(f"{path} has images without pixels; {AGAIN}")
    if not np.isin(images["mode"], (engine.RAW_MODE, engine.JPEG_MODE)).all():
        raise InterplayError(f"{path} has images that are stored in no known way; {AGAIN}")
    first, last = allocations(reader)
    stated = images["height"].astype(np.int64) * images["width"] * 3
    wrong = np.flatnonzero((images["mode"] == engine.RAW_MODE) & (last - first != stated))
    if len(wrong):  # a reader would run past the end of its pixels
        raise InterplayError(f"{path}: the pixels of sample {wrong[0]} have another size than stated; {AGAIN}")


def _check_columns(path: Path, reader: Any, manifest: Manifest) -> None:
    def column(name: str) -> NDArray[np.int64]:
        found: NDArray[np.int64] = reader.metadata[f"f{reader.field_names.index(name)}"]
        return found

    for level, names in enumerate(manifest.classes):
        labels = column(label_field(level))
        bad = np.flatnonzero((labels < 0) | (labels >= len(names)))
        if len(bad):
            raise InterplayError(
                f"{path}: sample {bad[0]} has label {labels[bad[0]]}, outside 0..{len(names) - 1}; {AGAIN}"
            )
    counts = {name: int((column(SPLIT) == number).sum()) for number, name in enumerate(SPLITS)}
    if counts != manifest.counts:
        raise InterplayError(f"{path} holds {counts} samples, its manifest says {manifest.counts}; {AGAIN}")
    if (column(INDEX) != np.arange(len(reader.metadata))).any():
        raise InterplayError(f"{path} has samples out of order; {AGAIN}")
