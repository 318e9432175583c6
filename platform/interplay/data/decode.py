"""From a stored image to the pixels a model is given, with Pillow's antialiased filters.

Pillow is the reference that torchvision and timm resize with, it releases the interpreter's lock while it
works, and it needs no compilation when a process starts.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from interplay.data.crops import Windows

Pixels = NDArray[np.uint8]

FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


def open_raw(data: Pixels, height: int, width: int) -> Image.Image:
    """[height * width * 3] bytes -> RGB image."""
    return Image.frombuffer("RGB", (width, height), data, "raw", "RGB", 0, 1)


def open_encoded(data: Pixels) -> Image.Image:
    """Bytes of a JPEG (or any file Pillow knows) -> RGB image."""
    return Image.open(io.BytesIO(data.tobytes())).convert("RGB")


def why_unreadable(error: Exception) -> str:
    """Pillow's reason; for an unknown format it would print the address of our buffer."""
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)


def cut(image: Image.Image, windows: Windows, slot: int, resolution: int, interpolation: str) -> Pixels:
    """The square that `windows` names at `slot`: [resolution, resolution, 3].

    Cropped before it is resized, as torchvision does: `resize(box=...)` would let pixels around the window in.
    """
    left, top, right, bottom = (int(v) for v in windows.boxes[slot])
    width, height = (int(v) for v in windows.sizes[slot])
    if (left, top, right, bottom) != (0, 0, *image.size):
        image = image.crop((left, top, right, bottom))
    if (width, height) != image.size:
        image = image.resize((width, height), FILTERS[interpolation])
    pixels = np.asarray(image)
    left, top = (int(v) for v in windows.corners[slot])
    if (left, top, width, height) != (0, 0, resolution, resolution):
        pixels = pixels[mirrored(top, resolution, height)[:, None], mirrored(left, resolution, width)]
    return pixels[:, ::-1] if windows.flips[slot] else pixels


def mirrored(start: int, count: int, length: int) -> NDArray[np.int64]:
    """The pixels `start ... start + count` of an axis of `length`, mirrored at its ends: [count] positions."""
    if length == 1:
        return np.zeros(count, dtype=np.int64)
    position = np.abs(np.arange(start, start + count)) % (2 * length - 2)
    inside: NDArray[np.int64] = np.minimum(position, 2 * length - 2 - position)
    return inside
