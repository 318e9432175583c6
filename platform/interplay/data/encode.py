"""One sample of a source -> the bytes that are stored for it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay import native
from interplay.data import ffcv_engine as engine
from interplay.data.images import BadImage, Upright, parse_colour, upright, why_missing
from interplay.data.sources import Source
from interplay.errors import InterplayError


@dataclass(frozen=True)
class Storing:
    """How images are stored. As they are, if nothing else is asked for: JPEG files in RGB byte by byte, all else
    as pixels, both without loss.

    Attributes:
        quality: store every image as a JPEG of this quality, 1 to 100.
        max_side: shrink images whose longer side is longer than this, in pixels.
        tiles: cut JPEGs into restart intervals of this side in pixels, without loss, so that a crop is decoded
            without the rest.
        background: colour that shows through transparent images.
    """

    quality: int | None = None
    max_side: int | None = None
    tiles: int | None = None
    background: str = "white"

    def check(self) -> None:
        """Raises InterplayError for values that mean nothing."""
        parse_colour(self.background)
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise InterplayError(f"--quality {self.quality} is none of 1 to 100; 95 loses little, 90 less bytes")
        if self.max_side is not None and self.max_side < 1:
            raise InterplayError(f"--max-side {self.max_side} leaves no pixels; give the longer side in pixels")
        if self.tiles is not None:
            _check_tiles(self.tiles)

    @property
    def lossy(self) -> bool:
        return self.quality is not None or self.max_side is not None


@dataclass(frozen=True)
class Encoded:
    """What is stored of one image."""

    mode: int
    height: int
    width: int
    data: bytes
    histogram: NDArray[np.int64]  # [3, 256]: pixels of each value, per channel


def encode(source: Source, position: int, storing: Storing) -> Encoded | BadImage:
    """The sample at `position`, or the reason why it cannot be stored."""
    try:
        _check_label(source, position)
        return _store(_shrunk(_read(source, position, storing), storing), storing)
    except BadImage as bad:
        return bad


def measure(source: Source, position: int, storing: Storing) -> tuple[int, float] | None:
    """Bytes that a sample will take, and what storing loses of it: the mean absolute difference in grey levels
    between the image and what is stored of it, brought back to the image's size. None for a bad sample."""
    try:
        original = _read(source, position, storing)
        encoded = _store(_shrunk(original, storing), storing)
    except BadImage:
        return None
    if not storing.lossy:
        return len(encoded.data), 0.0
    if encoded.mode == engine.JPEG_MODE:
        stored = Image.open(io.BytesIO(encoded.data)).convert("RGB")
    else:
        stored = Image.frombytes("RGB", (encoded.width, encoded.height), encoded.data)
    if stored.size != original.image.size:
        stored = stored.resize(original.image.size, Image.Resampling.BICUBIC)
    difference = np.asarray(stored, dtype=np.int16) - np.asarray(original.image, dtype=np.int16)
    return len(encoded.data), float(np.abs(difference).mean())


def label_problem(source: Source, position: int) -> str | None:
    """The end of a sentence if a label of the sample is outside its classes."""
    for level, names in enumerate(source.classes):
        label = int(source.labels[position, level])
        if not 0 <= label < len(names):
            return f"has label {label}, outside 0..{len(names) - 1}"
    return None


def _check_label(source: Source, position: int) -> None:
    problem = label_problem(source, position)
    if problem is not None:
        raise BadImage(problem)


def _read(source: Source, position: int, storing: Storing) -> Upright:
    try:
        stored = source.image(position)
    except InterplayError:
        raise
    except Exception as error:
        raise BadImage(why_missing(error)) from None
    return upright(stored, parse_colour(storing.background))


def _shrunk(original: Upright, storing: Storing) -> Upright:
    width, height = original.image.size
    longer = max(width, height)
    if storing.max_side is None or longer <= storing.max_side:
        return original
    size = tuple(max(1, round(side * storing.max_side / longer)) for side in (width, height))
    return Upright(original.image.resize((size[0], size[1]), Image.Resampling.BICUBIC), None)


def _store(picture: Upright, storing: Storing) -> Encoded:
    jpeg = picture.jpeg
    if storing.quality is not None:
        buffer = io.BytesIO()
        picture.image.save(buffer, "JPEG", quality=storing.quality)
        jpeg = buffer.getvalue()
    width, height = picture.image.size
    if jpeg is not None:
        mode, data = engine.JPEG_MODE, _tiled(jpeg, storing.tiles) if storing.tiles is not None else jpeg
    else:
        mode, data = engine.RAW_MODE, picture.image.tobytes()
    # of the pixels before re-encoding: the mean over a data set does not see JPEG's loss
    histogram = np.array(picture.image.histogram(), dtype=np.int64).reshape(3, 256)
    return Encoded(mode, height, width, data, histogram)


def _check_tiles(tiles: int) -> None:
    if tiles < 8 or tiles % 8:
        raise InterplayError(f"--tiles {tiles} is no multiple of 8 pixels; 32 suits training at 224")
    if not native.AVAILABLE:
        raise InterplayError(f"--tiles needs the C extension, which is not built; {native.HOW_TO_BUILD}")


def _tiled(jpeg: bytes, tiles: int) -> bytes:
    try:
        return native.retile(jpeg, tiles)
    except ValueError as error:
        raise BadImage(f"is a JPEG that cannot be cut into tiles ({error})") from None
