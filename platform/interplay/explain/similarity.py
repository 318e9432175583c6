"""How alike a model's two class tokens become through its layers (thesis S3.3)."""

# B batch, T = 2 tokens, N patches, D width
from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from interplay.explain.capture import after, answer, named
from interplay.models.backbone import Backbone
from interplay.models.parts.tokens import FirstTokens, JoinTokens, TokenLayer, TokenStage


@dataclass(frozen=True)
class TokenSimilarity:
    """Cosine similarity of the class token and the second one.

    Attributes:
        learned: of the learned tokens themselves, before any layer.
        layers: after each layer that has them, in order: names, means over the images, and their deviations.
    """

    learned: float
    layers: list[tuple[str, float, float]]


def token_similarity(model: nn.Module, x_BCHW: Tensor) -> TokenSimilarity:
    """The similarity of a model with two class tokens, on these images."""
    seen: list[tuple[str, Tensor]] = []
    with ExitStack() as hooks:
        for name, module in _layers(model):
            hooks.enter_context(after(module, lambda out, name=name: seen.append((name, _cosine(out)))))  # type: ignore[misc]
        answer(model, x_BCHW)
    layers = [(name, float(cosine.mean()), float(cosine.std(unbiased=False))) for name, cosine in seen]
    return TokenSimilarity(float(_cosine(_tokens(model).detach())), layers)


def why_no_similarity(model: nn.Module) -> str | None:
    """What is missing, None if nothing is."""
    pool = model.pool if isinstance(model, Backbone) else None
    two = isinstance(pool, FirstTokens) and pool.count == 2
    return None if two and len(_layers(model)) > 1 else "it does not have two class tokens"


def _cosine(x_BMD: Tensor) -> Tensor:
    """[B]: of the first two tokens."""
    return F.cosine_similarity(x_BMD[:, 0], x_BMD[:, 1], dim=-1)


def _layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The layers whose outputs begin with the two tokens; the last is what is classified."""
    assert isinstance(model, Backbone)
    if stages := named(model, TokenStage):
        name, stage = stages[0]
        layers: list[tuple[str, nn.Module]] = [
            (f"{name}.layers.{number}", layer)
            for number, layer in enumerate(stage.layers)
            if isinstance(layer, TokenLayer)
        ]
        return [*layers, ("norm", model.neck)]
    names = list(model.blocks)
    if "tokens" not in names:
        return []
    behind = names[names.index("tokens") + 1 :]
    return [*((f"blocks.{name}", model.blocks[name]) for name in behind), ("norm", model.neck)]


def _tokens(model: nn.Module) -> Tensor:
    joins = [module.token for _, module in named(model, JoinTokens)]
    return (joins or [module.token for _, module in named(model, TokenStage)])[0]
