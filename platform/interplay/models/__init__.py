"""Models, built from the recipe's model node."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from interplay.counter_rng import torch_seed
from interplay.errors import InterplayError, closest
from interplay.models.vit import VisionTransformer
from interplay.recipe.find import load_file
from interplay.recipe.tree import Model, OwnModel, TimmModel

__all__ = ["VisionTransformer", "build", "parameter_count"]


def build(model: Model, *, classes: int, image_size: int, seed: int = 0) -> nn.Module:
    """The model that `model` describes, with initial weights that depend on `seed` alone.

    Args:
        model: the recipe's model node.
        classes: number of outputs.
        image_size: side of the images it will be given, in pixels.
        seed: the recipe's `seeds.init`.

    Raises:
        InterplayError: if timm knows no model of that name, or your own file gives none.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed("init", seed, epoch=0))
        if isinstance(model, TimmModel):
            return _from_timm(model, classes, image_size)
        if isinstance(model, OwnModel):
            return _own(model, classes, image_size)
        return VisionTransformer(model, classes, image_size)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _from_timm(model: TimmModel, classes: int, image_size: int) -> nn.Module:
    import timm  # three seconds, needed by these models alone

    if not timm.is_model(model.name):
        raise InterplayError(f"timm has no model {model.name!r}{closest(model.name, timm.list_models()) or ''}")
    config = timm.get_pretrained_cfg(model.name)
    fixed = {"img_size": image_size} if config is not None and config.fixed_input_size else {}
    built: nn.Module = timm.create_model(
        model.name, pretrained=False, num_classes=classes, drop_path_rate=model.drop_path, **fixed
    )
    return built


def _own(model: OwnModel, classes: int, image_size: int) -> nn.Module:
    path, _, name = model.source.rpartition(":")
    function = getattr(load_file(Path(path)), name, None)
    if not callable(function):
        raise InterplayError(f"{path} has no function {name!r}")
    built = function(classes=classes, image_size=image_size)
    if not isinstance(built, nn.Module):
        raise InterplayError(f"{model.source} returned {type(built).__name__}, not a torch.nn.Module")
    return built
