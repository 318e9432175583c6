"""Counter-based random numbers: every draw is a pure function of what it is for.

A draw belongs to (seed, epoch, sample, view, operation). It never depends on the worker, rank or thread
that happens to compute it, nor on what was drawn before, so the same seed gives the same batches on one or
eight threads, on one or two ranks, and after a restart in the middle of a run.

The generator is SplitMix64 (Steele, Lea and Flood, 2014) applied as a keyed hash.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection on 64 bits in which every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _absorb(state: NDArray[np.uint64], word: ArrayLike) -> NDArray[np.uint64]:
    return _mix((state + _GOLDEN) ^ _mix(np.asarray(word).astype(np.uint64) + _GOLDEN))


def uniform(
    operation: str, seed: int, epoch: int, sample: ArrayLike, view: ArrayLike = 0, *, count: int = 1
) -> NDArray[np.float64]:
    """`count` independent uniforms in [0, 1) for each sample.

    Args:
        operation: what the numbers decide, such as `"crop"`; different names give unrelated numbers.
        seed: the recipe's seed for this kind of randomness (0 <= seed < 2**63).
        epoch: number of the epoch.
        sample: [B] dataset indices (or step numbers, for a draw shared by a batch).
        view: [B] which repetition of the sample within the epoch.
        count: how many numbers each sample needs.

    Returns:
        [B, count] float64.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.asarray([zlib.crc32(operation.encode())], dtype=np.uint64))
        for word in (seed, epoch):
            state = _absorb(state, word)
        sample, view = np.broadcast_arrays(np.atleast_1d(sample), np.atleast_1d(view))
        state = _absorb(_absorb(state, sample), view)
        bits = _mix(state[:, None] + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(
    operation: str, seed: int, epoch: int, sample: ArrayLike, view: ArrayLike = 0, *, count: int = 1
) -> NDArray[np.float64]:
    """[B, count] standard normals, by Box and Muller from two uniforms each."""
    u = uniform(operation, seed, epoch, sample, view, count=2 * count)
    return np.sqrt(-2.0 * np.log1p(-u[:, :count])) * np.cos(2.0 * np.pi * u[:, count:])


def beta(operation: str, alpha: float, seed: int, epoch: int, step: int) -> float:
    """One draw of Beta(alpha, alpha), for a batch. Rejection by numpy's generator, keyed by the counter."""
    key = int(uniform(operation, seed, epoch, step)[0, 0] * 2**53)
    return float(np.random.default_rng(key).beta(alpha, alpha))


def permutation(operation: str, seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """A permutation of `range(length)`: the order of one independent uniform per element."""
    keys = uniform(operation, seed, epoch, np.arange(length))[:, 0]
    return np.argsort(keys, kind="stable").astype(np.int64)


def torch_seed(operation: str, seed: int, epoch: int, step: int = 0, rank: int = 0) -> int:
    """A seed for torch's own generators (initialisation, drop path), unrelated between operations."""
    return int(uniform(operation, seed, epoch, step, rank)[0, 0] * 2**53)
