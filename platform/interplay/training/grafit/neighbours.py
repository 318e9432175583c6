"""The kNN loss: an exact softmax over the whole memory, on any number of workers (thesis eq. 2.2, 2.3)."""

# B images of the global batch, b of this worker, R rows of the memory on this worker, C rows at a time, D width
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interplay.training.grafit.memory import Memory
from interplay.training.ranks import Ranks

CHUNK_BYTES = {"cpu": 1 << 22, "cuda": 1 << 28}
"""Bytes of cosines, and of rows, at a time: the softmax is summed up piece by piece, near a processor's cache."""


def neighbour_loss(embeddings_bD: Tensor, index_b: Tensor, memory: Memory, sigma: float, ranks: Ranks) -> Tensor:
    """The mean over this worker's images of -log p(a neighbour has the image's label).

    p is a softmax of cosine / sigma over all images of the memory but the image itself.

    Args:
        embeddings_bD: of unit length, as many on each worker.
        index_b: of the images in their split.
        memory: of all training images.
        sigma: temperature.
        ranks: among which the memory is shared out.
    """
    loss: Tensor = _NeighbourLoss.apply(embeddings_bD, index_b, memory, sigma, ranks)
    return loss


class _NeighbourLoss(torch.autograd.Function):
    """The gradient is a by-product of the sums: autograd would keep every cosine until the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, embeddings_bD: Tensor, index_b: Tensor, memory: Memory, sigma: float, ranks: Ranks
    ) -> Tensor:
        queries_BD = ranks.gather(embeddings_bD.detach().contiguous())
        index_B = ranks.gather(index_b)
        whole, alike = _sums(queries_BD, index_B, memory, sigma, ranks)
        mine = slice(ranks.rank * len(index_b), (ranks.rank + 1) * len(index_b))
        losses, directions = [], []
        for part in (whole, alike):
            total = part.over(ranks)
            losses.append(total.log_sum[mine])
            directions.append(total.vectors[mine] / total.sum[mine, None])
        ctx.save_for_backward((directions[0] - directions[1]) / (sigma * len(index_b)))
        return (losses[0] - losses[1]).mean()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient_bD,) = ctx.saved_tensors
        return gradient_bD * grads[0], None, None, None, None


@dataclass
class _Sum:
    """Of e^(cosine / sigma) over rows of the memory, and of unit rows so weighted; both times e^-top."""

    top: Tensor  # [B]
    sum: Tensor  # [B]
    vectors: Tensor  # [B, D]

    @staticmethod
    def empty(queries_BD: Tensor) -> _Sum:
        zero = queries_BD.new_zeros(len(queries_BD))
        return _Sum(zero - torch.inf, zero, torch.zeros_like(queries_BD))

    @property
    def log_sum(self) -> Tensor:
        return self.top + self.sum.log()

    def add(self, logits_BC: Tensor, rows_CD: Tensor) -> None:
        """More unit rows; a logit of -inf leaves one out. `logits_BC` is overwritten."""
        if logits_BC.shape[1] == 0:
            return
        self._raise_to(torch.maximum(self.top, logits_BC.amax(dim=1)))
        weights_BC = logits_BC.sub_(_finite(self.top)[:, None]).exp_()
        self.sum += weights_BC.sum(dim=1)
        self.vectors.addmm_(weights_BC, rows_CD)

    def over(self, ranks: Ranks) -> _Sum:
        """The sum over all workers."""
        if ranks.world > 1:
            self._raise_to(ranks.max(self.top.clone()))
            ranks.sum(self.sum)
            ranks.sum(self.vectors)
        return self

    def _raise_to(self, top: Tensor) -> None:
        scale = (self.top - _finite(top)).exp()
        self.top = top
        self.sum *= scale
        self.vectors *= scale[:, None]


def _finite(top: Tensor) -> Tensor:
    """-inf of an empty sum as 0: nothing minus nothing is not a number."""
    return top.masked_fill(top == -torch.inf, 0.0)


@torch.no_grad()
def _sums(queries_BD: Tensor, index_B: Tensor, memory: Memory, sigma: float, ranks: Ranks) -> tuple[_Sum, _Sum]:
    """Over this worker's rows: all of them, and those of the query's label.

    Rows become unit rows of the queries' precision in one buffer that stays in the processor's cache: memory that is
    new for each piece costs more than the sums do.
    """
    whole, alike = _Sum.empty(queries_BD), _Sum.empty(queries_BD)
    count, width = queries_BD.shape
    labels_B, place_B = memory.label_of[index_B], memory.place_of[index_B]
    # the row of the image itself, -1 where another worker has it
    own_B = torch.where(place_B % ranks.world == ranks.rank, place_B // ranks.world, -1)
    wanted_R = torch.isin(memory.labels, labels_B)
    scaled_BD = queries_BD / sigma
    size = max(1, CHUNK_BYTES[queries_BD.device.type] // (queries_BD.element_size() * max(count, width)))
    size = min(size, max(1, len(memory.rows)))
    rows, logits = queries_BD.new_empty(size * width), queries_BD.new_empty(size * count)
    for first in range(0, len(memory.rows), size):
        part = slice(first, min(first + size, len(memory.rows)))
        here = part.stop - first
        rows_CD = rows[: here * width].view(here, width).copy_(memory.rows[part])
        rows_CD.mul_(memory.inverse_norms[part, None])
        logits_BC = torch.mm(scaled_BD, rows_CD.T, out=logits[: here * count].view(count, here))
        _leave_out(logits_BC, own_B - first)
        chosen = wanted_R[part].nonzero().squeeze(1)  # rows of labels that no query has need not be summed
        other_BA = labels_B[:, None] != memory.labels[part][chosen]
        alike.add(logits_BC[:, chosen].masked_fill_(other_BA, -torch.inf), rows_CD[chosen])
        whole.add(logits_BC, rows_CD)
    return whole, alike


def _leave_out(logits_BC: Tensor, column_B: Tensor) -> None:
    """Sets one entry of each row to -inf, where there is such a column; nothing waits for the device."""
    inside_B = (column_B >= 0) & (column_B < logits_BC.shape[1])
    column_B1 = column_B.clamp(0, logits_BC.shape[1] - 1)[:, None]
    kept_B1 = logits_BC.gather(1, column_B1)
    logits_BC.scatter_(1, column_B1, kept_B1.masked_fill_(inside_B[:, None], -torch.inf))
