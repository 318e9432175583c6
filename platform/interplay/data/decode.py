"""From a stored image to the pixels a model is given, with Pillow's antialiased filters.

Pillow is the reference that torchvision and timm resize with, it releases the interpreter's lock while it
works, and it needs no compilation when a process starts.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

Pixels = NDArray[np.uint8]

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def open_raw(data: Pixels, height: int, width: int) -> Image.Image:
    """[height * width * 3] bytes -> RGB image."""
    return Image.frombuffer("RGB", (width, height), data, "raw", "RGB", 0, 1)


def open_encoded(data: Pixels) -> Image.Image:
    """Bytes of a JPEG (or any file Pillow knows) -> RGB image."""
    return Image.open(io.BytesIO(data.tobytes())).convert("RGB")


def why_unreadable(error: Exception) -> str:
    """Pillow's reason; for an unknown format it would print the address of our buffer."""
    return "unknown format" if isinstance(error, UnidentifiedImageError) else str(error)


def training_pixels(
    image: Image.Image, box: NDArray[np.int64], flip: bool, resolution: int, interpolation: str
) -> Pixels:
    """The window `box` of `image`, resized, mirrored if `flip`: [resolution, resolution, 3].

    Cropped first, as torchvision does: `resize(box=...)` would let pixels around the window into its edge.
    """
    left, top, right, bottom = (int(v) for v in box)
    resized = image.crop((left, top, right, bottom)).resize((resolution, resolution), FILTERS[interpolation])
    pixels = np.asarray(resized)
    return pixels[:, ::-1] if flip else pixels


def evaluation_pixels(image: Image.Image, resolution: int, crop_ratio: float, interpolation: str) -> Pixels:
    """Short side to `resolution / crop_ratio`, then the centre: [resolution, resolution, 3].

    The same as torchvision's `Resize(int(resolution / crop_ratio))` and `CenterCrop(resolution)`.
    """
    width, height = image.size
    short = int(resolution / crop_ratio)
    portrait = width <= height
    size = (short, int(short * height / width)) if portrait else (int(short * width / height), short)
    resized = image if size == image.size else image.resize(size, FILTERS[interpolation])
    left = round((size[0] - resolution) / 2.0)
    top = round((size[1] - resolution) / 2.0)
    return np.asarray(resized.crop((left, top, left + resolution, top + resolution)))
