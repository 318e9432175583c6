"""Writing `.beton` files: one pass, checked sample by sample, and never half written under the final name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from interplay.data.complete import complete, skipped_path
from interplay.data.encode import Encoded, Storing, encode, label_problem, measure
from interplay.data.images import BadImage, strict_pillow
from interplay.data.layout import IMAGE, INDEX, MAX_PAGE, SPLIT, Space, head_bytes, label_field, page_for
from interplay.data.manifest import SPLITS, Manifest, Writing
from interplay.data.partial import Partial, bytes_held, partial
from interplay.data.sources import Source
from interplay.data.splits import carve
from interplay.errors import InterplayError

__all__ = ["IMAGE", "INDEX", "SPLIT", "carve", "check_source", "label_field", "skipped_path", "write_beton"]

_SURVEYED = 32
"""Samples that are encoded beforehand, to estimate the file's size and what storing loses."""


def write_beton(
    source: Source,
    path: Path,
    *,
    val: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    quality: int | None = None,
    max_side: int | None = None,
    tiles: int | None = None,
    background: str = "white",
    on_error: Literal["fail", "skip"] = "fail",
    progress: Callable[[int], None] = lambda count: None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Manifest:
    """Writes `source` to `path`, with a manifest and a list of the samples' origins beside it.

    JPEG files in RGB are stored as they are; everything else is stored as pixels, without loss. A write that was
    killed goes on where it stopped when it is called again with the same source and options.

    Args:
        source: images, labels and splits.
        path: the `.beton` to write; replaced if it exists.
        val: share of the training samples to carve off for validation if the source has none; stratified by
            class and seeded.
        test: the same for the test split, carved off first.
        seed: of the carving.
        quality: store every image as a JPEG of this quality, 1 to 100.
        max_side: shrink images whose longer side is longer than this, in pixels.
        tiles: cut JPEGs into restart intervals of this side in pixels, without loss, for faster reading.
        background: colour that shows through transparent images.
        on_error: `skip` leaves bad samples out and lists them in `OUT.beton.skipped.txt`.
        progress: called with the number of samples done since the last call.
        say: called with a sentence about what a person may want to know.

    Raises:
        InterplayError: for the first bad sample, naming it, and for a full disk. Nothing is left behind.
    """
    storing = Storing(quality, max_side, tiles, background)
    storing.check()
    _check_levels(source)
    if on_error == "fail":
        _check_labels(source)
    split = carve(source.labels[:, 0], source.split, val=val, test=test, seed=seed)
    space = Space(head_bytes(source.labels.shape[1], len(source)))
    try:
        with strict_pillow():
            size, largest, loss = _survey(source, storing)
            _check_space(path, size)
            # pages of some images waste less than pages of one
            space.page = min(page_for(4 * largest), MAX_PAGE)
            with partial(path, _identity(source, split, storing, on_error), space, len(source)) as unfinished:
                if unfinished.next:
                    say(f"{unfinished.next:,} of {len(source):,} samples were done before; going on")
                    progress(unfinished.next)
                _write_images(unfinished, source, split, storing, on_error, progress)
                about = Writing(
                    origin=source.origin,
                    seed=seed,
                    shares={"val": val, "test": test},
                    options=asdict(storing) | {"on_error": on_error},
                    loss=round(loss, 3),
                    skipped=len(unfinished.skipped),
                )
                manifest = complete(unfinished, path, source, split, about)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InterplayError(
            f"{path} could not be written ({reason}); make room or name another place, nothing is left behind"
        ) from None
    return manifest


def check_source(
    source: Source, *, background: str = "white", progress: Callable[[int], None] = lambda count: None
) -> list[tuple[str, str]]:
    """Reads every sample of `source` and writes nothing: place and reason of each that cannot be stored."""
    storing = Storing(background=background)
    storing.check()
    _check_levels(source)
    bad = []
    with strict_pillow(), closing(_encoded(source, 0, storing)) as samples:
        for position, result in samples:
            if isinstance(result, BadImage):
                bad.append((source.place(position), str(result)))
            progress(1)
    return bad


def _check_levels(source: Source) -> None:
    if not len(source):
        raise InterplayError(f"{source.name} holds no samples")
    if source.labels.shape[1] != len(source.classes):
        raise InterplayError(
            f"{source.name}: samples have {source.labels.shape[1]} labels, "
            f"but classes are named for {len(source.classes)}"
        )


def _check_labels(source: Source) -> None:
    for level, names in enumerate(source.classes):
        column = source.labels[:, level]
        bad = np.flatnonzero((column < 0) | (column >= len(names)))
        if len(bad):
            position = int(bad[0])
            raise InterplayError(
                f"{source.place(position)} {label_problem(source, position)} ({len(bad)} such); "
                f"correct the label or name more classes"
            )


def _survey(source: Source, storing: Storing) -> tuple[int, int, float]:
    """Estimated bytes of all images, bytes of the largest one that was looked at, and the mean loss."""
    positions = np.unique(np.linspace(0, len(source) - 1, _SURVEYED).astype(np.int64)).tolist()
    with ThreadPoolExecutor(_threads()) as pool:
        found = [m for m in pool.map(lambda p: measure(source, p, storing), positions) if m is not None]
    if not found:
        return 0, 0, 0.0
    sizes = [size for size, _ in found]
    return len(source) * sum(sizes) // len(sizes), max(sizes), sum(loss for _, loss in found) / len(found)


def _check_space(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free + bytes_held(path)
    if size > free:
        raise InterplayError(
            f"{path} needs about {size / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free; "
            f"make room, name another place, or store less with --max-side or --quality"
        )


def _identity(source: Source, split: NDArray[np.int64], storing: Storing, on_error: str) -> str:
    """Tells one write from another; empty if the source cannot tell its states apart."""
    stamp = source.stamp()
    if not stamp:
        return ""
    text = json.dumps([stamp, source.name, source.classes, asdict(storing), on_error, _VERSION])
    digest = hashlib.sha256(text.encode())
    digest.update(source.labels.tobytes() + split.tobytes())
    return digest.hexdigest()


_VERSION = 1
"""Of the partial file; raised when a newer writer could not go on with an older one's."""


def _threads() -> int:
    return len(os.sched_getaffinity(0))


def _encoded(source: Source, first: int, storing: Storing) -> Generator[tuple[int, Encoded | BadImage]]:
    """Samples from `first` on, in order, encoded by threads a few samples ahead."""
    waiting: deque[tuple[int, Future[Encoded | BadImage]]] = deque()
    pool = ThreadPoolExecutor(_threads(), thread_name_prefix="encode")
    try:
        for position in range(first, len(source)):
            waiting.append((position, pool.submit(encode, source, position, storing)))
            if len(waiting) > 4 * _threads():
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _write_images(
    unfinished: Partial,
    source: Source,
    split: NDArray[np.int64],
    storing: Storing,
    on_error: str,
    progress: Callable[[int], None],
) -> None:
    with closing(_encoded(source, unfinished.next, storing)) as samples:
        for position, result in samples:
            if isinstance(result, Encoded) and page_for(len(result.data)) > MAX_PAGE:
                result = BadImage(f"takes {len(result.data):,} bytes, too much for FFCV; shrink it with --max-side")
            if isinstance(result, Encoded):
                unfinished.add(position, result, training=bool(split[position] == SPLITS.index("train")))
            elif on_error == "skip":
                unfinished.skip(position, str(result))
            else:
                raise InterplayError(
                    f"{source.place(position)} {result}; remove or repair it, "
                    f"or leave such samples out with --on-error skip"
                )
            progress(1)
