"""One compressed NumPy file, as MedMNIST publishes its data sets."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interplay.data.manifest import SPLITS
from interplay.data.sources.source import Source, number_labels, stamp_of
from interplay.errors import InterplayError


def npz(path: Path, *, classes: Sequence[Sequence[str]] | None = None) -> Source:
    """`train_images` [N, H, W] or [N, H, W, 3] and `train_labels` [N] or [N, 1]; the same for `val` and `test`.

    The pixels are held in memory. Classes are numbered unless `classes` names them.

    Raises:
        InterplayError: for another content, volumes, and more than one label for an image.
    """
    arrays = _read(path)
    images, values, split = [], [], []
    for number, name in enumerate(SPLITS):
        if f"{name}_images" not in arrays and name != "train":
            continue
        pixels, labels = _checked(path, arrays, name)
        images.append(pixels)
        values += labels.tolist()
        split += [number] * len(pixels)
    ends = np.cumsum([len(part) for part in images])

    def image(position: int) -> Any:
        part = int(np.searchsorted(ends, position, side="right"))
        return images[part][position - (ends[part] - len(images[part]))]

    numbers, names = number_labels(
        values, classes[0] if classes else None, f"{path.name}: the label", lambda p: f"image {p}"
    )
    return Source(
        name=path.stem,
        image=image,
        place=lambda position: f"{path.name}: {SPLITS[split[position]]} image {_within(split, position)}",
        labels=numbers[:, None],
        split=np.array(split, dtype=np.int64),
        classes=[names],
        stamp=lambda: stamp_of([path]),
        origin=str(path.resolve()),
    )


def _within(split: list[int], position: int) -> int:
    return position - split.index(split[position])


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:  # NumPy leaves a damaged file open
            content = np.load(file, allow_pickle=False)
            return {key: content[key] for key in content.files if key.endswith(("_images", "_labels"))}
    except FileNotFoundError:
        raise InterplayError(f"there is no file {path}") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0]
        raise InterplayError(f"{path} is no .npz file of arrays ({reason}); download it again") from None


def _checked(path: Path, arrays: dict[str, NDArray[Any]], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    for key in (f"{name}_images", f"{name}_labels"):
        if key not in arrays:
            found = ", ".join(sorted(arrays)) or "none of the kind"
            raise InterplayError(f"{path} has no array {key} (it has {found}); save images and labels of each split")
    images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    if images.dtype not in (np.uint8, np.uint16):
        raise InterplayError(f"{path}: {name}_images are {images.dtype}; save them as uint8")
    if not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3, 4))):
        raise InterplayError(
            f"{path}: {name}_images are {list(images.shape)}, not [N, height, width] or [N, height, width, 3]; "
            f"volumes are no images, save slices of them"
        )
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InterplayError(
            f"{path}: {name}_labels are {list(labels.shape)}, several labels for each image; "
            f"multi-label sets cannot be trained on, keep one label of each image"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InterplayError(f"{path}: {name}_labels are {labels.dtype}; labels are whole numbers")
    if len(labels) != len(images):
        raise InterplayError(f"{path} has {len(images)} {name}_images but {len(labels)} {name}_labels")
    return images, labels
