"""The built-in data set, which needs no download."""

from __future__ import annotations

import numpy as np
from PIL import Image

from interplay.data.sources.source import Source, Stored


def digits(side: int = 32) -> Source:
    """The 1,797 real 8x8 scans of handwritten digits that scikit-learn carries, resized to `side`."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    pixels = (scans.images * (255.0 / 16.0)).round().astype(np.uint8)

    def image(position: int) -> Stored:
        grey = Image.fromarray(pixels[position]).resize((side, side), Image.Resampling.BICUBIC)
        return grey.convert("RGB")

    labels = scans.target.astype(np.int64)[:, None]
    return Source(
        name=f"scikit-learn digits, 8x8 resized to {side}x{side}",
        image=image,
        place=lambda position: f"scan {position}",
        labels=labels,
        split=np.zeros(len(labels), dtype=np.int64),
        classes=[[str(d) for d in range(10)]],
    )
