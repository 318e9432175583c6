from typing import Any

from numpy.typing import NDArray

VERSION: int

def fill(
    base: NDArray[Any],
    starts: NDArray[Any],
    lengths: NDArray[Any],
    modes: NDArray[Any],
    sizes: NDArray[Any],
    boxes: NDArray[Any],
    resized: NDArray[Any],
    corners: NDArray[Any],
    flips: NDArray[Any],
    out: NDArray[Any],
    status: NDArray[Any],
    sides: NDArray[Any],
    places: NDArray[Any],
    filter: int,
    first: int,
    last: int,
    /,
) -> None: ...
def retile(jpeg: bytes, tile: int, /) -> bytes: ...
def three_augment(images: NDArray[Any], operations: NDArray[Any], radii: NDArray[Any], side: int, /) -> None: ...
