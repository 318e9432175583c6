"""CIFAR-10 and CIFAR-100 as they are published: python pickles, which are read without running them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from interplay.data.sources.source import Source, stamp_of
from interplay.errors import InterplayError


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
        place=lambda position: f"image {position} of {name}",
        labels=np.concatenate(labels),
        split=np.concatenate(split),
        classes=[[n.decode() for n in names[level.encode()]] for level in levels],
        stamp=lambda: stamp_of([*(path for path, _ in parts), meta]),
        origin=str(meta.parent.resolve()),
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
