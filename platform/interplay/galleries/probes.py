"""How much a frozen embedding knows: classifiers on it, labels that it can separate, directions that it uses."""

# S images, D width, C coarse classes
from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interplay.errors import InterplayError
from interplay.retrieval import Embedded


def probe(
    train: Embedded, test: Embedded, *, level: int = 0, kind: Literal["linear", "mlp"] = "linear", seed: int = 0
) -> float:
    """Top-1 in per cent on `test` of a classifier that learns the labels of `level` from frozen embeddings (T2.2).

    Linear is logistic regression; an MLP has one hidden layer of the embedding's width (T2.16 compares both). Both
    are scikit-learn's, on standardised embeddings.

    Raises:
        InterplayError: if there is no such level, or one class alone.
    """
    if not 0 <= level < train.levels.shape[1]:
        raise InterplayError(f"there is no label level {level}; there are 0 to {train.levels.shape[1] - 1}")
    labels = train.levels[:, level].cpu().numpy()
    if len(np.unique(labels)) < 2:
        raise InterplayError(f"label level {level} has one class: there is nothing to classify")
    model = _fitted(_classifier(kind, train.vectors.shape[1], seed), train.vectors, labels)
    right = model.predict(_plain(test.vectors)) == test.levels[:, level].cpu().numpy()
    return 100.0 * float(right.mean())


def separability(images: Embedded, *, splits: int = 10, seed: int = 0) -> dict[str, float]:
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
        halves = random_halves(coarse, rng)
        model = _fitted(_classifier("linear", images.vectors.shape[1], seed), images.vectors, halves)
        p = model.predict_proba(_plain(images.vectors))
        classes = model.classes_
        plain.append(100.0 * float((classes[p.argmax(axis=1)] == halves).mean()))
        if images.coarse is not None:
            p = p * images.coarse.cpu().numpy()[:, classes // 2]
            given.append(100.0 * float((classes[p.argmax(axis=1)] == halves).mean()))
    found = {
        "separability": float(np.mean(plain)),
        "separability_std": float(np.std(plain, ddof=1 if splits > 1 else 0)),
    }
    return found | ({"separability_coarse": float(np.mean(given))} if given else {})


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


def _classifier(kind: Literal["linear", "mlp"], width: int, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    linear = LogisticRegression(C=10.0, max_iter=500)
    several = MLPClassifier((width,), max_iter=200, random_state=seed)
    return make_pipeline(StandardScaler(), linear if kind == "linear" else several)


def _fitted(model: Any, vectors: Tensor, labels: NDArray[np.int64]) -> Any:
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # labels that cannot be separated never converge
        return model.fit(_plain(vectors), labels)


def _plain(vectors: Tensor) -> NDArray[np.float32]:
    return np.asarray(vectors.float().cpu().numpy())
