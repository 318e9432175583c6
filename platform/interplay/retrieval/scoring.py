"""Scores of many queries against a gallery, a bounded number of bytes at a time."""

# Q queries, N images of the gallery, D width, L levels of labels, C coarse classes
from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import torch
from torch import Tensor

from interplay.recipe.embedding import ByNearest
from interplay.retrieval.ranking import average_precision, class_votes, conditioned_scores

BOUND = 1 << 30
"""Bytes of scores, ranks and counts at a time."""

_PER_PAIR = 96
"""Bytes for one query and one image of the gallery, measured: scores, order, hits, and what a sort needs besides."""


@dataclass(frozen=True)
class Embedded:
    """Images as embeddings.

    Attributes:
        vectors: [S, D] of unit length.
        levels: [S, L] all their labels, finest first.
        trained: [S] labels that were trained on.
        index: [S] positions in their split.
        coarse: [S, C] p(label) of a trained classifier, None if there is none.
    """

    vectors: Tensor
    levels: Tensor
    trained: Tensor
    index: Tensor
    coarse: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True)
class Totals:
    """Sums over queries: they can be added up over workers.

    Attributes:
        hits: [L + 1, K] right classes for each number of neighbours, at each level and of the trained labels.
        precision: [L + 3] average precisions: at each level, of the trained labels, and at the finest level
            conditioned on the predicted and on the true coarse class.
        counted: [L + 3] queries with an average precision.
        queries: how many there were.
    """

    hits: Tensor
    precision: Tensor
    counted: Tensor
    queries: Tensor

    def flat(self) -> Tensor:
        """One vector of all of them, to be summed."""
        return torch.cat([part.flatten() for part in (self.hits, self.precision, self.counted, self.queries)])

    def like(self, flat: Tensor) -> Totals:
        """What `flat` made of these, back in shape."""
        parts = (self.hits, self.precision, self.counted, self.queries)
        ends = list(accumulate(part.numel() for part in parts))
        split = [flat[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        return Totals(*(one.view_as(part) for one, part in zip(split, parts, strict=True)))


def rows_within(bound: int, gallery: int) -> int:
    """How many queries at a time keep within `bound` bytes; at least one."""
    return max(1, bound // max(1, _PER_PAIR * gallery))


@torch.no_grad()
def score(
    queries: Embedded, gallery: Embedded, by: ByNearest, *, ranked: bool = True, coarse: int = 0, bound: int = BOUND
) -> Totals:
    """What the ranking of `gallery` by cosine is worth to `queries`.

    Equal cosines are ranked by position in the gallery.

    Args:
        queries: of this worker.
        gallery: all of it.
        by: how many neighbours, and how they are weighted.
        ranked: whether average precisions are wanted.
        coarse: if the trained labels are coarser than the finest level, rankings are conditioned on them too: p of
            a coarse class is of the queries' classifier, or else the votes of so many neighbours. 0 is not at all.
        bound: bytes to work with.
    """
    levels, most = gallery.levels.shape[1], len(by.neighbours)
    zeros = partial(torch.zeros, dtype=torch.float64, device=gallery.vectors.device)
    totals = Totals(zeros(levels + 1, most), zeros(levels + 3), zeros(levels + 3), zeros(1) + len(queries))
    labels_GN = torch.cat([gallery.levels.T, gallery.trained[None]])
    wanted_GQ = torch.cat([queries.levels.T, queries.trained[None]])
    size = rows_within(bound, len(gallery))
    for first in range(0, len(queries), size):
        part = slice(first, first + size)
        scores = queries.vectors[part] @ gallery.vectors.T
        _score_part(
            totals,
            scores,
            labels_GN,
            wanted_GQ[:, part],
            by,
            None if queries.coarse is None else queries.coarse[part],
            ranked=ranked,
            coarse=coarse,
        )
    return totals


def _score_part(
    totals: Totals,
    scores_QN: Tensor,
    labels_GN: Tensor,
    wanted_GQ: Tensor,
    by: ByNearest,
    coarse_QC: Tensor | None,
    *,
    ranked: bool,
    coarse: int,
) -> None:
    """Adds one batch of queries to `totals`. The last of the G = L + 1 groupings are the trained labels."""
    sorted_QN, order_QN = scores_QN.sort(dim=1, descending=True, stable=True)
    nearest = slice(0, max(by.neighbours))
    for group, (labels_N, wanted_Q) in enumerate(zip(labels_GN, wanted_GQ, strict=True)):
        classes = int(torch.maximum(labels_N.max(), wanted_Q.max())) + 1
        near_QM = labels_N[order_QN[:, nearest]]
        for number, count in enumerate(by.neighbours):
            votes = class_votes(sorted_QN[:, :count], near_QM[:, :count], classes, by.sigma)
            totals.hits[group, number] += (votes.argmax(dim=1) == wanted_Q).sum()
        if ranked:
            _add(totals, group, average_precision(sorted_QN, labels_N[order_QN] == wanted_Q[:, None]))
    if not coarse or not ranked:
        return
    last = len(labels_GN)
    fine_N, coarse_N = labels_GN[0], labels_GN[-1]
    same_QN = coarse_N[order_QN] == wanted_GQ[-1][:, None]
    relevant_QN = fine_N[order_QN] == wanted_GQ[0][:, None]
    # images of other coarse classes come after all that is relevant: they need not be ranked
    _add(totals, last + 1, average_precision(sorted_QN, relevant_QN, same_QN))
    if coarse_QC is None:
        near = coarse_N[order_QN[:, :coarse]]
        classes = int(torch.maximum(coarse_N.max(), wanted_GQ[-1].max())) + 1
        coarse_QC = class_votes(sorted_QN[:, :coarse], near, classes, by.sigma)
    scores_QN = conditioned_scores(scores_QN, coarse_QC, coarse_N)
    sorted_QN, order_QN = scores_QN.sort(dim=1, descending=True, stable=True)
    _add(totals, last, average_precision(sorted_QN, fine_N[order_QN] == wanted_GQ[0][:, None]))


def _add(totals: Totals, place: int, precision_Q: Tensor) -> None:
    known = ~precision_Q.isnan()
    totals.precision[place] += precision_Q[known].sum()
    totals.counted[place] += known.sum()
