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
from interplay.data.write import write_beton
from interplay.recipe import Recipe


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


GREY = ["dark", "grey", "light"]


def grey_levels(path: Path, count: int = 90, *, test: float = 0.2) -> Path:
    """Images whose brightness is one of six classes, in the three coarse ones of `GREY`."""
    rng, samples = np.random.default_rng(0), []
    for number in range(count):
        fine = number % 6
        samples.append(((rng.integers(0, 30, (16, 16, 3)) + 36 * fine).astype(np.uint8), (fine, fine // 2)))
    write_beton(from_samples(samples, classes=[list("abcdef"), GREY]), path, val=0.2, test=test)
    return path


def coarse_recipe(beton: Path, **changes: Any) -> Recipe:
    """One epoch on the coarse labels of `grey_levels`."""
    return Recipe().with_(
        {
            "name": "coarse",
            "model": {"family": "vit", "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "init_std": 0.1},
            "data.dataset": str(beton),
            "data.level": 1,
            "data.resolution": 16,
            "data.batch_size": 16,
            "schedule.epochs": 1,
            "schedule.warmup_epochs": 0,
            **changes,
        }
    )


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
