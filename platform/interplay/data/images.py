"""Any image that a source may hold -> RGB of 8 bits, upright; or the reason why not."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageColor

from interplay.data.decode import why_unreadable
from interplay.errors import InterplayError

MAX_SIDE = 65_535
"""FFCV stores heights and widths in 16 bits."""

Colour = tuple[int, int, int]

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What each orientation of EXIF needs to stand upright."""


class BadImage(Exception):
    """An image that cannot be stored; the message continues a sentence that begins with its place."""


@dataclass(frozen=True)
class Upright:
    """An image in RGB, and its file's bytes if they are a JPEG that means exactly these pixels."""

    image: Image.Image
    jpeg: bytes | None


def parse_colour(text: str) -> Colour:
    """`white`, `#808080` or `rgb(1, 2, 3)` -> red, green, blue in grey levels."""
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InterplayError(f"{text!r} is no colour; write a name (white), #808080 or rgb(128, 128, 128)") from None


@contextmanager
def strict_pillow() -> Iterator[None]:
    """Pillow raises for images of more pixels than its limit, and keeps its other warnings to itself.

    Warnings are filtered for the whole process: use it around all threads, not in one.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def upright(stored: Any, background: Colour) -> Upright:
    """`stored` (see `Source`) in RGB, turned as its EXIF says.

    Transparent images are laid on `background`; grey ones of 16 bits are scaled to 8.

    Raises:
        BadImage: if it cannot be read or means no image.
    """
    try:
        return _upright(stored, background)
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = Image.MAX_IMAGE_PIXELS or 0
        raise BadImage(f"has more than {limit:,} pixels, Pillow's limit against decompression bombs") from None
    except Exception as error:
        reason = (why_unreadable(error).splitlines() or [type(error).__name__])[0]
        raise BadImage(f"is no image that can be read ({reason})") from None


def why_missing(error: Exception) -> str:
    """The end of a sentence for a sample that its source could not give."""
    if isinstance(error, FileNotFoundError):
        return "is missing"
    if isinstance(error, OSError):
        return f"cannot be read ({os.strerror(error.errno) if error.errno else error})"
    reason = (str(error).splitlines() or [""])[0]
    return f"cannot be read ({type(error).__name__}: {reason})"


def _upright(stored: Any, background: Colour) -> Upright:
    if isinstance(stored, bytes | bytearray | memoryview):
        content = bytes(stored)
        if not content:
            raise BadImage("is no image that can be read (it is empty)")
        image: Image.Image = Image.open(io.BytesIO(content))
        image.load()
        as_it_is = image.format in ("JPEG", "MPO") and image.mode == "RGB" and _orientation(image) == 1
        keep = content if as_it_is else None
    elif isinstance(stored, np.ndarray):
        image, keep = _from_array(stored), None
    elif isinstance(stored, Image.Image):
        image, keep = stored, None
        image.load()
    else:
        raise BadImage(f"is no image but {type(stored).__name__}; give Pillow images, arrays or encoded bytes")
    width, height = image.size
    if not width or not height:
        raise BadImage(f"has no pixels ({width}x{height})")
    if max(width, height) > MAX_SIDE:
        raise BadImage(f"is {width}x{height}; a .beton holds sides up to {MAX_SIDE}")
    turn = _TURNS.get(_orientation(image))
    image = _to_rgb(image, background)
    return Upright(image.transpose(turn) if turn is not None else image, keep)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block says nothing
        return 1


def _from_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise BadImage(f"is an array of {pixels.dtype}; give uint8 from 0 to 255")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise BadImage(f"is no image that can be read (its shape is {list(pixels.shape)}, not [height, width, 3])")
    if not pixels.size:
        raise BadImage(f"has no pixels ({pixels.shape[1]}x{pixels.shape[0]})")
    return Image.fromarray(_scaled(pixels) if pixels.dtype == np.uint16 else np.ascontiguousarray(pixels))


def _to_rgb(image: Image.Image, background: Colour) -> Image.Image:
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray(_scaled(np.asarray(image))).convert("RGB")
    if image.mode in ("I", "F"):
        raise BadImage(
            f"has {'whole' if image.mode == 'I' else 'fractional'} numbers of 32 bits as pixels, whose "
            f"scale is not known; save it with 8 or 16 bits"
        )
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*background, 255))
        return Image.alpha_composite(canvas, picture).convert("RGB")
    return image.convert("RGB")


def _scaled(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """0..65535 -> 0..255, rounded."""
    return ((pixels.astype(np.uint32) * 255 + 32_767) // 65_535).astype(np.uint8)
