"""How fast data sets are written, against FFCV's own writer, on the same JPEGs with the same number of processors.

    python -m tests.bench.data_writing --images 1000 --rounds 3

FFCV's writer decodes and stores JPEGs (`write_mode="jpg"`, re-encoded at quality 90) or pixels ("raw", its
default). Ours stores RGB JPEGs as they are after decoding them once to check them, computes mean and standard
deviation, brings everything to the disk, and reads it back; FFCV's does none of that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interplay import native
from interplay.data.sources import image_folder
from interplay.data.write import write_beton
from tests.photographs import photograph_folder

Row = Callable[[Path, Path], None]


class Folder:
    """The data set that FFCV's documentation would be given: decoded images and labels."""

    def __init__(self, root: Path) -> None:
        self.files = sorted(root.rglob("*.jpg"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, position: int) -> tuple[Any, int]:
        with Image.open(self.files[position]) as image:
            return np.asarray(image.convert("RGB")), position % 20


def stock(mode: str) -> Row:
    def write(photographs: Path, out: Path) -> None:
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter

        fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=90), "label": IntField()}
        writer = DatasetWriter(str(out), fields, num_workers=len(os.sched_getaffinity(0)))
        with contextlib.redirect_stderr(open(os.devnull, "w")):
            writer.from_indexed_dataset(Folder(photographs))

    return write


def ours(quality: int | None = None, tiles: int | None = None) -> Row:
    def write(photographs: Path, out: Path) -> None:
        write_beton(image_folder(photographs), out, quality=quality, tiles=tiles)

    return write


ROWS: dict[str, Row] = {
    "stock FFCV, jpg": stock("jpg"),
    "stock FFCV, raw": stock("raw"),
    "interplay, as they are": ours(),
    "interplay, --tiles 32": ours(tiles=32),
    "interplay, --quality 90": ours(quality=90),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "interplay-bench-writing")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    photographs = photograph_folder(options.folder / f"photographs-{options.images}", options.images)
    rows = {name: row for name, row in ROWS.items() if native.AVAILABLE or "tiles" not in name}
    rates: dict[str, list[float]] = {name: [] for name in rows}
    sizes: dict[str, float] = {}
    out = options.folder / "out.beton"
    for number in range(options.rounds + 1):  # the first one fills caches
        for name, write in rows.items():
            out.unlink(missing_ok=True)
            started = time.perf_counter()
            write(photographs, out)
            if number:
                rates[name].append(options.images / (time.perf_counter() - started))
            sizes[name] = out.stat().st_size / 1e6
    print(f"{'images/s':26s} {'median':>7s} {'range':>13s} {'x stock jpg':>12s} {'x stock raw':>12s} {'MB':>8s}")
    for name, values in rates.items():
        against = [
            statistics.median(a / b for a, b in zip(values, rates[f"stock FFCV, {mode}"], strict=True))
            for mode in ("jpg", "raw")
        ]
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(
            f"{name:26s} {statistics.median(values):7.0f} {spread:>13s} {against[0]:12.2f} {against[1]:12.2f} "
            f"{sizes[name]:8.1f}"
        )
    print(
        f"\n{options.images} JPEGs of about 500x375, {options.rounds} rounds in turn, "
        f"{len(os.sched_getaffinity(0))} processors; {platform.machine()}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
