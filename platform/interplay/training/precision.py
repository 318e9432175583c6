"""In which number format a model computes."""

from __future__ import annotations

import torch
from torch import Tensor

from interplay.recipe.tree import Recipe


def autocast_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """What `recipe` computes in on `device`; see `dtype_of`."""
    return dtype_of(recipe.precision, device)


def dtype_of(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where it is wanted or, with `auto`, where the device computes in it; None is that of the weights."""
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def weights_dtype(recipe: Recipe) -> torch.dtype:
    """What `recipe` keeps weights, images and the optimiser's state in: float32, or float64 if it says so."""
    return torch.float64 if recipe.precision == "fp64" else torch.float32


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """Computes in `dtype` within this context; None is that of the weights."""
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def at_least_float32(logits: Tensor) -> Tensor:
    """`logits` in float32, or in float64 if they are: losses are not computed in half precision."""
    return logits if logits.dtype == torch.float64 else logits.float()
