"""Data sets that are Python objects."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from interplay.data.manifest import SPLITS
from interplay.data.sources.source import Source, Stored, number_labels, split_named
from interplay.errors import InterplayError, closest


class Rows(Protocol):
    """Anything that has a length and gives a mapping for each position, as data sets of Hugging Face do."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Mapping[str, Any]: ...


def from_samples(
    samples: Sequence[tuple[Stored, int | Sequence[int]]],
    *,
    classes: Sequence[str] | Sequence[Sequence[str]],
    labels: Sequence[int | Sequence[int]] | None = None,
    split: Sequence[str] | None = None,
    name: str = "samples",
    version: str = "",
) -> Source:
    """Any Python data set of `(image, label)` or `(image, [label, coarser label, ...])`.

    Args:
        samples: indexable from several threads; images are Pillow images, [H, W], [H, W, 3] or [H, W, 4] arrays of
            uint8 or uint16, or encoded bytes.
        classes: names of the classes, or one list of names for each label level.
        labels: of the samples, where they are known (`targets` in torchvision): without them every sample is read
            once more to learn its label.
        split: `train`, `val` or `test` for each sample; all `train` if not given.
        name: for the manifest.
        version: says what the samples are. An interrupted write of the same version goes on where it stopped; one
            without a version starts anew.
    """
    levels = [[str(c) for c in classes]] if all(isinstance(c, str) for c in classes) else [list(c) for c in classes]
    rows = []
    for position in range(len(samples)):
        label = samples[position][1] if labels is None else labels[position]
        row = list(label) if isinstance(label, Sequence | np.ndarray) and not isinstance(label, str) else [label]
        if not all(isinstance(v, int | np.integer) for v in row):
            raise InterplayError(f"{name}: the label of sample {position} is {label!r}; labels are whole numbers")
        rows.append([int(v) for v in row])
    if len({len(r) for r in rows}) > 1:
        raise InterplayError(f"{name}: every sample needs the same number of labels")
    return Source(
        name=name,
        image=lambda position: samples[position][0],
        place=lambda position: f"sample {position}",
        labels=np.array(rows, dtype=np.int64).reshape(len(rows), len(rows[0]) if rows else len(levels)),
        split=_splits(split, len(rows), name),
        classes=levels,
        stamp=lambda: _version(version),
    )


def from_rows(
    rows: Rows | Mapping[str, Rows],
    *,
    image: str = "image",
    labels: Sequence[str] = ("label",),
    classes: Sequence[Sequence[str]] | None = None,
    name: str = "rows",
    version: str = "",
) -> Source:
    """Any Python data set whose samples are mappings, as data sets of Hugging Face: `{"image": ..., "label": 3}`.

    Args:
        rows: the samples, or `{"train": samples, "validation": samples, "test": samples}`.
        image: key of the image, of a kind that `from_samples` takes.
        labels: keys of the label levels, whole numbers or names of classes; the first one is trained on.
        classes: names for each level; otherwise taken from `rows.features`, or from the labels.
        name: for the manifest.
        version: as in `from_samples`.
    """
    parts = dict(rows) if isinstance(rows, Mapping) else {"train": rows}
    starts = np.cumsum([0, *(len(part) for part in parts.values())])
    tables = list(parts.values())
    splits = []
    for word, part in parts.items():
        number = split_named(word)
        if number is None:
            raise InterplayError(f"{name}: split {word!r} is not one of {', '.join(SPLITS)}")
        splits += [number] * len(part)

    def row(position: int) -> tuple[int, int]:
        part = int(np.searchsorted(starts, position, side="right")) - 1
        return part, int(position - starts[part])

    def place(position: int) -> str:
        part, number = row(position)
        return f"sample {number}" if len(parts) == 1 else f"sample {number} of {list(parts)[part]}"

    def picture(position: int) -> Stored:
        part, number = row(position)
        found: Stored = _value(tables[part][number], image, name)
        return found

    columns, names = [], []
    for level, key in enumerate(labels):
        values = [value for part in tables for value in _column(part, key, name)]
        known = classes[level] if classes is not None else _names(tables, key)
        numbers, level_names = number_labels(values, known, f"{name}: {key!r}", place)
        columns.append(numbers)
        names.append(level_names)
    return Source(
        name=name,
        image=picture,
        place=place,
        labels=np.stack(columns, axis=1),
        split=np.array(splits, dtype=np.int64),
        classes=names,
        stamp=lambda: _version(version),
    )


def _splits(split: Sequence[str] | None, count: int, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    names = list(split) if split is not None else ["train"] * count
    if len(names) != count:
        raise InterplayError(f"{name}: there are {count} samples, but splits for {len(names)}; give one for each")
    if wrong := sorted(set(names) - set(SPLITS)):
        raise InterplayError(f"{name}: split {wrong[0]!r} is not one of {', '.join(SPLITS)}")
    return np.array([SPLITS.index(s) for s in names], dtype=np.int64)


def _column(part: Any, key: str, name: str) -> Sequence[object]:
    if key in (getattr(part, "column_names", None) or ()):  # reads the column alone, and decodes no image
        return list(part[key])
    return [_value(part[position], key, name) for position in range(len(part))]


def _names(parts: Sequence[Any], key: str) -> Sequence[str] | None:
    features = getattr(parts[0], "features", None) if parts else None
    found: Sequence[str] | None = getattr(features.get(key), "names", None) if isinstance(features, Mapping) else None
    return found


def _value(row: Mapping[str, Any], key: str, name: str) -> Any:
    try:
        value = row[key]
    except (KeyError, TypeError):
        keys = [str(k) for k in row] if isinstance(row, Mapping) else []
        raise InterplayError(
            f"{name}: samples have no {key!r}, only {', '.join(keys) or type(row).__name__}{closest(key, keys)}"
        ) from None
    if isinstance(value, Mapping) and "bytes" in value:  # an image that Hugging Face was told not to decode
        return value["bytes"]
    return value


def _version(version: str) -> str:
    return hashlib.sha256(version.encode()).hexdigest() if version else ""
