"""Data: to `.beton`, verifying it, and loaders over it. Importing this package does not import FFCV.

`interplay.data.write`, `interplay.data.verify` and `interplay.data.loader` need FFCV; batches, orders,
crops, manifests and in-memory data sets do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "ArrayLoader": "arrays",
    "array_loaders": "arrays",
    "Batch": "batch",
    "Loader": "batch",
    "Loaders": "batch",
    "BUILT_IN": "datasets",
    "locate": "datasets",
    "class_count": "labels",
    "class_names": "labels",
    "Manifest": "manifest",
    "read_manifest": "manifest",
    "Source": "sources",
    "from_samples": "sources",
}


def __getattr__(name: str) -> Any:
    """Imported when it is first used: whoever reads manifests needs no PyTorch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
