"""Rankings and votes of one batch of queries (thesis S2.3.2, S2.3.3)."""

# Q queries, N images of the gallery, M nearest of them, C classes
from __future__ import annotations

import torch
from torch import Tensor

CLAMP = 1e-6
"""Probabilities of coarse classes are kept this far from 0 and 1, where the log-odds of eq. 2.5 have no end."""


def average_precision(sorted_QN: Tensor, relevant_QN: Tensor, counted_QN: Tensor | None = None) -> Tensor:
    """Average precision of each ranking, none of it cut off; NaN where nothing is relevant.

    Images of equal score share a rank, the last of theirs, as in scikit-learn.

    Args:
        sorted_QN: scores, falling.
        relevant_QN: whether the image at this rank is right.
        counted_QN: whether it is ranked at all; None is all of them.

    Returns:
        [Q] float64.
    """
    if counted_QN is not None:
        relevant_QN = relevant_QN & counted_QN
    hits_QN = relevant_QN.cumsum(dim=1, dtype=torch.int32)
    row, column = relevant_QN.nonzero(as_tuple=True)
    end = _last_of_equals(sorted_QN, row, column)
    seen = end + 1
    if counted_QN is not None:
        seen = counted_QN.cumsum(dim=1, dtype=torch.int32)[row, end]
    precision = hits_QN[row, end].double() / seen.double()
    total = torch.zeros(len(sorted_QN), dtype=torch.float64, device=sorted_QN.device).index_add_(0, row, precision)
    return total / hits_QN[:, -1].double()


def class_votes(nearest_QM: Tensor, labels_QM: Tensor, classes: int, sigma: float) -> Tensor:
    """[Q, C] p(class) of each query: weights exp(cosine / sigma) of its nearest, summed by class (eq. 2.6).

    Args:
        nearest_QM: cosines, the largest first.
        labels_QM: classes of these images.
        classes: C.
        sigma: temperature.
    """
    weights = ((nearest_QM - nearest_QM[:, :1]) / sigma).exp()
    votes = weights.new_zeros(len(weights), classes).scatter_add_(1, labels_QM, weights)
    return votes / votes.sum(dim=1, keepdim=True)


def conditioned_scores(scores_QN: Tensor, coarse_QC: Tensor, coarse_N: Tensor) -> Tensor:
    """Cosines plus the log-odds of the images' coarse classes (eq. 2.5).

    Args:
        scores_QN: cosines.
        coarse_QC: p(coarse class) of each query.
        coarse_N: coarse classes of the gallery.
    """
    p_QC = coarse_QC.clamp(CLAMP, 1.0 - CLAMP)
    return scores_QN + (p_QC.log() - (-p_QC).log1p())[:, coarse_N]


def _last_of_equals(sorted_QN: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """The last rank with the same score as each of the ranks (`row`, `column`)."""
    ends_QN = torch.ones_like(sorted_QN, dtype=torch.bool)
    ends_QN[:, :-1] = sorted_QN[:, :-1] != sorted_QN[:, 1:]
    if bool(ends_QN.all()):
        return column
    count = sorted_QN.shape[1]
    places = torch.where(ends_QN, torch.arange(count, device=row.device), count)
    return places.flip(1).cummin(dim=1).values.flip(1)[row, column]
