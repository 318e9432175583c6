"""A contact sheet: what is really in a data set, with its labels."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from interplay.atomic import replacing
from interplay.data.manifest import SPLITS
from interplay.data.stored import StoredSamples

THUMB, GAP, MARGIN = 144, 12, 24
LINE = 16
"""Pixels: side of a picture, space between them, around all, and height of a line of text."""

_FONTS = (
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "arial.ttf",
)
"""Looked for on the system: the font that Pillow brings has little but English letters."""

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_PAPER, _INK, _FAINT, _MAT = "#ffffff", "#1b1b1f", "#74747c", "#eeeef1"


def draw_sheet(samples: StoredSamples, out: Path, *, split: str | None, name: str | None, count: int) -> int:
    """Draws at most `count` samples to `out`, a PNG file, and returns how many.

    Args:
        samples: to choose from, of every class in turn.
        out: replaced if it exists.
        split: only of this split.
        name: only of this class.
        count: of samples.

    Raises:
        InterplayError: if there are no such samples.
    """
    chosen = samples.choose(split=split, name=name, count=count)
    levels = len(samples.manifest.classes)
    columns = _columns(len(chosen))
    cell = (THUMB + GAP, THUMB + (levels + 1) * LINE + 6 + GAP)
    rows = math.ceil(len(chosen) / columns)
    top = MARGIN + 52
    width = max(2 * MARGIN + columns * cell[0] - GAP, 640)
    sheet = Image.new("RGB", (width, top + rows * cell[1] - GAP + MARGIN), _PAPER)
    pen = ImageDraw.Draw(sheet)
    names = [_shown(samples, chosen, level) for level in range(levels)]
    big, small = _font([samples.path.name], 20), _font([n for level in names for n in level.values()], 12)
    pen.text((MARGIN, MARGIN - 4), _fitted(samples.path.name, big, width - 2 * MARGIN), fill=_INK, font=big)
    pen.text((MARGIN, MARGIN + 24), _about(samples, len(chosen), split, name), fill=_FAINT, font=small)
    for number, position in enumerate(chosen):
        left = MARGIN + number % columns * cell[0]
        upper = top + number // columns * cell[1]
        pen.rectangle((left, upper, left + THUMB - 1, upper + THUMB - 1), fill=_MAT)
        picture = _thumb(samples.image(position))
        sheet.paste(picture, (left + (THUMB - picture.width) // 2, upper + (THUMB - picture.height) // 2))
        labels = samples.labels[position].tolist()
        lines = [_drawable(level[label], label, small) for level, label in zip(names, labels, strict=True)]
        lines.append(f"{SPLITS[int(samples.splits[position])]} · {position}")
        for level, line in enumerate(lines):
            place = (left, upper + THUMB + 4 + level * LINE)
            pen.text(place, _fitted(line, small, THUMB), fill=_INK if level == 0 else _FAINT, font=small)
    with replacing(out) as file:
        sheet.save(file, "PNG")
    return len(chosen)


def _columns(count: int) -> int:
    """Somewhat more columns than rows, and a full last row if that is near."""
    wide = max(4, min(12, math.ceil(math.sqrt(1.6 * count))))
    return min(count, min((wide, wide - 1, wide + 1), key=lambda columns: -count % columns))


def _thumb(image: Image.Image) -> Image.Image:
    """Within a square of `THUMB`; small images are enlarged pixel by pixel, to show what a model is given."""
    factor = THUMB // max(image.size)
    if factor >= 2:
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    return ImageOps.contain(image, (THUMB, THUMB), Image.Resampling.LANCZOS)


def _about(samples: StoredSamples, drawn: int, split: str | None, name: str | None) -> str:
    counts = samples.manifest.counts
    parts = [f"{drawn} of {sum(counts.values()):,} samples", ", ".join(f"{n:,} {s}" for s, n in counts.items())]
    parts.append(f"{len(samples.manifest.classes[0])} classes")
    parts += [f"only {what}" for what in (split, name) if what is not None]
    return "  ·  ".join(parts)


def _shown(samples: StoredSamples, chosen: list[int], level: int) -> dict[int, str]:
    """Number -> name of the classes that are drawn."""
    names = samples.manifest.classes[level]
    return {int(label): names[label] for label in samples.labels[chosen, level]}


def _font(texts: list[str], size: int) -> _Font:
    """The font that can draw most of `texts`."""
    fonts: list[_Font] = [ImageFont.load_default(size)]
    for name in _FONTS:
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, size))
    return max(fonts, key=lambda font: sum(_has(font, text) for text in texts))


def _has(font: _Font, text: str) -> bool:
    """Whether every letter is in the font: those that are not look like the one that no font has."""
    unknown = bytes(font.getmask("\U0010ffff"))
    return not any(bytes(font.getmask(letter)) == unknown for letter in set(text) if not letter.isspace())


def _drawable(name: str, label: int, font: _Font) -> str:
    return name if _has(font, name) else f"class {label}"


def _fitted(text: str, font: _Font, width: int) -> str:
    """`text`, shortened in its middle to at most `width` pixels."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width:
            return short
    return "…"
