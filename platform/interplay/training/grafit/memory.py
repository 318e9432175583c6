"""The memory of all training embeddings, shared out over the workers (thesis S2.3.1)."""

# N images, R rows of this worker, D width, B images of the global batch
from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interplay.errors import InterplayError
from interplay.retrieval import Embedded
from interplay.training.ranks import Ranks

DTYPE = torch.float16
"""Of the rows: entries of unit vectors lie within 1, where float16 is finer than bfloat16."""


class Memory:
    """One embedding for each training image; each worker holds every `world`-th of them.

    Rows are kept as they are averaged, not of unit length: cosines take their norms into account.

    Attributes:
        rows: [R, D] of this worker, in half precision, or in float64 where the weights are.
        inverse_norms: [R] float32 or float64.
        labels: [R] of these rows.
        places: [R] of these rows among all N.
        label_of: [I] label of the image with this index in its split.
        place_of: [I] its place, -1 for images that are not trained on.
    """

    def __init__(self, width: int, ranks: Ranks, like: Tensor) -> None:
        """Of no images yet, with embeddings of `width`, on the device and for the precision of `like`."""
        self._width, self._ranks, self._device = width, ranks, like.device
        self._exact = like.dtype == torch.float64
        self._work = torch.float64 if self._exact else torch.float32
        self._dtype = torch.float64 if self._exact else DTYPE
        none = torch.zeros(0, dtype=torch.int64, device=like.device)
        self._begin(none, none)

    def _begin(self, index_N: Tensor, labels_N: Tensor) -> None:
        """For images with these rising positions in their split; the rows are zero."""
        count, world, rank = len(index_N), self._ranks.world, self._ranks.rank
        self._index, self._labels = index_N, labels_N
        size = int(index_N[-1]) + 1 if count else 0
        self.label_of = labels_N.new_full((size,), -1).index_copy_(0, index_N, labels_N)
        self.places = torch.arange(count, device=self._device)[rank::world]
        self.place_of = labels_N.new_full((size,), -1)
        self.place_of[index_N] = torch.arange(count, device=self._device)
        self.labels = labels_N[self.places]
        self.rows = torch.zeros(len(self.places), self._width, dtype=self._dtype, device=self._device)
        self.inverse_norms = torch.zeros(len(self.places), dtype=self._work, device=self._device)
        # the first worker writes checkpoints, alone and at its own time: it has all rows, in main memory
        mirrored = world > 1 and self._ranks.first
        self._mirror = torch.zeros(count, self._width, dtype=self._dtype) if mirrored else None

    def __len__(self) -> int:
        return len(self._index)

    def fill(self, images: Embedded) -> None:
        """Makes these embeddings, of all N training images in the order of their positions, the memory's."""
        self._begin(images.index, images.trained)
        self._take(images.vectors.to(self._dtype))

    @torch.no_grad()
    def update(self, index_B: Tensor, embeddings_BD: Tensor, momentum: float) -> None:
        """m <- momentum * m + (1 - momentum) * g for the images of a global batch, given on every worker.

        An image that is in it twice counts once, with the mean of its embeddings.
        """
        places, inverse = torch.unique(self.place_of[index_B], return_inverse=True)
        new = torch.zeros(len(places), embeddings_BD.shape[1], dtype=self._work, device=self.rows.device)
        new.index_add_(0, inverse, embeddings_BD.to(self._work))
        new /= torch.bincount(inverse, minlength=len(places))[:, None]
        mine = places % self._ranks.world == self._ranks.rank
        own = places[mine] // self._ranks.world
        fresh = (momentum * self.rows[own].to(self._work) + (1.0 - momentum) * new[mine]).to(self.rows.dtype)
        self.rows[own] = fresh
        self.inverse_norms[own] = self._inverse_norms(fresh)
        if self._ranks.world > 1:
            everyone = torch.zeros(len(places), new.shape[1], dtype=self.rows.dtype, device=self.rows.device)
            everyone[mine] = fresh
            self._ranks.sum(everyone)  # each row is one worker's: the sum is exact
            if self._mirror is not None:
                self._mirror[places.cpu()] = everyone.cpu()

    def state(self) -> dict[str, Any]:
        """For a checkpoint, on the first worker."""
        rows = self.rows if self._mirror is None else self._mirror
        return {"rows": rows, "index": self._index, "labels": self._labels}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from `state`, on any number of workers."""
        self._begin(state["index"].to(self._device), state["labels"].to(self._device))
        self._take(state["rows"])

    def _take(self, rows_ND: Tensor) -> None:
        self.rows.copy_(rows_ND[self.places.to(rows_ND.device)])
        self.inverse_norms.copy_(self._inverse_norms(self.rows))
        if self._mirror is not None:
            self._mirror.copy_(rows_ND)

    def _inverse_norms(self, rows: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=self._work)
        return norms.clamp(min=1e-12).reciprocal()


def memory_bytes(images: int, width: int, world: int, *, exact: bool = False) -> int:
    """Bytes of one worker's part of a memory: rows, norms, labels and places, and the tables of all images."""
    mine = -(-images // world)
    return mine * (width * (8 if exact else 2) + (8 if exact else 4) + 16) + 32 * images


def check_room(
    images: int, width: int, ranks: Ranks, device: torch.device, *, exact: bool = False, free: int | None = None
) -> None:
    """Raises InterplayError if a worker's part of a memory does not fit on `device`, and says what does.

    `free` are the bytes it has; they are asked for if they are not given, where the system tells.
    """
    free = free_bytes(device) if free is None else free
    need = memory_bytes(images, width, ranks.world, exact=exact)
    if free is None or need <= free:
        return
    more = range(ranks.world + 1, 4097)
    workers = next((n for n in more if memory_bytes(images, width, n, exact=exact) <= free), 0)
    share = f"share it over {workers} workers (--workers {workers}), or " if workers else ""
    raise InterplayError(
        f"the memory of {images:,} embeddings of width {width} needs {need / 2**20:,.0f} MiB on {device}, which has "
        f"{free / 2**20:,.0f} MiB free; {share}lower embedding.projector.width"
    )


def free_bytes(device: torch.device) -> int | None:
    """None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None
