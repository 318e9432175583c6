"""A table of paths and labels in a text file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from interplay.data.manifest import SPLITS
from interplay.data.sources.source import Source, number_labels, split_named, stamp_of
from interplay.errors import InterplayError, closest


def csv_table(
    path: Path,
    *,
    image: str | None = None,
    labels: Sequence[str] | None = None,
    classes: Sequence[Sequence[str]] | None = None,
) -> Source:
    """Columns `path,label[,label1,...][,split]`, separated by commas, semicolons or tabs.

    Args:
        path: the file, in UTF-8, with the names of its columns in the first line.
        image: column of the images' paths, relative to the file's folder; `path` if not given.
        labels: columns of the label levels, whole numbers or names of classes; `label`, `label1` ... if not given.
        classes: names of the classes of each level; otherwise taken from the labels.

    Raises:
        InterplayError: for a missing column, an image in two rows, and labels that are neither.
    """
    header, rows = _read(path)
    image = image or "path"
    labels = labels or [name for name in header if name == "label" or _is_level(name)] or ["label"]
    for name in (image, *labels):
        if name not in header:
            raise InterplayError(
                f"{path} has no column {name!r}, only {', '.join(header)}"
                f"{closest(name, header) or '; name yours with --image-column and --label-columns'}"
            )
    paths = [row[header.index(image)] for row in rows]
    _check_paths(path, paths)
    files = [path.parent / name for name in paths]

    def line(position: int) -> str:
        return f"line {position + 2}"

    columns, names = [], []
    for level, name in enumerate(labels):
        values = [row[header.index(name)] for row in rows]
        known = classes[level] if classes else None
        numbers, level_names = number_labels(values, known, f"{path.name}: {name!r}", line)
        columns.append(numbers)
        names.append(level_names)
    return Source(
        name=f"images of {path.name}",
        image=lambda position: files[position].read_bytes(),
        place=lambda position: str(files[position]),
        labels=np.stack(columns, axis=1),
        split=_splits(path, header, rows),
        classes=names,
        stamp=lambda: stamp_of([path, *files]),
        origin=str(path.resolve()),
    )


def _is_level(name: str) -> bool:
    return name.startswith("label") and name.removeprefix("label").isdigit()


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = max(",;\t", key=first.count)
            lines = [(number, row) for number, row in enumerate(csv.reader(file, delimiter=separator), 1) if row]
    except FileNotFoundError:
        raise InterplayError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InterplayError(f"{path} cannot be read as a table of text in UTF-8: {error}") from None
    if len(lines) < 2:
        raise InterplayError(f"{path} holds no rows; write path,label in its first line and a row for each image")
    header = [name.strip() for name in lines[0][1]]
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise InterplayError(
                f"{path}: line {number} has {len(row)} columns, the first line {len(header)}; "
                f'put "quotes" around what contains {separator!r}'
            )
    return header, [[value.strip() for value in row] for _, row in lines[1:]]


def _check_paths(path: Path, paths: list[str]) -> None:
    seen: dict[str, int] = {}
    for position, name in enumerate(paths):
        if not name:
            raise InterplayError(f"{path}: line {position + 2} names no image")
        if name in seen:
            raise InterplayError(
                f"{path}: {name} is in line {seen[name] + 2} and in line {position + 2}; keep one of them"
            )
        seen[name] = position


def _splits(path: Path, header: list[str], rows: list[list[str]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if "split" not in header:
        return np.zeros(len(rows), dtype=np.int64)
    numbers = np.zeros(len(rows), dtype=np.int64)
    for position, row in enumerate(rows):
        word = row[header.index("split")]
        number = split_named(word)
        if number is None:
            raise InterplayError(f"{path}: split {word!r} of line {position + 2} is not one of {', '.join(SPLITS)}")
        numbers[position] = number
    return numbers
