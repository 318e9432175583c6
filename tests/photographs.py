"""Realistic JPEGs, no download: crops and variations of photographs that scikit-learn and scikit-image carry."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

PHOTOGRAPHS = [
    ("sklearn.datasets.images", "china.jpg"),
    ("sklearn.datasets.images", "flower.jpg"),
    ("skimage.data", "astronaut.png"),
    ("skimage.data", "chelsea.png"),
    ("skimage.data", "coffee.png"),
    ("skimage.data", "hubble_deep_field.jpg"),
    ("skimage.data", "motorcycle_left.png"),
    ("skimage.data", "rocket.jpg"),
]
SIZES = [(500, 375), (375, 500), (500, 333), (333, 500), (500, 500), (500, 400)]
SHARES = [0.55, 0.2, 0.1, 0.05, 0.05, 0.05]
"""ImageNet's most frequent sizes, about."""


def photographs(count: int, *, seed: int = 0, sizes: list[tuple[int, int]] | None = None) -> Iterator[bytes]:
    """`count` JPEG files of about 100 KB; `sizes` (width, height) instead of ImageNet's usual ones."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        picture = _originals()[number % len(PHOTOGRAPHS)]
        width, height = sizes[number % len(sizes)] if sizes else SIZES[rng.choice(len(SIZES), p=SHARES)]
        scale = rng.uniform(0.75, 1.0) * min(picture.width / width, picture.height / height)
        left = int(rng.uniform(0, picture.width - width * scale))
        top = int(rng.uniform(0, picture.height - height * scale))
        box = (left, top, left + width * scale, top + height * scale)
        image = picture.resize((width, height), Image.Resampling.LANCZOS, box=box)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.2))
        image = ImageEnhance.Color(image).enhance(rng.uniform(0.7, 1.3))
        grain = rng.normal(0, 4.0, (height, width, 1)) + rng.normal(0, 2.0, (height, width, 3))  # lost by resizing
        image = Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.choice([92, 94, 95, 96, 97])))
        yield file.getvalue()


def photograph_folder(root: Path, count: int, *, classes: int = 20) -> Path:
    """`root/train/CLASS/NUMBER.jpg`, written once."""
    if not root.exists():
        for number, data in enumerate(photographs(count)):
            path = root / "train" / f"class{number % classes:02d}" / f"{number:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


@cache
def _originals() -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(files(package).joinpath(name).read_bytes())).convert("RGB")
        for package, name in PHOTOGRAPHS
    ]
