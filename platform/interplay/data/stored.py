"""A `.beton` for people: single samples, with their labels' names and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay.data import ffcv_engine as engine
from interplay.data.decode import open_encoded, open_raw
from interplay.data.layout import IMAGE, SPLIT, label_field
from interplay.data.manifest import SPLITS, Manifest
from interplay.data.origins import read_origins
from interplay.data.structure import allocations
from interplay.data.verify import open_checked
from interplay.errors import InterplayError, closest


@dataclass(frozen=True)
class Found:
    """One sample: where it came from, its split, and name and number of each label."""

    place: str
    split: str
    labels: list[tuple[str, int]]


class StoredSamples:
    """Samples of `path` by their position in the file.

    Attributes:
        path: the file.
        manifest: beside it.
        labels: [N, L] class numbers.
        splits: [N] positions in `SPLITS`.

    Raises:
        InterplayError: if the file is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest
        self.manifest, reader = open_checked(path)
        self._images = self._column(reader, IMAGE)
        levels = range(len(self.manifest.classes))
        self.labels = np.stack([self._column(reader, label_field(n)) for n in levels], axis=1).astype(np.int64)
        self.splits: NDArray[np.int64] = self._column(reader, SPLIT)
        self._starts, self._ends = allocations(reader)
        self._data = np.memmap(path, np.uint8, mode="r")

    @staticmethod
    def _column(reader: Any, name: str) -> Any:
        return reader.metadata[f"f{reader.field_names.index(name)}"]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _places(self) -> list[str]:
        return read_origins(self.path, self.manifest.digest).places

    def image(self, position: int) -> Image.Image:
        """One image in RGB."""
        stored = self._data[self._starts[position] : self._ends[position]]
        row = self._images[position]
        if row["mode"] == engine.RAW_MODE:
            return open_raw(stored, int(row["height"]), int(row["width"]))
        return open_encoded(stored)

    def find(self, position: int) -> Found:
        """What is known of one sample.

        Raises:
            InterplayError: if there is no such sample, or no list of origins beside the file.
        """
        if not 0 <= position < len(self):
            raise InterplayError(f"{self.path} has no sample {position}; its samples are 0 to {len(self) - 1}")
        names = zip(self.manifest.classes, self.labels[position].tolist(), strict=True)
        labels = [(level[number], number) for level, number in names]
        return Found(self._places[position], SPLITS[int(self.splits[position])], labels)

    def choose(self, *, split: str | None, name: str | None, count: int) -> list[int]:
        """Positions of at most `count` samples: of every class in turn, spread over the file.

        Args:
            split: only of this split.
            name: only of this class of the first level, by its name or number.
            count: at most so many.

        Raises:
            InterplayError: if there are none.
        """
        wanted = np.ones(len(self), dtype=bool)
        if split is not None:
            wanted &= self.splits == SPLITS.index(split)
        if name is not None:
            wanted &= self.labels[:, 0] == self._class(name)
        rows = np.flatnonzero(wanted)
        if not len(rows):
            what = " and ".join(
                w for w in (f"split {split!r}" if split else "", f"class {name!r}" if name else "") if w
            )
            raise InterplayError(f"{self.path} has no sample of {what}; interplay data inspect shows the counts")
        classes = [rows[self.labels[rows, 0] == label] for label in np.unique(self.labels[rows, 0])]
        if len(classes) > count:
            classes = [classes[int(n)] for n in np.linspace(0, len(classes) - 1, count)]
        shares = _shares([len(c) for c in classes], count)
        return [
            int(members[int(n)])
            for members, share in zip(classes, shares, strict=True)
            for n in np.linspace(0, len(members) - 1, share)
        ]

    def _class(self, name: str) -> int:
        names = self.manifest.classes[0]
        if name in names:
            return names.index(name)
        if name.isdigit() and int(name) < len(names):
            return int(name)
        raise InterplayError(
            f"{self.path} has no class {name!r}{closest(name, names) or f'; it has {len(names)}, as {names[0]!r}'}"
        )


def _shares(sizes: list[int], count: int) -> list[int]:
    """How many of each class: as equal as their sizes allow, `count` together if there are so many."""
    shares = [0] * len(sizes)
    left = count
    while left and shares != sizes:
        for number, size in enumerate(sizes):
            if left and shares[number] < size:
                shares[number] += 1
                left -= 1
    return shares
