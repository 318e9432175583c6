"""What augmentation does to images, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from interplay.explain.augmentation import Drawn
from interplay.explain.crops import Crops
from interplay.explain.figures.canvas import COLOURS, FAINT, INK, bare, figure, show_image, styled

_BOXES = 10
"""Crops that are drawn on the image."""


def draw_augmentation(image: Image.Image, name: str, rows: Sequence[Drawn], number: int) -> Figure:
    """The image, and below it a row for each step or policy and a column for each epoch.

    Args:
        image: as it is.
        name: of it.
        rows: what was drawn.
        number: of the image among those drawn.
    """
    columns = len(rows[0].pixels)
    lines = [1 + max(label[number].count("\n") for label in row.labels) for row in rows]
    written = [any(label[number] for label in row.labels) for row in rows]
    heights = [1.25 + (0.14 * count if some else 0.0) for count, some in zip(lines, written, strict=True)]
    with styled():
        made = figure(1.16 * columns + 0.35, sum(heights) + 1.7)
        (above,), (below,) = made.subfigures(2, 1, squeeze=False, height_ratios=[1.7, sum(heights)])
        first = above.subplots()
        first.imshow(np.asarray(image), interpolation="antialiased")
        first.set_title(f"{name}, {image.width} x {image.height} pixels", pad=4)
        bare(first)
        places = below.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
        for place, row in zip(places, rows, strict=True):
            place[0].set_ylabel(row.name, labelpad=5)
            for column, axes in enumerate(place):
                show_image(axes, row.pixels[column, number], f"epoch {column + 1}" if row is rows[0] else "")
                axes.set_xlabel(row.labels[column][number], fontsize=6, color=FAINT, labelpad=2)
    return made


def draw_crops(image: Image.Image, found: Sequence[Crops]) -> Figure:
    """Some boxes of each kind of crop on the image, and what share of its area they take."""
    with styled():
        height = 2.9 * min(1.3, max(0.6, image.height / image.width))
        made = figure(3.1 * len(found) + 0.2, height + 1.6)
        places = made.subplots(2, len(found), squeeze=False, height_ratios=[height, 1.6])
        for axes, below, crops in zip(places[0], places[1], found, strict=True):
            axes.imshow(np.asarray(image), interpolation="antialiased", alpha=0.75)
            for number, (left, top, right, bottom) in enumerate(crops.boxes[:_BOXES]):
                colour = COLOURS[number % len(COLOURS)]
                box = (left - 0.5, top - 0.5), right - left, bottom - top
                axes.add_patch(Rectangle(*box, fill=False, edgecolor="white", lw=2.0, clip_on=False))
                axes.add_patch(Rectangle(*box, fill=False, edgecolor=colour, lw=1.2, clip_on=False))
            bare(axes)
            axes.set_title(f"{crops.name}: {min(_BOXES, len(crops.boxes))} of {len(crops.boxes)} draws")
            shares = 100 * crops.shares
            below.hist(
                shares,
                bins=np.linspace(0, 100, 41),
                weights=np.full(len(shares), 100 / len(shares)),
                color=COLOURS[0],
            )
            below.axvline(shares.mean(), color=INK, lw=0.9, ls="--")
            below.set_title(f"mean {shares.mean():.0f} %, std {shares.std():.0f}", fontsize=7, color=FAINT)
            below.set(xlabel="area of the image in the crop (%)", xlim=(0, 100))
        places[1, 0].set_ylabel("draws (%)")
    return made
