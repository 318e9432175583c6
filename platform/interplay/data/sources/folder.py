"""A folder of class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from interplay.data.manifest import SPLITS
from interplay.data.sources.source import IMAGE_SUFFIXES, Source, stamp_of
from interplay.errors import InterplayError


def image_folder(root: Path) -> Source:
    """`root/CLASS/*.jpg`, or `root/{train,val,test}/CLASS/*.jpg`; classes are sorted by name."""
    if not root.is_dir():
        raise InterplayError(f"there is no folder {root}")
    splits = {s: root / s for s in SPLITS if (root / s).is_dir()} or {"train": root}
    if "train" not in splits:
        raise InterplayError(f"{root} has {', '.join(splits)} but no train folder")
    classes = sorted(d.name for d in splits["train"].iterdir() if d.is_dir())
    files: list[Path] = []
    rows: list[tuple[int, int]] = []
    for split, folder in splits.items():
        for directory in sorted(d for d in folder.iterdir() if d.is_dir()):
            if directory.name not in classes:
                raise InterplayError(f"{directory}: class {directory.name!r} is not in {splits['train']}")
            found = sorted(f for f in directory.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
            if not found and split == "train":
                raise InterplayError(f"class folder {directory} holds no image; add one or remove the folder")
            files += found
            rows += [(classes.index(directory.name), SPLITS.index(split))] * len(found)
    if not files:
        raise InterplayError(f"{root} holds no images in class folders, as in {root}/cat/1.jpg")
    table = np.array(rows, dtype=np.int64)
    return Source(
        name=f"images in {root.name}",
        image=lambda position: files[position].read_bytes(),
        place=lambda position: str(files[position]),
        labels=table[:, :1],
        split=table[:, 1],
        classes=[classes],
        stamp=lambda: stamp_of(files),
        origin=str(root.resolve()),
    )
