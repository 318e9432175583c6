"""In which order samples are visited: pure functions of (seed, epoch, rank)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from interplay.counter_rng import permutation
from interplay.errors import InterplayError

Indices = NDArray[np.int64]

_VIEW_SHIFT = 40  # samples in the low bits, the view above: one integer names a draw


def training_draws(samples: int, *, seed: int, epoch: int, repeats: int, batch_size: int) -> Indices:
    """The epoch's draws in global order, whole batches only; `unpack` gives (sample, view).

    With `repeats` = r each visited sample appears r times in a row, as different views, and the epoch keeps
    its length, so about one r-th of the samples is visited (repeated augmentation, thesis S3.4.5).

    Raises:
        InterplayError: if there are fewer samples than one batch needs.
    """
    if samples < batch_size:
        raise InterplayError(
            f"data.batch_size={batch_size} is more than the {samples} training samples; lower data.batch_size"
        )
    length = samples // batch_size * batch_size
    shuffled = permutation("order", seed, epoch, samples)
    sample = np.repeat(shuffled, repeats)[:length]
    view = np.tile(np.arange(repeats, dtype=np.int64), samples)[:length]
    return sample | (view << _VIEW_SHIFT)


def unpack(draws: Indices) -> tuple[Indices, Indices]:
    """(sample, view) of each draw."""
    return draws & ((1 << _VIEW_SHIFT) - 1), draws >> _VIEW_SHIFT


def shard(draws: Indices, *, batch_size: int, rank: int, world: int) -> Indices:
    """The draws of one rank: its equal part of every global batch.

    Image i of a global batch is mixed with image B-1-i (mixup, CutMix), so a rank gets both: reversing its
    part of the batch finds every partner, and the pairs are the same for any number of ranks. Repeated views
    of a sample are neighbours and so go to different ranks.

    Raises:
        InterplayError: if the batch cannot be split evenly into pairs.
    """
    if world == 1:
        return draws
    if batch_size % (2 * world):
        raise InterplayError(
            f"data.batch_size={batch_size} cannot be split into pairs over {world} workers; "
            f"use a multiple of {2 * world}"
        )
    first_half = np.arange(batch_size // 2)[rank::world]
    positions = np.concatenate([first_half, batch_size - 1 - first_half[::-1]])
    return draws.reshape(-1, batch_size)[:, positions].reshape(-1)


def evaluation_draws(samples: int, *, rank: int, world: int) -> Indices:
    """Every sample exactly once over all ranks; ranks differ by at most one sample."""
    return np.arange(rank, samples, world, dtype=np.int64)
