"""Data: to `.beton`, verifying it, and loaders over it. Importing this package does not import FFCV.

`interplay.data.write`, `interplay.data.verify` and `interplay.data.loader` need FFCV; batches, orders,
crops, manifests and in-memory data sets do not.
"""

from interplay.data.arrays import ArrayLoader, array_loaders
from interplay.data.batch import Batch, Loader, Loaders
from interplay.data.datasets import BUILT_IN, locate
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
    "from_samples",
    "locate",
    "read_manifest",
]
