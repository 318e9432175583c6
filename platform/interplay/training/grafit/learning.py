"""An embedding within a training: how it is put together, begins and ends, and what a checkpoint has of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from interplay.augment import Normalise
from interplay.data.batch import Loader, Loaders
from interplay.errors import InterplayError
from interplay.models.embedding import Embedder, EmbeddingNetwork, embedding_width, make_network, trunk_width
from interplay.recipe.embedding import ByNearest, ByNeighbours, LearntEmbedding, Likeness, Triplet
from interplay.recipe.tree import Recipe
from interplay.training.grafit.memory import Memory, check_room
from interplay.training.grafit.retriever import Retriever
from interplay.training.grafit.step import EmbeddingStep, Target
from interplay.training.optimiser import parameter_groups
from interplay.training.ranks import Ranks
from interplay.training.step import Step


@dataclass(frozen=True)
class Learning:
    """What a training has besides a plain one, on one rank.

    Attributes:
        recipe: of the whole training.
        network: what is trained; None where embeddings are evaluated only.
        target: the slow copy, if there is one.
        memory: of the kNN loss, if that is learnt.
        retriever: embeds the training images and asks the nearest of them.
    """

    recipe: Recipe
    network: EmbeddingNetwork | None
    target: Target | None
    memory: Memory | None
    retriever: Retriever

    @property
    def classifies(self) -> bool:
        """Whether the trunk's classifier learns anything."""
        return self.network is None or self.network.classify

    def step(self, plain: Step, device: torch.device) -> Step:
        """The step of the network, made from `plain`, which is of the trunk alone and not wrapped.

        Raises:
            InterplayError: if micro-batches would change what is learnt.
        """
        ranks = self.retriever.ranks
        embedding = self.recipe.embedding
        if self.network is None or not isinstance(embedding, LearntEmbedding):
            return replace(plain, model=ranks.wrap(plain.model, device))
        if isinstance(embedding.instance, Triplet) and plain.micro_batch is not None:
            raise InterplayError("the triplet loss compares all images of a batch; leave --micro-batch out")
        for part in (self.network.embedder.projector, self.network.predictor):
            for group in [] if part is None else parameter_groups(part, self.recipe.optimiser.weight_decay):
                plain.optimiser.add_param_group(group)
        views = self.recipe.augment.views
        return EmbeddingStep(
            model=ranks.wrap(self.network, device),
            optimiser=plain.optimiser,
            recipe=plain.recipe,
            objective=plain.objective,
            teacher=None,
            autocast=plain.autocast,
            scaler=plain.scaler,
            # the views of an image stay together
            micro_batch=plain.micro_batch and max(views, plain.micro_batch // views * views),
            embedding=embedding,
            embedder=self.network.embedder,
            views=views,
            ranks=ranks,
            target=self.target,
            memory=self.memory,
        )

    def remember(self) -> None:
        """Makes embeddings by the weights as they are now the memory's: at the beginning and at the end."""
        if self.memory is not None:
            self.memory.fill(self.retriever.images())

    def scores(self, loader: Loader, *, last: bool) -> dict[str, float]:
        """What neighbours tell, see `Retriever.scores`; also as `top1` where nothing else classifies."""
        if self.retriever.by is None:
            return {}
        found = self.retriever.scores(loader, last=last)
        return found if self.classifies else {"top1": found.get("knn_trained", found["knn_top1"]), **found}

    def state(self) -> dict[str, Any]:
        """For a checkpoint; empty if nothing is learnt here."""
        if self.network is None:
            return {}
        found: dict[str, Any] = {"projector": self.network.embedder.projector.state_dict()}
        if self.network.predictor is not None:
            found["predictor"] = self.network.predictor.state_dict()
        if self.target is not None:
            found["target"] = self.target.copy.module.state_dict()
        if self.memory is not None:
            found["memory"] = self.memory.state()
        return found

    def load(self, state: dict[str, Any]) -> None:
        """Goes on from `state`."""
        if self.network is None:
            return
        self.network.embedder.projector.load_state_dict(state["projector"])
        if self.network.predictor is not None:
            self.network.predictor.load_state_dict(state["predictor"])
        if self.target is not None:
            self.target.copy.module.load_state_dict(state["target"])
        if self.memory is not None:
            self.memory.load(state["memory"])


def make_learning(
    recipe: Recipe,
    trunk: nn.Module,
    evaluated: nn.Module,
    loaders: Loaders,
    normalise: Normalise,
    device: torch.device,
    ranks: Ranks,
    autocast: torch.dtype | None,
) -> Learning | None:
    """What `recipe` asks for besides a classifier; None if nothing.

    Args:
        recipe: of the training.
        trunk: that is trained.
        evaluated: it, or the average of its weights.
        loaders: of this rank, with a gallery.
        normalise: pixels to the model's inputs.
        device: where the model lives.
        ranks: of this job.
        autocast: dtype to compute in.

    Raises:
        InterplayError: if the trunk has no embedding, or the memory does not fit on the device.
    """
    if not recipe.compares_embeddings:
        return None
    assert loaders.gallery is not None, "loaders of a recipe that compares embeddings have a gallery"
    embedding, by, side = recipe.embedding, recipe.evaluation.retrieval, recipe.data.resolution
    width = trunk_width(trunk, side)
    network, target, memory = None, None, None
    embedder = Embedder(evaluated, nn.Identity())
    if isinstance(embedding, LearntEmbedding):
        if isinstance(embedding.labels, ByNeighbours):
            like, width = next(trunk.parameters()), embedding_width(embedding.projector, width)
            check_room(loaders.gallery.samples, width, ranks, device, exact=like.dtype == torch.float64)
            memory = Memory(width, ranks, like)
        network = make_network(embedding, trunk, views=recipe.augment.views, image_size=side, seed=recipe.seeds.init)
        embedder = network.embedder
        if isinstance(embedding.instance, Likeness):
            target = Target(embedder, embedding.instance.target_decay)
    retriever = Retriever(
        embedder=embedder,
        gallery=loaders.gallery,
        val=loaders.val,
        by=by if isinstance(by, ByNearest) else None,
        normalise=normalise,
        device=device,
        ranks=ranks,
        autocast=autocast,
        classifies=network is None or network.classify,
        seed=recipe.seeds.init,
        level=recipe.data.level if recipe.data.clusters.kind == "none" else None,
    )
    return Learning(recipe, network, target, memory, retriever)
