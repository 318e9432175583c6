"""Optimisers, their parameter groups, and which parameters are trained at all."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.recipe.procedure import Adagrad, AdamW, Lamb, Optimiser, Sgd

HEADS = ("head", "head_dist", "fc", "classifier")
"""Names of classifiers, ours and timm's."""

_HEAD = re.compile(rf"^({'|'.join(HEADS)})\.")

_ATTENTION = re.compile(rf"(^|\.)attn\.|(^|\.)pos_embed$|{_HEAD.pattern}")
"""What fine-tuning the attention alone trains: attention layers, position embeddings, classifier (thesis S6.3.3)."""


def freeze(model: nn.Module, trainable: Literal["all", "attention", "head"]) -> None:
    """Takes the gradient from the parameters that `trainable` leaves out.

    Raises:
        InterplayError: if that would leave none.
    """
    if trainable == "all":
        return
    wanted = _ATTENTION if trainable == "attention" else _HEAD
    chosen = {name for name, _ in model.named_parameters() if wanted.search(name)}
    if (trainable == "attention" and not any("attn." in name for name in chosen)) or not chosen:
        raise InterplayError(f"trainable={trainable}: this model has no such layers; use trainable=all")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in chosen)


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Groups by weight decay and share of the learning rate (`lr_scale`).

    Weight decay skips 1-D parameters and the names and patterns of the model's `no_weight_decay`. With
    `layer_decay` each level's rate is that of the level above times it; the head's is the whole.
    """
    skipped: set[str] = getattr(model, "no_weight_decay", set)()
    depth = _depth(model)
    groups: dict[tuple[bool, int], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            skip = parameter.ndim <= 1 or any(fnmatchcase(name, pattern) for pattern in skipped)
            above = depth - _level(name, depth) if layer_decay != 1.0 else 0
            groups[skip, above].append(parameter)
    for skip in (False, True):  # both always: a checkpoint's groups are told apart by their place
        groups.setdefault((skip, 0), [])
    return [
        {"params": groups[skip, above], "weight_decay": 0.0 if skip else weight_decay, "lr_scale": layer_decay**above}
        for skip, above in sorted(groups)
    ]


def make_optimiser(recipe: Optimiser, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that `recipe` describes, over `model`'s parameters."""
    groups = parameter_groups(model, recipe.weight_decay, recipe.layer_decay)
    if isinstance(recipe, AdamW):
        fused = all(p.device.type in ("cpu", "cuda") for p in model.parameters())
        return _untraced(torch.optim.AdamW)(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=fused)
    if isinstance(recipe, Sgd):
        return _untraced(torch.optim.SGD)(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
    if isinstance(recipe, Adagrad):
        return _untraced(torch.optim.Adagrad)(groups, lr=recipe.lr, eps=recipe.eps)
    from timm.optim import Lamb as TimmLamb  # importing timm takes three seconds: only LAMB pays

    lamb = _untraced(TimmLamb)
    return lamb(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, max_grad_norm=recipe.clip_grad)


@cache
def _untraced(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """`kind` without its marks for torch's compiler, whose import takes two seconds of every process that trains.

    Models are compiled by their blocks, so that the compiler never sees an optimiser.
    """
    marked = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in marked}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})


def clip_gradients(recipe: Optimiser, model: nn.Module) -> Tensor | None:
    """Clips the global norm of the gradients, for optimisers that do not do it themselves; the norm before."""
    if isinstance(recipe, Lamb) or recipe.clip_grad is None:
        return None
    return nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_grad)


def gradient_norm(model: nn.Module) -> Tensor:
    """The global norm of the gradients, on their device."""
    return nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])


_BLOCK = re.compile(r"^blocks\.(\d+)\.")


def _depth(model: nn.Module) -> int:
    """Levels below the head, as timm counts them: the stem and the blocks; what follows them is of the last one."""
    blocks = [int(found[1]) for name, _ in model.named_parameters() if (found := _BLOCK.match(name))]
    return max(blocks, default=-1) + 2


def _level(name: str, depth: int) -> int:
    if found := _BLOCK.match(name):
        return int(found[1]) + 1
    if _HEAD.match(name):
        return depth
    stem = ("stem.", "patch_embed.", "cls_token", "dist_token", "pos_embed", "blocks.tokens.")
    return 0 if name.startswith(stem) else depth - 1
