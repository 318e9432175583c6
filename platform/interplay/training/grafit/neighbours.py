"""The kNN loss: an exact softmax over the whole memory, on any number of workers (thesis eq. 2.2, 2.3)."""

# B images of the global batch, b of this worker, R rows of the memory on this worker, C rows at a time, D width
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interplay.training.grafit.memory import Memory
from interplay.training.ranks import Ranks

CHUNK_BYTES = {"cpu": 1 << 25, "cuda": 1 << 28}
"""Bytes of cosines, and of rows, at a time: the softmax is summed up piece by piece."""


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
        whole, alike = _sums(queries_BD, index_B, memory, sigma)
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

    def add(self, logits_BC: Tensor, inverse_norms_C: Tensor, rows_CD: Tensor) -> None:
        """More rows; -inf leaves one out. `logits_BC` is overwritten."""
        self._raise_to(torch.maximum(self.top, logits_BC.amax(dim=1)))
        weights_BC = logits_BC.sub_(_finite(self.top)[:, None]).exp_()
        self.sum += weights_BC.sum(dim=1)
        self.vectors.addmm_(weights_BC.mul_(inverse_norms_C), rows_CD)

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
def _sums(queries_BD: Tensor, index_B: Tensor, memory: Memory, sigma: float) -> tuple[_Sum, _Sum]:
    """Over this worker's rows: all of them, and those of the query's label."""
    whole, alike = _Sum.empty(queries_BD), _Sum.empty(queries_BD)
    labels_B, places_B = memory.label_of[index_B], memory.place_of[index_B]
    size = max(1, CHUNK_BYTES[queries_BD.device.type] // (queries_BD.element_size() * max(queries_BD.shape)))
    for first in range(0, len(memory.rows), size):
        part = slice(first, first + size)
        rows_CD = memory.rows[part].to(queries_BD.dtype)
        inverse_C = memory.inverse_norms[part]
        logits_BC = (queries_BD @ rows_CD.T).mul_(inverse_C / sigma)
        logits_BC.masked_fill_(places_B[:, None] == memory.places[part], -torch.inf)
        other_BC = labels_B[:, None] != memory.labels[part]
        alike.add(logits_BC.masked_fill(other_BC, -torch.inf), inverse_C, rows_CD)
        whole.add(logits_BC, inverse_C, rows_CD)
    return whole, alike
