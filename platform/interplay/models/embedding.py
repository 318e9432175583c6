"""An embedding on a trunk: projector, and the predictor of the instance loss (thesis S2.3.1)."""

# B crops, V views of an image, F trunk's width, D width of the embedding, K classes
from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.counter_rng import torch_seed
from interplay.errors import InterplayError
from interplay.recipe.embedding import (
    ByHead,
    LearntEmbedding,
    Likeness,
    LinearProjector,
    MlpProjector,
    NoProjector,
    Norm,
    Projector,
)


class Answer(NamedTuple):
    """What a network says of a batch; None is what no loss asks for.

    Attributes:
        embedding: [B, D] float32 or float64, of unit length.
        prediction: [B, D] of other views' embeddings.
        logits: [B / V, K] of the first views.
    """

    embedding: Tensor
    prediction: Tensor | None
    logits: Tensor | None


class Embedder(nn.Module):
    """Trunk and projector: [B, 3, R, R] -> [B, D] of unit length."""

    def __init__(self, trunk: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.trunk, self.projector = trunk, projector

    def forward(self, x_B3RR: Tensor) -> Tensor:
        return self.project(self.maps(x_B3RR))

    def maps(self, x_B3RR: Tensor) -> Tensor:
        """What the trunk's head is given."""
        trunk: Any = self.trunk
        maps: Tensor = trunk.forward_features(x_B3RR)
        return maps

    def project(self, maps: Tensor) -> Tensor:
        """`maps` as the embedding."""
        trunk: Any = self.trunk
        return unit(self.projector(trunk.forward_head(maps, pre_logits=True)))

    def classify(self, maps: Tensor) -> Tensor:
        """`maps` as logits."""
        trunk: Any = self.trunk
        logits: Tensor = trunk.forward_head(maps)
        return logits


class EmbeddingNetwork(nn.Module):
    """What is trained: embedder, predictor if there is one, and the trunk's classifier if labels are its."""

    def __init__(self, embedder: Embedder, predictor: nn.Module | None, *, views: int, classify: bool) -> None:
        super().__init__()
        self.embedder, self.predictor = embedder, predictor
        self.views, self.classify = views, classify

    def forward(self, x_B3RR: Tensor) -> Answer:
        maps = self.embedder.maps(x_B3RR)
        embedding = self.embedder.project(maps)
        prediction = None if self.predictor is None else unit(self.predictor(embedding))
        logits = self.embedder.classify(maps[:: self.views]) if self.classify else None
        return Answer(embedding, prediction, logits)


def unit(x_BD: Tensor) -> Tensor:
    """Of unit length, and not in half precision."""
    return F.normalize(x_BD if x_BD.dtype == torch.float64 else x_BD.float(), dim=1)


def make_network(
    recipe: LearntEmbedding, trunk: nn.Module, *, views: int, image_size: int, seed: int
) -> EmbeddingNetwork:
    """The network that `recipe` describes on `trunk`; its own weights depend on `seed` alone.

    A classifier that learns nothing gets no gradient.

    Raises:
        InterplayError: if the trunk does not say what its classifier is given.
    """
    width = trunk_width(trunk, image_size)
    like = next(trunk.parameters())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed("embedding", seed, epoch=0))
        projector = make_projector(recipe.projector, width)
        size = embedding_width(recipe.projector, width)
        predictor = None
        if isinstance(recipe.instance, Likeness):
            predictor = mlp(size, recipe.instance.hidden, size, recipe.instance.norm, bias=True)
    classify = isinstance(recipe.labels, ByHead)
    if not classify:
        unused: Any = trunk
        for parameter in unused.get_classifier().parameters():
            parameter.requires_grad_(False)
    network = EmbeddingNetwork(Embedder(trunk, projector), predictor, views=views, classify=classify)
    return network.to(device=like.device, dtype=like.dtype)


def make_projector(recipe: Projector, width: int) -> nn.Module:
    """[B, F] -> [B, D], F being `width`."""
    if isinstance(recipe, LinearProjector):
        return nn.Linear(width, recipe.width, bias=False)
    if isinstance(recipe, MlpProjector):
        return mlp(width, recipe.hidden, recipe.width, recipe.norm, bias=False)
    return nn.Identity()


def embedding_width(recipe: Projector, width: int) -> int:
    """D, of a trunk of `width`."""
    return width if isinstance(recipe, NoProjector) else recipe.width


def mlp(into: int, hidden: int, out: int, norm: Norm, *, bias: bool) -> nn.Sequential:
    """Linear, norm, ReLU, linear."""
    norms: dict[Norm, nn.Module] = {"batch": nn.BatchNorm1d(hidden), "layer": nn.LayerNorm(hidden)}
    middle = [norms[norm]] if norm in norms else []
    return nn.Sequential(nn.Linear(into, hidden, bias=bias), *middle, nn.ReLU(), nn.Linear(hidden, out, bias=bias))


@torch.no_grad()
def trunk_width(trunk: nn.Module, image_size: int) -> int:
    """F, found by giving the trunk a black image.

    Raises:
        InterplayError: if the trunk does not say what its classifier is given.
    """
    model: Any = trunk
    if not all(callable(getattr(trunk, name, None)) for name in ("forward_features", "forward_head")):
        raise InterplayError(
            f"{type(trunk).__name__} has no embedding to learn: give it forward_features and forward_head(maps, "
            "pre_logits), as timm's models have them"
        )
    like = next(trunk.parameters())
    training = trunk.training
    trunk.eval()
    black = torch.zeros(1, 3, image_size, image_size, device=like.device, dtype=like.dtype)
    width = int(model.forward_head(model.forward_features(black), pre_logits=True).shape[-1])
    trunk.train(training)
    return width
