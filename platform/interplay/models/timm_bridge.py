"""Models of timm, by name."""

from __future__ import annotations

from typing import Any

import timm
from torch import nn

from interplay.errors import InterplayError, closest
from interplay.recipe.architecture import TimmModel


def from_timm(model: TimmModel, *, classes: int, image_size: int) -> nn.Module:
    """The timm model that `model` names, with initial weights of its own.

    Raises:
        InterplayError: if timm has no such model, or the model has no such option.
    """
    check_name(model.name)
    config = timm.get_pretrained_cfg(model.name)
    options: dict[str, Any] = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    options |= dict(model.options)
    if model.heads is not None:
        options["num_heads"] = model.heads
    try:
        built: nn.Module = timm.create_model(
            model.name, pretrained=False, num_classes=classes, drop_path_rate=model.drop_path, **options
        )
    except (TypeError, AssertionError, ValueError) as error:
        raise InterplayError(f"timm cannot build {model.name} like this: {error}") from None
    return built


def check_name(name: str) -> None:
    """Raises InterplayError, naming the closest, if timm has no model of this name."""
    if not timm.is_model(name):
        raise InterplayError(f"timm has no model {name!r}{closest(name, timm.list_models()) or ''}")
