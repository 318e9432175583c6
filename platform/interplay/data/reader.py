"""Reading a `.beton` through FFCV's loader, with our order, our decoder and counter-based randomness."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from interplay.data import ffcv_engine as engine
from interplay.data.decode import Pixels
from interplay.data.manifest import SPLITS, Manifest
from interplay.data.order import Indices, unpack
from interplay.data.pipeline import PixelPipeline, Stored, announce_decoder
from interplay.data.verify import open_checked
from interplay.data.write import IMAGE, INDEX, SPLIT, label_field


class _Order(engine.TraversalOrder):  # type: ignore[misc]
    """Hands FFCV an epoch's draws: a sample's position and view packed into one integer, and the epoch beside it.

    With the epoch in every row, epochs of one loader may be read at the same time. The first `skip` draws are
    left out.
    """

    skip = 0

    def __init__(self, draws: Callable[[int], Indices]) -> None:
        self._draws = draws

    def __call__(self, loader: Any) -> _Order:
        super().__init__(loader)
        return self

    def sample_order(self, epoch: int) -> Indices:
        draws = self._draws(epoch)[self.skip :]
        return np.stack([draws, np.full_like(draws, epoch)], axis=1)


class _PixelDecoder(engine.SimpleRGBImageDecoder):  # type: ignore[misc]
    """Decodes, crops, resizes and flips a batch; a failure is kept for the consumer instead of hanging it."""

    def __init__(self, pipeline: PixelPipeline, positions: Indices, place: str, pool: Executor | None) -> None:
        super().__init__()
        self._pipeline, self._positions, self._place, self._pool = pipeline, positions, place, pool
        self.errors: dict[int, BaseException] = {}

    def declare_state_and_memory(self, previous_state: Any) -> tuple[Any, Any]:
        shape = self._pipeline.shape
        state = replace(previous_state, jit_mode=True, shape=shape, dtype=np.dtype("u1"))
        return state, engine.AllocationQuery(shape, np.dtype("u1"))

    def generate_code(self) -> Callable[..., Any]:
        def decode(rows: Indices, destination: Any, metadata: Any, storage_state: Any) -> Any:
            out, epoch = destination[: len(rows)], int(rows[0, 1])
            try:
                self._decode(rows[:, 0], epoch, out, metadata, storage_state)
            except BaseException as error:
                self.errors[epoch] = error
            return out

        return decode

    def _decode(self, draws: Indices, epoch: int, out: Any, metadata: Any, storage_state: Any) -> None:
        sample, _ = unpack(draws)
        self._pipeline.fill(out, draws, epoch, self._stored(sample, metadata, storage_state), self._pool)

    def _stored(self, sample: Indices, metadata: Any, storage_state: Any) -> Stored:
        """From the rows of FFCV's image metadata and the mapped file that they point into."""
        base, pointers, lengths = storage_state
        positions = self._positions[sample]
        rows = metadata[positions]
        return Stored(
            base=base,
            starts=rows["data_ptr"].astype(np.int64),
            lengths=lengths[np.searchsorted(pointers, rows["data_ptr"])].astype(np.int64),
            modes=rows["mode"],
            sizes=np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64),
            samples=positions,
            place=self._place,
        )


class _DrawDecoder(engine.IntDecoder):  # type: ignore[misc]
    """Yields the draw itself; labels and indices are looked up from it."""

    def generate_code(self) -> Callable[..., Any]:
        def decode(rows: Indices, destination: Any, metadata: Any, storage_state: Any) -> Any:
            destination[: len(rows), 0] = rows[:, 0]
            return destination[: len(rows)]

        return decode


class BetonReader:
    """Some samples of a `.beton`, in batches of what `pipeline` makes of them.

    Args:
        path: the file.
        positions: [N] of the samples in the file.
        pipeline: makes the pixels.
        draws: epoch -> the draws of this rank, which name samples by their place in `positions`.
        batch_size: of this rank.
        threads: that decode.
    """

    def __init__(
        self,
        path: Path,
        positions: Indices,
        pipeline: PixelPipeline,
        draws: Callable[[int], Indices],
        *,
        batch_size: int,
        threads: int,
    ) -> None:
        announce_decoder()
        self._order = _Order(draws)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None
        self._decoder = _PixelDecoder(pipeline, positions, str(path), pool)
        # FFCV sets torch's thread count to its own, so it is given torch's: our decoder has a pool of its own
        workers = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        with engine.without_compiler():
            self._loader = engine.Loader(
                str(path),
                batch_size=batch_size,
                num_workers=workers,
                os_cache=True,
                order=self._order,
                seed=0,
                drop_last=False,
                pipelines={
                    IMAGE: [self._decoder],
                    INDEX: [_DrawDecoder()],
                    **{f: None for f in engine.Reader(str(path)).field_names if f not in (IMAGE, INDEX)},
                },
            )

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Pixels, Indices, Indices]]:
        """Pixels [B, *shape], samples [B] and views [B] of each batch from number `start` on; they may be kept.

        Raises:
            InterplayError: for an image that cannot be decoded, naming it.
        """
        self._decoder.errors.pop(epoch, None)
        self._loader.next_epoch, self._order.skip = epoch, start * self._loader.batch_size
        try:
            batches = iter(self._loader)  # draws the order now
        finally:
            self._order.skip = 0
        try:
            for pixels, draws in batches:
                if epoch in self._decoder.errors:
                    raise self._decoder.errors[epoch]
                # FFCV reuses its buffers: what is kept is copied
                yield pixels.copy(), *unpack(draws[:, 0].copy())
        finally:
            _stop(batches)


def _stop(batches: Any) -> None:
    """Ends FFCV's thread: left alone it decodes on until its queue is full, and may wait there for ever."""
    batches.iter_ixes = iter(())
    while batches.is_alive():
        with suppress(Empty):
            batches.output_queue.get_nowait()
        batches.join(timeout=0.01)
    batches.close()


@dataclass(frozen=True)
class Samples:
    """What is known of a `.beton`'s samples: [N, L] labels and [N] positions in `SPLITS`."""

    manifest: Manifest
    levels: NDArray[np.int64]
    splits: NDArray[np.int64]

    def of_split(self, name: str) -> Indices:
        """Positions in the file."""
        return np.flatnonzero(self.splits == SPLITS.index(name)).astype(np.int64)


def read_samples(path: Path) -> Samples:
    """Labels and splits of a `.beton`, whose structure is checked.

    Raises:
        InterplayError: if the file is missing or damaged.
    """
    manifest, reader = open_checked(path)
    columns = [reader.metadata[f"f{reader.field_names.index(label_field(n))}"] for n in range(len(manifest.classes))]
    levels = np.stack(columns, axis=1).astype(np.int64)
    return Samples(manifest, levels, reader.metadata[f"f{reader.field_names.index(SPLIT)}"])
