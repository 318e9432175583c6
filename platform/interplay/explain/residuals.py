"""What residual branches add, and the numbers they are scaled with (thesis F3.6)."""

# L branches, D width
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from interplay.explain.capture import after, answer, before
from interplay.models.parts.residual import PostNormResidual, Residual
from interplay.models.parts.scale import LayerScale, NoScale, ScalarScale
from interplay.models.parts.tokens import TokenResidual

KINDS = {"attn": "attention", "patches": "patches", "look": "class attention", "mlp": "MLP", "channels": "MLP"}
"""What branches are called, by their name in a block; another name is `block`."""


@dataclass(frozen=True)
class BranchRatio:
    """Norm of what a branch adds over the norm of what it is added to.

    Each place (token or place of a map) of each image has its own ratio of L2 norms over the channels.

    Attributes:
        name: of the branch in the model.
        kind: what it does, of `KINDS`.
        depth: number of its block, counted from 0; the layers of a token stage continue after the blocks.
        mean: over places and images, scale included.
        std: of the same.
    """

    name: str
    kind: str
    depth: int
    mean: float
    std: float


@dataclass(frozen=True)
class BranchScale:
    """What one branch is multiplied with: `values` [D] of LayerScale, or [1]; `init` is where they started."""

    name: str
    kind: str
    depth: int
    values: Tensor
    init: float


def branch_ratios(model: nn.Module, x_BCHW: Tensor) -> list[BranchRatio]:
    """The ratio of every residual branch on these images, in the model's order."""
    places = _places(model)
    inputs: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}

    def see_input(name: str) -> Callable[[tuple[Tensor, ...]], None]:
        def see(given: tuple[Tensor, ...]) -> None:
            inputs[name] = given[0]

        return see

    def see_branch(name: str, scale: NoScale) -> Callable[[Tensor], None]:
        def see(branch: Tensor) -> None:
            x = inputs.pop(name)
            added = scale.add(torch.zeros_like(branch), branch)
            channels = 1 if branch.ndim == 4 else -1
            found[name] = added.norm(dim=channels) / x.norm(dim=channels)

        return see

    with ExitStack() as hooks:
        for name, module in _branches(model):
            entered, left = _ends(module)
            hooks.enter_context(before(entered, see_input(name)))
            hooks.enter_context(after(left, see_branch(name, module.scale)))
        answer(model, x_BCHW)
    return [
        BranchRatio(name, *places[name], float(found[name].mean()), float(found[name].std(unbiased=False)))
        for name, _ in _branches(model)
    ]


def branch_scales(model: nn.Module) -> list[BranchScale]:
    """The learned values of every scaled branch, in the model's order."""
    places = _places(model)
    return [
        BranchScale(
            name, *places[name], module.scale.gamma.detach().float().cpu().reshape(-1), float(module.scale.init)
        )
        for name, module in _branches(model)
        if isinstance(module.scale, LayerScale | ScalarScale)
    ]


def why_no_branches(model: nn.Module) -> str | None:
    """What is missing for ratios of norms, None if nothing is."""
    return None if _branches(model) else "it is not made of our residual branches"


def why_no_scales(model: nn.Module) -> str | None:
    """What is missing for scales, None if nothing is."""
    return None if branch_scales(model) else "its residual branches are not scaled by learned values"


def _branches(model: nn.Module) -> list[tuple[str, Residual | TokenResidual]]:
    return [(name, m) for name, m in model.named_modules() if isinstance(m, Residual | TokenResidual)]


def _ends(branch: Residual | TokenResidual) -> tuple[nn.Module, nn.Module]:
    """The module that is given what is added to, and the one that gives what is scaled and added.

    Parallel branches are not called themselves: their parts are.
    """
    if isinstance(branch, TokenResidual):
        return branch, branch.mix
    return (branch.mix if isinstance(branch, PostNormResidual) else branch.norm), branch.drop_path


def _places(model: nn.Module) -> dict[str, tuple[str, int]]:
    """Kind and depth of each branch."""
    blocks = sorted({part[1] for name, _ in _branches(model) if (part := name.split("."))[0] == "blocks"}, key=int)
    found = {}
    for name, _ in _branches(model):
        parts = name.split(".")
        kind = next((KINDS[part] for part in reversed(parts) if part in KINDS), "block")
        number = next(int(part) for part in parts if part.isdigit())
        if parts[0] != "blocks":
            number = len(blocks) + int(parts[parts.index("layers") + 1])
            kind = "class attention" if parts[-1] == "look" else "class MLP"
        found[name] = (kind, number)
    return found
