"""The C extension that cuts, decodes and resizes images, with Pillow's pixels, several times as fast.

It decodes the part of a JPEG that a window needs with libjpeg-turbo and resizes it with Pillow's own
fixed-point arithmetic. `AVAILABLE` tells whether it was built (it needs a C compiler and libjpeg's headers
when the package is installed, and again when it changes); the environment variable `INTERPLAY_NATIVE=0`
switches it off. Without it Pillow does the same work.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interplay.errors import InterplayError

_VERSION = 1
"""Of the extension that fits this code."""


def _find() -> Any:
    """The extension beside this file, or that of an installed package: a job's code travels without its own."""
    elsewhere = (Path(place) / "interplay" / "native" for place in sys.path)
    for folder in (Path(__file__).parent, *elsewhere):
        spec = PathFinder.find_spec("interplay.native._pixels", [str(folder)])
        if spec is None or spec.loader is None:
            continue
        try:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
        except ImportError:
            continue  # of another Python, or without its libraries
        if getattr(module, "VERSION", None) == _VERSION:
            return module
    return None


if TYPE_CHECKING:
    from interplay.native import _pixels
else:
    _pixels = _find()

BUILT: bool = _pixels is not None
AVAILABLE: bool = BUILT and os.environ.get("INTERPLAY_NATIVE", "1") != "0"

HOW_TO_BUILD = "install libjpeg-dev and gcc, then run pip install -e . again"

FILTERS = {"box": 0, "bilinear": 1, "bicubic": 2}

JPEG, RAW = 0, 1
"""How an image is stored: a file, or its pixels."""

REASONS = (
    "",
    "damaged JPEG data",
    "no JPEG in RGB",
    "another size than stated",
    "outside of the file",
    "not enough memory",
    "an impossible window",
)
"""Why an image could not be decoded, by its status."""

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


class Images(Protocol):
    """Where the images of a batch of B are stored: see `interplay.data.pipeline.Stored`."""

    @property
    def base(self) -> Bytes: ...
    @property
    def starts(self) -> Integers: ...
    @property
    def lengths(self) -> Integers: ...
    @property
    def modes(self) -> Bytes: ...
    @property
    def sizes(self) -> Integers: ...


class Squares(Protocol):
    """Which square of each image is cut out: see `interplay.data.crops.Windows`."""

    @property
    def boxes(self) -> Integers: ...
    @property
    def sizes(self) -> Integers: ...
    @property
    def corners(self) -> Integers: ...
    @property
    def flips(self) -> NDArray[np.bool_]: ...


@dataclass(frozen=True)
class Placement:
    """Where the square of each image of a batch lies in memory: [B] sides in pixels, and [B] bytes before it."""

    sides: Integers
    places: Integers

    @staticmethod
    def equal(count: int, side: int) -> Placement:
        """`count` squares of one size, one behind the other: [count, side, side, 3]."""
        return Placement(np.full(count, side, dtype=np.int64), np.arange(count, dtype=np.int64) * (3 * side * side))


def fill(
    out: Bytes,
    images: Images,
    squares: Squares,
    interpolation: str,
    status: Bytes,
    part: range,
    placement: Placement | None = None,
) -> None:
    """Writes the squares of the images in `part` of a batch of B into `out`, C-contiguous.

    That is [B, R, R, 3], or any memory with a `placement`. Releases the interpreter's lock. Neighbours that are one
    image (views) are decoded together. What an image gives does not depend on the part it is in.

    `status` [B] is set to 0, or to the position in `REASONS` if an image cannot be decoded. Damage that the decoded
    part of an image does not meet goes unnoticed.

    Raises:
        ValueError: if an array has another number of bytes than stated.
        TypeError: if `out` is not C-contiguous or cannot be written to.
    """
    placement = placement or Placement.equal(len(status), out.shape[1])
    _pixels.fill(
        images.base,
        _contiguous(images.starts),
        _contiguous(images.lengths),
        np.ascontiguousarray(images.modes, dtype=np.uint8),
        _contiguous(images.sizes),
        _contiguous(squares.boxes),
        _contiguous(squares.sizes),
        _contiguous(squares.corners),
        np.ascontiguousarray(squares.flips, dtype=np.bool_),
        out,
        status,
        _contiguous(placement.sides),
        _contiguous(placement.places),
        FILTERS[interpolation],
        part.start,
        part.stop,
    )


def _contiguous(numbers: Integers) -> Integers:
    return np.ascontiguousarray(numbers, dtype=np.int64)


def retile(jpeg: bytes, tile: int = 32) -> bytes:
    """The same image with restart markers about every `tile` pixels, so that windows of it decode faster.

    Coefficients stay as they are, and so do pixels; only the markers that colours need are kept (no Exif). The coded
    bits of a sequential file are copied (1 to 2 % more bytes); others, such as progressive ones, are coded anew with
    Huffman tables of their own.

    Raises:
        ValueError: with the reason, if the data is damaged or no JPEG in RGB or YCbCr.
        InterplayError: without the extension.
    """
    if _pixels is None:
        raise InterplayError(f"JPEGs can be tiled only by the C extension; {HOW_TO_BUILD}")
    if tile < 1:
        raise ValueError(f"tiles of {tile} pixels are impossible; give at least 1")
    return _pixels.retile(jpeg, tile)


GRAYSCALE, SOLARISE, BLUR = 0, 1, 2
"""The operations of `three_augment`."""


def three_augment(images: Bytes, operations: Bytes, radii: NDArray[np.float64]) -> None:
    """3-Augment's operations on 8-bit images, in place; the results are those of `interplay.augment`.

    Args:
        images: [B, R, R, 3], C-contiguous.
        operations: [B] `GRAYSCALE`, `SOLARISE` (threshold 128) or `BLUR`.
        radii: [B] standard deviation of the blur in pixels.

    Raises:
        InterplayError: without the extension.
    """
    if _pixels is None:
        raise InterplayError(f"3-Augment on the CPU needs the C extension; {HOW_TO_BUILD}")
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] != 3:
        raise ValueError(f"images are [B, R, R, 3], not {list(images.shape)}")
    _pixels.three_augment(images, operations.astype(np.uint8), radii.astype(np.float32), images.shape[1])
