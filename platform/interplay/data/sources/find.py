"""From what a person types to a source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interplay.data.sources.arrow import arrow_files
from interplay.data.sources.cifar import cifar
from interplay.data.sources.folder import image_folder
from interplay.data.sources.npz import npz
from interplay.data.sources.scans import digits
from interplay.data.sources.shards import shards
from interplay.data.sources.source import Source
from interplay.data.sources.table import csv_table
from interplay.errors import InterplayError

KINDS = "digits, cifar:FOLDER, npz:FILE, parquet:PATH, webdataset:'PATTERN', csv:FILE or FOLDER"


@dataclass(frozen=True)
class _Asked:
    path: str
    image: str | None
    labels: list[str] | None
    classes: list[list[str]] | None

    def refuse(self, kind: str, columns: bool = False, image: bool = False, classes: bool = True) -> None:
        """Refuses what a kind of source would ignore."""
        for option, value, taken in (
            ("--image-column", self.image, image),
            ("--label-columns", self.labels, columns),
            ("--classes", self.classes, classes),
        ):
            if value is not None and not taken:
                raise InterplayError(f"{option} means nothing for {kind}; leave it out")


def _folder(asked: _Asked) -> Source:
    asked.refuse("a folder of class folders, whose names name the classes", classes=False)
    return image_folder(Path(asked.path))


def _cifar(asked: _Asked) -> Source:
    asked.refuse("CIFAR", classes=False)
    return cifar(Path(asked.path))


def _npz(asked: _Asked) -> Source:
    asked.refuse("an .npz file")
    return npz(Path(asked.path), classes=asked.classes)


def _arrow(asked: _Asked) -> Source:
    return arrow_files(Path(asked.path), image=asked.image, labels=asked.labels, classes=asked.classes)


def _shards(asked: _Asked) -> Source:
    asked.refuse("WebDataset shards", columns=True)
    return shards(asked.path, labels=asked.labels, classes=asked.classes)


def _table(asked: _Asked) -> Source:
    return csv_table(Path(asked.path), image=asked.image, labels=asked.labels, classes=asked.classes)


_KINDS: dict[str, Callable[[_Asked], Source]] = {
    "folder": _folder,
    "cifar": _cifar,
    "npz": _npz,
    "parquet": _arrow,
    "webdataset": _shards,
    "csv": _table,
}


def find_source(
    reference: str,
    *,
    image: str | None = None,
    labels: Sequence[str] | None = None,
    classes: Sequence[Sequence[str]] | None = None,
) -> Source:
    """`digits`, `KIND:PATH`, or a path whose kind its name or content tells.

    Args:
        reference: kinds are folder, cifar, npz, parquet, webdataset and csv.
        image: column of the images (parquet, csv).
        labels: columns of the label levels (parquet, csv, webdataset).
        classes: names of the classes of each level, where the source does not name them.
    """
    kind, colon, path = reference.partition(":")
    if colon and kind not in _KINDS:
        raise InterplayError(f"{reference!r}: {kind!r} is no kind of source; use {KINDS}")
    path = path if colon else reference
    asked = _Asked(path, image, list(labels) if labels else None, [list(c) for c in classes] if classes else None)
    if reference == "digits":
        asked.refuse("digits", classes=False)
        return digits()
    found = _KINDS[kind if colon else _guess(path)](asked)
    if classes is not None and len(classes) != len(found.classes):
        raise InterplayError(
            f"{reference} has {len(found.classes)} label levels, but classes are named for {len(classes)}; "
            f"give --classes once for each"
        )
    return found


def _guess(reference: str) -> str:
    path = Path(reference)
    by_suffix = {".npz": "npz", ".parquet": "parquet", ".arrow": "parquet", ".tar": "webdataset"}
    by_suffix |= {".csv": "csv", ".tsv": "csv"}
    if path.suffix in by_suffix:
        return by_suffix[path.suffix]
    if path.is_dir():
        for pattern, kind in (("*.parquet", "parquet"), ("*.arrow", "parquet"), ("*.tar", "webdataset")):
            if any(path.glob(pattern)) or any(path.glob(f"*/{pattern}")):
                return kind
        if any((path / name).is_file() for name in ("data_batch_1", "meta", "batches.meta")):
            return "cifar"
    return "folder"
