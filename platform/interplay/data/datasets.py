"""From a recipe's `data.dataset` to a file: built-in data sets by name, everything else by path."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from interplay.data.sources import Source, digits
from interplay.errors import InterplayError

BUILT_IN: dict[str, Callable[[], Source]] = {"digits": digits}
"""Data sets that need no download; written on first use, a fifth each for test and validation."""


_aside: ContextVar[Path | None] = ContextVar("aside", default=None)


@contextmanager
def aside() -> Iterator[None]:
    """While it lasts, a built-in data set that is not there yet is written to a temporary folder.

    For whoever only looks: its digest, and so every fingerprint, is the same.
    """
    with tempfile.TemporaryDirectory(prefix="interplay-") as folder:
        token = _aside.set(Path(folder))
        try:
            yield
        finally:
            _aside.reset(token)


def locate(name: str, folder: Path) -> Path:
    """The `.beton` that `name` means: itself, `folder/name.beton`, or a built-in one written there (see `aside`) now.

    Raises:
        InterplayError: if there is no such data set.
    """
    if name.endswith(".beton"):
        path = Path(name).expanduser()
        path = path if path.exists() or path.is_absolute() else folder / path
        if not path.is_file():
            raise InterplayError(f"there is no data set {name}; write one with: interplay data write SOURCE {name}")
        return path.resolve()
    path = folder / f"{name}.beton"
    if path.is_file():
        return path.resolve()
    if name not in BUILT_IN:
        written = sorted(p.stem for p in folder.glob("*.beton"))
        known = ", ".join(sorted({*BUILT_IN, *written}))
        raise InterplayError(f"there is no data set {name!r} (there are: {known}); give the path of a .beton file")
    from interplay.data.write import write_beton  # needs FFCV, which reading a manifest does not

    path = (_aside.get() or folder) / path.name
    if path.is_file():
        return path.resolve()
    write_beton(BUILT_IN[name](), path, val=0.2, test=0.2)
    return path.resolve()
