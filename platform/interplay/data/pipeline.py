"""From stored samples to batches of pixels: the part of reading that is the same for every storage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from interplay import native
from interplay.data.crops import Windows, evaluation_windows, training_windows
from interplay.data.decode import Pixels, cut, open_encoded, open_raw, why_unreadable
from interplay.data.order import Indices, unpack
from interplay.errors import InterplayError
from interplay.recipe.tree import Recipe

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stored:
    """The stored images of one batch.

    Attributes:
        base: the bytes of all images of the data set.
        starts: [B] where an image begins in `base`.
        lengths: [B] how many bytes it has.
        modes: [B] `native.JPEG` or `native.RAW`.
        sizes: [B, 2] heights and widths.
        samples: [B] the images' numbers, for errors.
        place: what holds them, for errors.
    """

    base: Pixels
    starts: Indices
    lengths: Indices
    modes: NDArray[np.uint8]
    sizes: Indices
    samples: Indices
    place: str

    def repeated(self, count: int) -> Stored:
        """Each image `count` times in a row."""
        slots = np.repeat(np.arange(len(self.starts)), count)
        return Stored(
            base=self.base,
            starts=self.starts[slots],
            lengths=self.lengths[slots],
            modes=self.modes[slots],
            sizes=self.sizes[slots],
            samples=self.samples[slots],
            place=self.place,
        )

    def image(self, slot: int) -> Image.Image:
        """One image, decoded by Pillow, in RGB."""
        start = self.starts[slot]
        data = self.base[start : start + self.lengths[slot]]
        if self.modes[slot] == native.RAW:
            return open_raw(data, *map(int, self.sizes[slot]))
        return open_encoded(data)


class PixelPipeline(Protocol):
    """Fills batches with the squares that a recipe asks for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is made of one image: [R, R, 3], or squares of several sizes one behind the other."""
        ...

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        """Writes the images that `draws` name into `out` [B, *shape]; see `fill`."""
        ...


AfterCut = Callable[[Pixels, Indices, Indices, int], None]
"""Changes squares [B, R, R, 3] in place, given their samples [B] and views [B] and the epoch."""


@dataclass(frozen=True)
class TrainingPixels:
    """Randomly cropped and flipped images, and what `after_cut` makes of them."""

    recipe: Recipe
    after_cut: AfterCut | None = None

    @property
    def resolution(self) -> int:
        return self.recipe.data.resolution

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.resolution, self.resolution, 3)

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        sample, view = unpack(draws)
        windows = training_windows(
            self.recipe.augment,
            self.resolution,
            stored.sizes[:, 0],
            stored.sizes[:, 1],
            seed=self.recipe.seeds.augment,
            epoch=epoch,
            sample=sample,
            view=view,
        )
        fill(out, windows, stored, self.recipe.data.interpolation, pool)
        if self.after_cut is not None:
            self.after_cut(out, sample, view, epoch)


@dataclass(frozen=True)
class EvaluationPixels:
    """Centre crops; the epoch does not matter."""

    recipe: Recipe

    @property
    def resolution(self) -> int:
        return self.recipe.evaluation.resolution or self.recipe.data.resolution

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.resolution, self.resolution, 3)

    def fill(self, out: Pixels, draws: Indices, epoch: int, stored: Stored, pool: Executor | None) -> None:
        heights, widths = stored.sizes.T
        windows = evaluation_windows(self.resolution, self.recipe.evaluation.crop_ratio, heights, widths)
        fill(out, windows, stored, self.recipe.data.interpolation, pool)


_PART = 4
"""Images that a thread is given at a time."""

_Failure = tuple[int, str]


def fill(
    out: Pixels,
    windows: Windows,
    stored: Stored,
    interpolation: str,
    pool: Executor | None,
    placement: native.Placement | None = None,
) -> None:
    """Writes the squares that `windows` cut out of `stored` into `out` [B, R, R, 3], or where `placement` says.

    The C extension and Pillow give the same pixels, for any number of threads.

    Raises:
        InterplayError: for the first image that cannot be decoded, naming it.
    """
    cut_part = _cut_natively if native.AVAILABLE else _cut_with_pillow
    placed = placement or native.Placement.equal(len(windows), out.shape[1])

    def work(part: range) -> _Failure | None:
        return cut_part(out, windows, stored, interpolation, part, placed)

    parts = [range(len(windows))] if pool is None else _parts(stored.starts)
    # all of them even after a failure: no task may write into `out` later, it is used again
    for failure in list((pool.map if pool else map)(work, parts)):
        if failure is not None:
            slot, reason = failure
            raise InterplayError(
                f"{stored.place}: sample {stored.samples[slot]} cannot be decoded ({reason}); "
                "write the data set again from sound images"
            )


def announce_decoder() -> None:
    """Says on the log, once in a process, if images are decoded the slow way."""
    if not native.AVAILABLE:
        _announce_pillow()


@cache
def _announce_pillow() -> None:
    why = "is switched off by INTERPLAY_NATIVE=0" if native.BUILT else f"was not built ({native.HOW_TO_BUILD})"
    _log.warning("Images are decoded by Pillow, several times slower: the C extension %s.", why)


def _parts(starts: Indices) -> list[range]:
    """Slots for each task; neighbours that are one image stay together, as they are decoded together."""
    fresh = np.flatnonzero(np.diff(starts, prepend=-1))
    cuts = [0]
    for slot in fresh.tolist():
        if slot - cuts[-1] >= _PART:
            cuts.append(slot)
    return [range(first, last) for first, last in pairwise([*cuts, len(starts)])]


def _cut_natively(
    out: Pixels, windows: Windows, stored: Stored, interpolation: str, part: range, placed: native.Placement
) -> _Failure | None:
    status = np.zeros(len(windows), dtype=np.uint8)
    native.fill(out, stored, windows, interpolation, status, part, placed)
    bad = np.flatnonzero(status)
    return (int(bad[0]), native.REASONS[status[bad[0]]]) if len(bad) else None


def _cut_with_pillow(
    out: Pixels, windows: Windows, stored: Stored, interpolation: str, part: range, placed: native.Placement
) -> _Failure | None:
    flat = out.reshape(-1)
    image, opened = None, -1
    for slot in part:
        try:
            if image is None or stored.starts[slot] != opened:
                image, opened = stored.image(slot), stored.starts[slot]
        except Exception as error:
            return slot, why_unreadable(error)
        if image.size != tuple(stored.sizes[slot, ::-1]):
            return slot, "another size than stated"
        side, place = int(placed.sides[slot]), int(placed.places[slot])
        square = flat[place : place + 3 * side * side].reshape(side, side, 3)
        square[:] = cut(image, windows, slot, side, interpolation)
    return None
