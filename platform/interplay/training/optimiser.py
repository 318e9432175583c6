"""Optimisers and their parameter groups."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from interplay.recipe.tree import AdamW, Lamb


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weight decay skips 1-D parameters and the names and patterns of the model's `no_weight_decay`."""
    skipped: set[str] = getattr(model, "no_weight_decay", set)()
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            skip = parameter.ndim <= 1 or any(fnmatchcase(name, pattern) for pattern in skipped)
            (kept if skip else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def make_optimiser(recipe: AdamW | Lamb, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that `recipe` describes, over `model`'s parameters."""
    groups = parameter_groups(model, recipe.weight_decay)
    if isinstance(recipe, AdamW):
        fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=fused)
    from timm.optim import Lamb as TimmLamb  # importing timm takes three seconds: only LAMB pays

    optimiser: torch.optim.Optimizer = TimmLamb(
        groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, max_grad_norm=recipe.clip_grad
    )
    return optimiser


def clip_gradients(recipe: AdamW | Lamb, model: nn.Module) -> None:
    """Clips the global norm of the gradients, for optimisers that do not do it themselves."""
    if isinstance(recipe, AdamW) and recipe.clip_grad is not None:
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_grad)
