"""Initial weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from interplay.models.parts.attention import Attention
from interplay.models.parts.head import PerClassHead
from interplay.models.parts.maps import SqueezeExcite
from interplay.models.parts.residual import Residual


@torch.no_grad()
def truncated_normal(model: nn.Module, std: float) -> None:
    """Linear weights, tokens and position embeddings from a truncated normal; biases at 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | PerClassHead):
            nn.init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for parameter in embeddings(model).values():
        nn.init.trunc_normal_(parameter, std=std)


@torch.no_grad()
def fixup(blocks: nn.Module) -> None:
    """Fixup's rule: a branch's last layer at 0, the m - 1 others scaled by L^(-1/(2m-2)), L the branches.

    Biases are at 0, which those of convolutions are not otherwise.
    """
    branches = list(_branches(blocks))
    for branch in branches:
        *others, last = layers = _layers(branch.mix)
        _no_biases(layers)
        nn.init.zeros_(last.weight)
        for layer in others:
            layer.weight.mul_(len(branches) ** (-1 / (2 * len(others))))


@torch.no_grad()
def t_fixup(blocks: nn.Module, depth: int) -> None:
    """T-Fixup's rule: Xavier, then what carries values is scaled by 0.67 N^(-1/4), N the blocks.

    Queries and keys are not scaled. Biases are at 0. Embeddings start from N(0, 1/D).
    """
    factor = 0.67 * depth**-0.25
    for branch in _branches(blocks):
        layers = _layers(branch.mix)
        _no_biases(layers)
        for layer in layers:
            _xavier(layer)
            layer.weight.mul_(factor)
        if isinstance(branch.mix, Attention):
            width = branch.mix.qkv.in_features
            branch.mix.qkv.weight[: 2 * width].div_(factor)


@torch.no_grad()
def embeddings_for_t_fixup(model: nn.Module) -> None:
    """Tokens and position embeddings from N(0, 1/D)."""
    for parameter in embeddings(model).values():
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)


def embeddings(model: nn.Module) -> dict[str, nn.Parameter]:
    """Tokens and position embeddings, by name."""
    return {n: p for n, p in model.named_parameters() if n.rpartition(".")[2] in ("token", "pos_embed")}


def _xavier(layer: nn.Linear | nn.Conv2d) -> None:
    """Xavier's rule for one group of a convolution: torch takes the outputs of all groups for the fan-out."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    outputs, inputs, places = len(layer.weight) // groups, layer.weight.shape[1], layer.weight[0, 0].numel()
    bound = math.sqrt(6 / (places * (inputs + outputs)))
    nn.init.uniform_(layer.weight, -bound, bound)


def _no_biases(layers: Iterable[nn.Linear | nn.Conv2d]) -> None:
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _branches(blocks: nn.Module) -> Iterator[Residual]:
    return (module for module in blocks.modules() if isinstance(module, Residual))


def _layers(mix: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """The layers that the branch's values go through; those of a gate only weigh values, and start as always."""
    gates = {inner for module in mix.modules() if isinstance(module, SqueezeExcite) for inner in module.modules()}
    return [m for m in mix.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m not in gates]
