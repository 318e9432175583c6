"""In which number format a model computes."""

from __future__ import annotations

import torch

from interplay.recipe.tree import Recipe


def autocast_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """What `recipe` computes in on `device`; see `dtype_of`."""
    return dtype_of(recipe.precision, device)


def dtype_of(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where it is wanted or, with `auto`, where the device computes in it; None is float32."""
    if precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def autocast(device: torch.device, dtype: torch.dtype | None) -> torch.autocast:
    """Computes in `dtype` within this context; None is float32."""
    return torch.autocast(device.type, dtype=dtype or torch.bfloat16, enabled=dtype is not None)
