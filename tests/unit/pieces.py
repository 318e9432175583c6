"""Small images and data sets that the tests of writing share."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interplay.data import Source, from_samples
from interplay.data import ffcv_engine as engine


def noise(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0) -> bytes:
    return encoded(Image.fromarray(noise(seed=seed)), "JPEG", quality=95)


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def small(count: int = 12) -> Source:
    """JPEGs and pixels in turn, three classes."""
    samples = [(jpeg(i) if i % 2 else noise(seed=i), i % 3) for i in range(count)]
    return from_samples(samples, classes=list("abc"))


def stored_bytes(path: Path) -> list[tuple[int, bytes]]:
    """Mode and bytes of each stored image."""
    reader = engine.Reader(str(path))
    sizes = {int(row["ptr"]): int(row["size"]) for row in reader.alloc_table}
    content = path.read_bytes()
    starts = [(int(row["mode"]), int(row["data_ptr"])) for row in reader.metadata["f0"]]
    return [(mode, content[start : start + sizes[start]]) for mode, start in starts]


def hard_to_draw(count: int = 12) -> Source:
    """As `small`, with a class whose name is hard to draw."""
    return replace(small(count), classes=[["a", "b", "ünï 鳥"]])
