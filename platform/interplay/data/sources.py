"""Where images and labels come from before they are written to a `.beton`."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay.data.manifest import SPLITS
from interplay.errors import InterplayError

Stored = bytes | Image.Image | NDArray[np.uint8]
"""An encoded file's bytes, or pixels."""

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".gif"}


@dataclass(frozen=True)
class Source:
    """A data set to be written.

    Attributes:
        name: what it is, for the manifest.
        image: position -> the image.
        place: position -> where the image is, for error messages.
        labels: [N, L] int64, one column for each label level.
        split: [N] positions in `SPLITS`.
        classes: names of each level's classes.
    """

    name: str
    image: Callable[[int], Stored]
    place: Callable[[int], str]
    labels: NDArray[np.int64]
    split: NDArray[np.int64]
    classes: list[list[str]]

    def __len__(self) -> int:
        return len(self.labels)


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
    )


def cifar(root: Path) -> Source:
    """CIFAR-10 or CIFAR-100 from their python pickles; CIFAR-100 gives fine and coarse labels."""
    for folder in (root, root / "cifar-10-batches-py", root / "cifar-100-python"):
        if (folder / "data_batch_1").is_file():
            parts = [(folder / f"data_batch_{i}", 0) for i in range(1, 6)] + [(folder / "test_batch", 2)]
            return _cifar("CIFAR-10", parts, [b"labels"], folder / "batches.meta", ["label_names"])
        if (folder / "train").is_file() and (folder / "meta").is_file():
            levels = ["fine_label_names", "coarse_label_names"]
            parts = [(folder / "train", 0), (folder / "test", 2)]
            return _cifar("CIFAR-100", parts, [b"fine_labels", b"coarse_labels"], folder / "meta", levels)
    raise InterplayError(f"{root} holds neither data_batch_1 (CIFAR-10) nor train and meta (CIFAR-100)")


def _cifar(name: str, parts: list[tuple[Path, int]], keys: list[bytes], meta: Path, levels: list[str]) -> Source:
    pixels, labels, split = [], [], []
    for path, which in parts:
        content = _read_pickle(path)
        try:
            rows = np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            labels.append(np.stack([np.asarray(content[k], dtype=np.int64) for k in keys], axis=1))
        except (KeyError, ValueError, TypeError):
            raise InterplayError(f"{path} is not a batch of {name}") from None
        pixels.append(rows)
        split.append(np.full(len(rows), which, dtype=np.int64))
    images = np.concatenate(pixels)
    names = _read_pickle(meta)
    if missing := [level for level in levels if level.encode() not in names]:
        raise InterplayError(f"{meta} has no {missing[0]}; download {name} again")
    return Source(
        name=name,
        image=lambda position: images[position],
        place=lambda position: f"image {position}",
        labels=np.concatenate(labels),
        split=np.concatenate(split),
        classes=[[n.decode() for n in names[level.encode()]] for level in levels],
    )


class _NumbersOnly(pickle.Unpickler):
    """Reads containers and NumPy arrays; a pickle that names anything else is refused, not run."""

    _ALLOWED = frozenset(
        {
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy._core.numeric", "_frombuffer"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # its name when CIFAR was pickled
        if (module, name) in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _read_pickle(path: Path) -> Mapping[bytes, Any]:
    def load(file: BinaryIO) -> Any:
        return _NumbersOnly(file, encoding="bytes").load()

    try:
        with path.open("rb") as file:
            content = load(file)
    except FileNotFoundError:
        raise InterplayError(f"there is no file {path}") from None
    except Exception as error:
        raise InterplayError(f"{path} is not a CIFAR pickle: {error}") from None
    if not isinstance(content, dict):
        raise InterplayError(f"{path} is not a CIFAR pickle: it holds no dictionary")
    return content


def from_samples(
    samples: Sequence[tuple[Stored, int | Sequence[int]]],
    *,
    classes: Sequence[str] | Sequence[Sequence[str]],
    split: Sequence[str] | None = None,
    name: str = "samples",
) -> Source:
    """Any Python data set of `(image, label)` or `(image, [label, coarser label, ...])`.

    Args:
        samples: indexable; images are Pillow images, [H, W, 3] uint8 arrays or encoded bytes.
        classes: names of the classes, or one list of names for each label level.
        split: `train`, `val` or `test` for each sample; all `train` if not given.
        name: for the manifest.
    """
    levels = [[str(c) for c in classes]] if all(isinstance(c, str) for c in classes) else [list(c) for c in classes]
    rows = []
    for position in range(len(samples)):
        label = samples[position][1]
        row = list(label) if isinstance(label, Sequence) else [label]
        if not all(isinstance(v, int | np.integer) for v in row):
            raise InterplayError(f"{name}: the label of sample {position} is {label!r}; labels are whole numbers")
        rows.append([int(v) for v in row])
    if len({len(r) for r in rows}) > 1:
        raise InterplayError(f"{name}: every sample needs the same number of labels")
    names = list(split) if split is not None else ["train"] * len(rows)
    if len(names) != len(rows):
        raise InterplayError(f"{name}: there are {len(rows)} samples, but splits for {len(names)}; give one for each")
    if wrong := sorted(set(names) - set(SPLITS)):
        raise InterplayError(f"{name}: split {wrong[0]!r} is not one of {', '.join(SPLITS)}")
    return Source(
        name=name,
        image=lambda position: samples[position][0],
        place=lambda position: f"sample {position}",
        labels=np.array(rows, dtype=np.int64).reshape(len(rows), len(rows[0]) if rows else len(levels)),
        split=np.array([SPLITS.index(s) for s in names], dtype=np.int64),
        classes=levels,
    )


def find_source(reference: str) -> Source:
    """`digits`, `cifar:FOLDER`, or the path of a folder of class folders."""
    kind, colon, path = reference.partition(":")
    if reference == "digits":
        return digits()
    if colon and kind == "cifar":
        return cifar(Path(path))
    if colon and kind not in ("folder",):
        raise InterplayError(f"{reference!r}: {kind!r} is no kind of source; use digits, cifar:FOLDER or FOLDER")
    return image_folder(Path(path if colon else reference))
