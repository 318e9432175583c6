"""Data: to `.beton`, verifying it, and loaders over it. Importing this package does not import FFCV.

`interplay.data.write`, `interplay.data.verify` and `interplay.data.loader` need FFCV; batches, orders,
crops, manifests and in-memory data sets do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interplay.lazy import lazily

if TYPE_CHECKING:
    from interplay.data.arrays import ArrayLoader, array_loaders
    from interplay.data.batch import Batch, Loader, Loaders
    from interplay.data.datasets import BUILT_IN, locate
    from interplay.data.labels import class_count, class_names
    from interplay.data.manifest import Manifest, read_manifest
    from interplay.data.sources import Source, from_samples

__all__ = [
    "BUILT_IN",
    "ArrayLoader",
    "Batch",
    "Loader",
    "Loaders",
    "Manifest",
    "Source",
    "array_loaders",
    "class_count",
    "class_names",
    "from_samples",
    "locate",
    "read_manifest",
]

__getattr__ = lazily(  # whoever reads manifests needs no PyTorch
    __name__,
    {
        "arrays": ["ArrayLoader", "array_loaders"],
        "batch": ["Batch", "Loader", "Loaders"],
        "datasets": ["BUILT_IN", "locate"],
        "labels": ["class_count", "class_names"],
        "manifest": ["Manifest", "read_manifest"],
        "sources": ["Source", "from_samples"],
    },
)
