"""Seeing what passes through a model's modules while it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def named(model: nn.Module, kind: type[Module]) -> list[tuple[str, Module]]:
    """All modules of `kind` with their names, in the order in which they were put in."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]


@contextmanager
def before(module: nn.Module, see: Callable[[tuple[Any, ...]], None]) -> Iterator[None]:
    """`see` is shown the inputs of `module` within this context."""
    handle = module.register_forward_pre_hook(lambda _, inputs: see(inputs))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def after(module: nn.Module, see: Callable[[Tensor], None]) -> Iterator[None]:
    """`see` is shown the output of `module` within this context."""
    handle = module.register_forward_hook(lambda _, inputs, output: see(output))
    try:
        yield
    finally:
        handle.remove()


@torch.inference_mode()
def answer(model: nn.Module, x: Tensor) -> Tensor:
    """[B, C, H, W] normalised images -> [B, K] logits, in evaluation; afterwards modules are in their old modes."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        out: Tensor = model(x)
        return out
    finally:
        for module, training in modes:
            module.training = training


def as_maps(x_N: Tensor) -> Tensor:
    """[..., N] values of the patches of square images -> [..., h, w]."""
    side = isqrt(x_N.shape[-1])
    return x_N.reshape(*x_N.shape[:-1], side, side)
