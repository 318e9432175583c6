"""The one importer of FFCV: its `.beton` format, reader, loader and extension points, without its compiler.

FFCV compiles its pipelines with Numba in every process, which takes about ten seconds before the first
batch. Our decoders are plain Python over Pillow and NumPy, so nothing has to be compiled: FFCV is imported
with Numba's JIT switched off (its own import builds a typed dictionary, 3.7 s), and its compiler is
disabled while one of our loaders generates its code. Both switches are put back afterwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba

_jit_was_disabled = numba.config.DISABLE_JIT
numba.config.DISABLE_JIT = True
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # FFCV imports distutils
    from ffcv.fields import IntField, RGBImageField
    from ffcv.fields.basics import IntDecoder
    from ffcv.fields.rgb_image import SimpleRGBImageDecoder
    from ffcv.loader import Loader
    from ffcv.pipeline.allocation_query import AllocationQuery
    from ffcv.pipeline.compiler import Compiler
    from ffcv.pipeline.state import State
    from ffcv.reader import Reader
    from ffcv.traversal_order.base import TraversalOrder
    from ffcv.types import (
        ALLOC_TABLE_TYPE,
        CURRENT_VERSION,
        TYPE_ID_HANDLER,
        FieldDescType,
        HeaderType,
        get_metadata_type,
    )
numba.config.DISABLE_JIT = _jit_was_disabled

RAW_MODE, JPEG_MODE = 1, 0
"""How an image's bytes are stored, as FFCV numbers them."""


@contextmanager
def without_compiler() -> Iterator[None]:
    """FFCV generates its code as plain Python within this block."""
    was: Any = Compiler.is_enabled
    Compiler.set_enabled(False)
    try:
        yield
    finally:
        Compiler.set_enabled(was)


__all__ = [
    "ALLOC_TABLE_TYPE",
    "CURRENT_VERSION",
    "JPEG_MODE",
    "RAW_MODE",
    "TYPE_ID_HANDLER",
    "AllocationQuery",
    "FieldDescType",
    "HeaderType",
    "IntDecoder",
    "IntField",
    "Loader",
    "RGBImageField",
    "Reader",
    "SimpleRGBImageDecoder",
    "State",
    "TraversalOrder",
    "get_metadata_type",
    "without_compiler",
]
