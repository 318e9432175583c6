"""All explanations of a model: which parts each needs, and how it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from interplay.explain import attention, patches, residuals, similarity
from interplay.explain.capture import answer
from interplay.explain.figures import curves, maps
from interplay.explain.residuals import BranchRatio
from interplay.explain.subject import Images, Subject

_LIKELY = 0.1
"""Classes above this probability are named beside a saliency map (thesis S3.7.2.5)."""

_TOP = 3
"""Classes whose own maps are shown (thesis F5.6)."""


@dataclass(frozen=True)
class Look:
    """What explanations are made of: images shown to a model, and earlier epochs of it.

    Attributes:
        subject: the model.
        images: that it is shown; explanations that need none may be made without.
        earlier: finished epochs -> the model's ratios of norms then.
    """

    subject: Subject
    images: Images
    earlier: Mapping[int, Sequence[BranchRatio]]

    @property
    def x(self) -> Tensor:
        """[B, 3, R, R] as the model is given them."""
        device = next(self.subject.model.parameters()).device
        return self.subject.normalise(self.images.pixels.to(device))


@dataclass(frozen=True)
class Made:
    """Figures by the end of their names, and the numbers in them as plain data."""

    figures: Mapping[str, Figure]
    numbers: Any = None


@dataclass(frozen=True)
class Explanation:
    """One way of looking into a model.

    Attributes:
        name: on the command line and of its files.
        title: of its section.
        about: what is seen, and where it is from.
        needs_images: whether it needs images.
        why_not: what a model lacks for it, None if it applies.
        make: makes it.
    """

    name: str
    title: str
    about: str
    needs_images: bool
    why_not: Callable[[nn.Module], str | None]
    make: Callable[[Look], Made]


def _attention(look: Look) -> Made:
    model = look.subject.model
    if attention.why_no_token_attention(model) is None:
        found = attention.token_attention(model, look.x)
        layers = [f"class att. {number + 1}" for number in range(len(found))]
    else:
        found = attention.self_attention(model, look.x)
        layers = [f"layer {number + 1}" for number in attention.blocks_with_tokens(model)]
    tokens = ["class", "second"][: found.shape[3]] if found.shape[3] <= 2 else []
    figures = {
        f"-{number + 1}": maps.draw_heads(look.images.pixels[number], name, found[:, number], layers, tokens)
        for number, name in enumerate(look.images.names)
    }
    return Made(figures)


def _saliency(look: Look) -> Made:
    found = attention.token_attention(look.subject.model, look.x)[0].mean(dim=1)[:, 0]
    shares = answer(look.subject.model, look.x).softmax(dim=-1).cpu()
    answers = [_likely(row, look.subject.classes) for row in shares]
    figure = maps.draw_saliency(look.images.pixels, look.images.names, found.cpu(), ["\n".join(a) for a in answers])
    return Made({"": figure}, dict(zip(look.images.names, answers, strict=True)))


def _class_maps(look: Look) -> Made:
    found = attention.token_attention(look.subject.model, look.x)[-1].mean(dim=1)
    best = answer(look.subject.model, look.x).softmax(dim=-1).topk(min(_TOP, found.shape[1]))
    chosen = torch.stack([found[row, classes] for row, classes in enumerate(best.indices)])
    titles = [
        [_percent(look.subject.classes[int(k)], float(p)) for k, p in zip(classes, shares, strict=True)]
        for classes, shares in zip(best.indices, best.values, strict=True)
    ]
    figure = maps.draw_overlays(look.images.pixels, look.images.names, chosen.cpu(), titles, "weight")
    return Made({"": figure}, dict(zip(look.images.names, titles, strict=True)))


def _rollout(look: Look) -> Made:
    found = attention.rollout(look.subject.model, look.x).cpu()
    count = attention.class_tokens(look.subject.model)
    titles = ["class token", "second token"][:count] or ["mean of the patches"]
    figure = maps.draw_overlays(
        look.images.pixels, look.images.names, found, [titles] * len(found), "share of the answer"
    )
    return Made({"": figure})


def _rows(look: Look) -> Made:
    rows = patches.patch_rows(look.subject.model)
    return Made({"": maps.draw_patch_rows(rows, range(len(rows)))})


def _sparsity(look: Look) -> Made:
    found = patches.sparsity(look.subject.model)
    return Made({"": curves.draw_sparsity(found)}, {"layers": found.layers, "shares": found.shares})


def _branches(look: Look) -> Made:
    now = residuals.branch_ratios(look.subject.model, look.x)
    epochs = {**look.earlier, look.subject.epoch: now}
    epochs = {epoch: epochs[epoch] for epoch in sorted(epochs)}
    numbers = {str(epoch): [vars(ratio) for ratio in ratios] for epoch, ratios in epochs.items()}
    return Made({"": curves.draw_ratios(epochs)}, numbers)


def _scales(look: Look) -> Made:
    found = residuals.branch_scales(look.subject.model)
    numbers = [
        {
            "name": scale.name,
            "kind": scale.kind,
            "depth": scale.depth,
            "init": scale.init,
            "mean": float(scale.values.mean()),
            "std": float(scale.values.std(unbiased=False)),
            "mean_magnitude": float(scale.values.abs().mean()),
            "min": float(scale.values.min()),
            "max": float(scale.values.max()),
        }
        for scale in found
    ]
    return Made({"": curves.draw_scales(found)}, numbers)


def _similarity(look: Look) -> Made:
    found = similarity.token_similarity(look.subject.model, look.x)
    layers = [{"layer": name, "mean": mean, "std": std} for name, mean, std in found.layers]
    return Made({"": curves.draw_similarity(found)}, {"learned": found.learned, "layers": layers})


def _why_no_attention(model: nn.Module) -> str | None:
    if attention.tokens_per_class(model):
        return "each class has a token of its own; class-maps shows them"
    if attention.why_no_token_attention(model) is None or attention.why_no_self_attention(model) is None:
        return None
    return "no class token of it attends to the patches"


def _why_no_saliency(model: nn.Module) -> str | None:
    if attention.tokens_per_class(model):
        return "each class has a token of its own; class-maps shows them"
    return attention.why_no_token_attention(model)


def _why_no_class_maps(model: nn.Module) -> str | None:
    return None if attention.tokens_per_class(model) else "its classes do not have tokens of their own"


def _likely(shares: Tensor, classes: Sequence[str]) -> list[str]:
    order = shares.argsort(descending=True).tolist()
    kept = [k for k in order if shares[k] > _LIKELY][:4] or order[:1]
    return [_percent(classes[k], float(shares[k])) for k in kept]


def _percent(name: str, share: float) -> str:
    return f"{name}: {100 * share:.0f} %"


EXPLANATIONS = [
    Explanation(
        "attention",
        "Attention of the class token",
        "Weights from the class token to the patches, for each head and layer (thesis F3.9).",
        True,
        _why_no_attention,
        _attention,
    ),
    Explanation(
        "saliency",
        "Saliency",
        "The first class-attention layer's weights, averaged over heads, on the grey image; classes above 10 % "
        "(thesis F3.10, F5.5).",
        True,
        _why_no_saliency,
        _saliency,
    ),
    Explanation(
        "class-maps",
        "A map for each class",
        "Weights of the tokens of the three most probable classes (thesis F5.6).",
        True,
        _why_no_class_maps,
        _class_maps,
    ),
    Explanation(
        "rollout",
        "Attention rollout",
        "Attention averaged over heads, each block half skip path, multiplied through depth (arXiv:2005.00928).",
        True,
        attention.why_no_rollout,
        _rollout,
    ),
    Explanation(
        "rows",
        "Rows of the linear maps over patches",
        "What the patches in the middle read, each row of A as an image (thesis F4.2).",
        False,
        patches.why_no_rows,
        _rows,
    ),
    Explanation(
        "sparsity",
        "Sparsity",
        "Share of entries whose magnitude is below 5 % of their matrix's largest (thesis F4.3).",
        False,
        patches.why_no_sparsity,
        _sparsity,
    ),
    Explanation(
        "branches",
        "What residual branches add",
        "L2 norm of the scaled branch over that of its input, mean and deviation over places and images; "
        "darker is later where epochs were kept (thesis F3.6).",
        True,
        residuals.why_no_branches,
        _branches,
    ),
    Explanation(
        "scales",
        "Learned scales of the branches",
        "Magnitude of LayerScale's values by depth: median, and where 80 % of the channels lie (thesis S3.5).",
        False,
        residuals.why_no_scales,
        _scales,
    ),
    Explanation(
        "similarity",
        "Likeness of the two class tokens",
        "Cosine similarity after each layer, and of the learned tokens themselves (thesis S3.3).",
        True,
        similarity.why_no_similarity,
        _similarity,
    ),
]
