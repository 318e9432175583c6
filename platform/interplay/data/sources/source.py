"""What every source is: images by position, and a table of their labels and splits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay.data.manifest import SPLITS
from interplay.errors import InterplayError, closest

Stored = bytes | Image.Image | NDArray[np.uint8] | NDArray[np.uint16]
"""An encoded file's bytes, or pixels."""

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"}

_WORDS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Source:
    """A data set to be written.

    Attributes:
        name: what it is, for the manifest.
        image: position -> the image. Called from several threads.
        place: position -> where the image is, for error messages and look-ups.
        labels: [N, L] int64, one column for each label level.
        split: [N] positions in `SPLITS`.
        classes: names of each level's classes.
        stamp: tells one state of the source from another, as by its files' sizes and times. An interrupted write
            goes on where it stopped if this is the same as before; empty if it cannot be told.
        origin: the path that it was read from, if there is one.
    """

    name: str
    image: Callable[[int], Stored]
    place: Callable[[int], str]
    labels: NDArray[np.int64]
    split: NDArray[np.int64]
    classes: list[list[str]]
    stamp: Callable[[], str] = lambda: ""
    origin: str = ""

    def __len__(self) -> int:
        return len(self.labels)


def stamp_of(files: Iterable[Path]) -> str:
    """SHA-256 over the names, sizes and modification times of `files`; missing ones count as such."""
    digest = hashlib.sha256()
    for file in files:
        try:
            state = file.stat()
            digest.update(f"{file}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
        except OSError:
            digest.update(f"{file}\0missing\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def split_named(word: str) -> int | None:
    """The position in `SPLITS` that `word` means (`valid`, `validation` and `dev` are `val`), or None."""
    for number, split in enumerate(SPLITS):
        if word.lower() in _WORDS[split]:
            return number
    return None


def split_in(path: Path) -> int:
    """The split that a file's name or folders tell, as in `data/train-00000-of-00002.parquet`; else training."""
    for part in reversed(path.parts):
        for word in re.split(r"[^A-Za-z]+", part):
            found = split_named(word)
            if found is not None:
                return found
    return SPLITS.index("train")


def number_labels(
    values: Sequence[object], names: Sequence[str] | None, what: str, place: Callable[[int], str]
) -> tuple[NDArray[np.int64], list[str]]:
    """One label level as class numbers, and its classes' names.

    Args:
        values: whole numbers or names of classes, not both; numbers may be written as text.
        names: of the classes, where they are known; otherwise numbers name themselves and names are sorted.
        what: the column, for error messages.
        place: position -> where the label is, for error messages.

    Returns:
        [N] int64 and the names. Numbers outside the names given are left to the writer, which may skip them.

    Raises:
        InterplayError: for a missing, fractional or unknown label, and for numbers that leave classes empty.
    """
    numbers = np.zeros(len(values), dtype=np.int64)
    words: dict[int, str] = {}
    for position, value in enumerate(values):
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        number = _whole(value)
        if names is not None and isinstance(value, str) and value in names:
            numbers[position] = names.index(value) if number is None else number
        elif number is not None:
            numbers[position] = number
        elif isinstance(value, str) and value.strip() and not _is_number(value):
            words[position] = value.strip()
        else:
            raise InterplayError(
                f"{what} of {place(position)} is {value!r}; labels are whole numbers or names of classes"
            )
    if words:
        return _named(numbers, words, names, what, place)
    return numbers, list(names) if names is not None else _counted(numbers, what, place)


def _named(
    numbers: NDArray[np.int64],
    words: dict[int, str],
    names: Sequence[str] | None,
    what: str,
    place: Callable[[int], str],
) -> tuple[NDArray[np.int64], list[str]]:
    if names is None and len(words) < len(numbers):
        number = next(p for p in range(len(numbers)) if p not in words)
        raise InterplayError(
            f"{what} mixes names and numbers ({words[min(words)]!r} of {place(min(words))}, {numbers[number]} of "
            f"{place(number)}); use one or the other"
        )
    known = list(names) if names is not None else sorted(set(words.values()))
    table = {name: number for number, name in enumerate(known)}
    for position, word in words.items():
        if word not in table:
            raise InterplayError(
                f"{what} of {place(position)} is {word!r}, which is none of the {len(known)} classes"
                f"{closest(word, known) or '; name it, or correct it'}"
            )
        numbers[position] = table[word]
    return numbers, known


def _counted(numbers: NDArray[np.int64], what: str, place: Callable[[int], str]) -> list[str]:
    """Names of classes that are numbered and not named: every number from 0 on has to occur."""
    if not len(numbers):
        return []
    low = int(numbers.argmin())
    if numbers[low] < 0:
        raise InterplayError(f"{what} of {place(low)} is {numbers[low]}; number the classes from 0, or remove it")
    present = np.unique(numbers)
    if len(present) != present[-1] + 1:
        gap = next(n for n, label in enumerate(present.tolist()) if n != label)
        raise InterplayError(
            f"{what} runs from {present[0]} to {present[-1]}, but no sample has {gap}; "
            f"number the classes from 0 without gaps, or name them with --classes"
        )
    return [str(n) for n in present.tolist()]


def _whole(value: object) -> int | None:
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
        return int(value)
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_names(path: Path) -> list[str]:
    """Names of classes from a text file, one a line.

    Raises:
        InterplayError: if it is missing, empty, or names a class twice.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InterplayError(f"the names of classes in {path} cannot be read: {error}") from None
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice or not names:
        reason = f"names {twice[0]!r} twice" if twice else "names no class"
        raise InterplayError(f"{path} {reason}; write each class's name on a line of its own")
    return names
