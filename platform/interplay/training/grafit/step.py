"""One optimiser step of an embedding: the sum of its losses, then the slow copy and the memory."""

# N images, V views, B = N * V crops, R side, K classes
from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from interplay.models.embedding import Answer, Embedder
from interplay.recipe.embedding import ByNeighbours, LearntEmbedding, Likeness, NoInstance, Triplet
from interplay.training import precision
from interplay.training.grafit.instance import likeness_loss, triplet_loss
from interplay.training.grafit.memory import Memory
from interplay.training.grafit.neighbours import neighbour_loss
from interplay.training.ranks import Ranks
from interplay.training.step import Step


class Target:
    """The slow copy of the embedder, whose embeddings are predicted: xi <- tau * xi + (1 - tau) * theta."""

    def __init__(self, embedder: Embedder, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.copy = AveragedModel(copy.deepcopy(embedder), multi_avg_fn=average, use_buffers=True)
        self.copy.requires_grad_(False)
        self.copy.n_averaged += 1  # otherwise the first update would copy the weights

    @torch.no_grad()
    def __call__(self, x_B3RR: Tensor) -> Tensor:
        """[B, D] of unit length. Nothing is dropped; batch norms use the batch, as in BYOL."""
        self.copy.eval()
        for module in self.copy.modules():
            if isinstance(module, _BatchNorm):
                module.train()
        found: Tensor = self.copy(x_B3RR)
        return found

    def update(self, embedder: Embedder) -> None:
        self.copy.update_parameters(embedder)


@dataclass(frozen=True, kw_only=True)
class EmbeddingStep(Step):
    """As `Step`, of a network that learns an embedding.

    Attributes:
        embedding: what is learnt.
        embedder: of the network, without wrappers.
        views: of each image, next to each other.
        ranks: among which the memory is shared out.
        target: the slow copy, if the instance loss has one.
        memory: of the kNN loss, if that is learnt.
    """

    embedding: LearntEmbedding
    embedder: Embedder
    views: int
    ranks: Ranks
    target: Target | None
    memory: Memory | None
    _new: list[tuple[Tensor, Tensor]] = field(default_factory=list, repr=False)

    def __call__(self, inputs_B3RR: Tensor, targets_BK: Tensor, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        self._new.clear()
        found = super().__call__(inputs_B3RR, targets_BK, index_B)
        if self.target is not None:
            self.target.update(self.embedder)
        labels = self.embedding.labels
        if self.memory is not None and isinstance(labels, ByNeighbours):
            index, embeddings = (torch.cat(part) for part in zip(*self._new, strict=True))
            self.memory.update(self.ranks.gather(index), self.ranks.gather(embeddings), labels.momentum)
        return found

    def _loss(self, x_B3RR: Tensor, y_BK: Tensor, index_B: Tensor) -> Tensor:
        with precision.autocast(x_B3RR.device, self.autocast):
            answer: Answer = self.model(x_B3RR)
            wanted = None if self.target is None else self.target(x_B3RR)
        first = slice(None, None, self.views)
        loss = answer.embedding.new_zeros(())
        labels, instance = self.embedding.labels, self.embedding.instance
        if answer.logits is not None:
            logits = precision.at_least_float32(answer.logits)
            loss = loss + self.objective(logits, y_BK[first].to(logits.dtype), None)
        if isinstance(labels, ByNeighbours):
            assert self.memory is not None
            index, embeddings = index_B[first].to(x_B3RR.device), answer.embedding[first]
            loss = loss + neighbour_loss(embeddings, index, self.memory, labels.sigma, self.ranks)
            self._new.append((index, embeddings.detach()))
        if isinstance(instance, Likeness):
            assert answer.prediction is not None
            assert wanted is not None
            term = likeness_loss(self._views(answer.prediction), self._views(wanted))
            loss = loss + instance.weight * term
        elif isinstance(instance, Triplet):
            loss = loss + instance.weight * triplet_loss(self._views(answer.embedding), instance, self.ranks)
        else:
            assert isinstance(instance, NoInstance)
        return loss

    def _views(self, x_BD: Tensor) -> Tensor:
        """[B, D] -> [N, V, D]."""
        return x_BD.view(-1, self.views, x_BD.shape[1])
