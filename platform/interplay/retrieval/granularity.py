"""How fine an embedding is: what classifiers find in it, random halves of classes, energy of directions (S2.2)."""

# S images, D width
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interplay.errors import InterplayError
from interplay.retrieval.probes import BOUND, Kind, Probe, fit_probe, rows_within
from interplay.retrieval.scoring import Embedded


def probe(
    train: Embedded, test: Embedded, *, level: int = 0, kind: Kind = "linear", seed: int = 0, bound: int = BOUND
) -> float:
    """Top-1 in per cent on `test` of a classifier that learns the labels of `level` from frozen embeddings (T2.2).

    See `fit_probe`; T2.16 compares both kinds.

    Raises:
        InterplayError: if there is no such level, or one class alone.
    """
    if not 0 <= level < train.levels.shape[1]:
        raise InterplayError(f"there is no label level {level}; there are 0 to {train.levels.shape[1] - 1}")
    labels = train.levels[:, level]
    if len(torch.unique(labels)) < 2:
        raise InterplayError(f"label level {level} has one class: there is nothing to classify; choose another")
    found = fit_probe(train.vectors, labels, kind=kind, seed=seed, bound=bound)
    return 100.0 * float((found.predicted(test.vectors, bound) == test.levels[:, level]).double().mean())


def separability(images: Embedded, *, splits: int = 10, seed: int = 0, bound: int = BOUND) -> dict[str, float]:
    """How well a linear classifier tells apart what has no difference: random halves of each coarse class (T2.1).

    The training images of each trained class are split in two evenly and at random, and a linear classifier learns
    the halves as labels.

    Returns:
        `separability`, its top-1 in per cent on the same images, the mean over `splits`, and `separability_std`; with
        a classifier's p(coarse class), `separability_coarse` of the product of both (S2.2).
    """
    coarse, rng = images.trained.cpu().numpy(), np.random.default_rng(seed)
    plain: list[float] = []
    given: list[float] = []
    for _ in range(splits):
        halves = torch.from_numpy(random_halves(coarse, rng)).to(images.vectors.device)
        found = fit_probe(images.vectors, halves, bound=bound)
        hits = _hits(found, images, halves, bound)
        plain.append(100.0 * hits[0] / len(images))
        given.append(100.0 * hits[1] / len(images))
    scores = {
        "separability": float(np.mean(plain)),
        "separability_std": float(np.std(plain, ddof=1 if splits > 1 else 0)),
    }
    return scores if images.coarse is None else scores | {"separability_coarse": float(np.mean(given))}


def _hits(probe: Probe, images: Embedded, halves_S: Tensor, bound: int) -> tuple[int, int]:
    """How many halves are found, without p(coarse class) and with it."""
    plain, given = 0, 0
    size = rows_within(bound, images.vectors.shape[1], len(probe.classes))
    for first in range(0, len(images), size):
        part = slice(first, first + size)
        p = probe.probabilities(images.vectors[part], bound)
        plain += int((probe.classes[p.argmax(dim=1)] == halves_S[part]).sum())
        if images.coarse is not None:
            p *= images.coarse[part][:, probe.classes // 2]
            given += int((probe.classes[p.argmax(dim=1)] == halves_S[part]).sum())
    return plain, given


def random_halves(coarse_S: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """[S] labels 2c and 2c + 1 for the random halves of class c, which differ by at most one image."""
    labels = np.empty(len(coarse_S), dtype=np.int64)
    for label in np.unique(coarse_S):
        members = rng.permutation(np.flatnonzero(coarse_S == label))
        labels[members] = 2 * label + (np.arange(len(members)) % 2)
    return labels


def energy(vectors_SD: Tensor, batch: int = 1 << 16) -> NDArray[np.float64]:
    """[D] share of the variance along each principal direction, the largest first (F2.1: its sums are drawn).

    From the covariance of centred embeddings, `batch` of them at a time: a million need no more memory than that.

    Raises:
        InterplayError: if all embeddings are the same.
    """
    mean = torch.zeros(vectors_SD.shape[1], dtype=torch.float64, device=vectors_SD.device)
    for part in vectors_SD.split(batch):  # type: ignore[no-untyped-call]
        mean += part.double().sum(dim=0) / len(vectors_SD)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=vectors_SD.device)
    for part in vectors_SD.split(batch):  # type: ignore[no-untyped-call]
        centred = part.double() - mean
        covariance += centred.T @ centred
    values = torch.linalg.eigvalsh(covariance).clamp(min=0.0).flip(0)
    if not float(values.sum()) > 1e-12 * len(vectors_SD):
        raise InterplayError("all embeddings are the same; there is no direction in which they differ")
    return np.asarray((values / values.sum()).cpu().numpy())
