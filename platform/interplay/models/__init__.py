"""Models, built from the recipe's model node."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from interplay.counter_rng import torch_seed
from interplay.errors import InterplayError
from interplay.models.backbone import Backbone
from interplay.models.patchconvnet import patchconvnet
from interplay.models.resmlp import resmlp
from interplay.models.vit import vit
from interplay.recipe.architecture import Model, OwnModel, PatchConvNet, PooledConvNet, ResMLP, ViT
from interplay.recipe.find import call, load_file

__all__ = ["Backbone", "build", "parameter_count", "register_with_timm"]


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
        if isinstance(model, ViT):
            return vit(model, classes=classes, image_size=image_size)
        if isinstance(model, ResMLP):
            return resmlp(model, classes=classes, image_size=image_size)
        if isinstance(model, PatchConvNet):
            return patchconvnet(model, classes=classes, image_size=image_size)
        if isinstance(model, PooledConvNet):
            from interplay.models.pooled import pooled  # timm takes three seconds, only its models need it

            return pooled(model, classes=classes, image_size=image_size)
        if isinstance(model, OwnModel):
            return _own(model, classes, image_size)
        from interplay.models.timm_bridge import from_timm

        return from_timm(model, classes=classes, image_size=image_size)


def parameter_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def register_with_timm() -> list[str]:
    """Makes `timm.create_model("interplay_deit_s")` and the like work; see `interplay.models.registration`."""
    from interplay.models.registration import register_with_timm as register  # imports timm

    return register()


def _own(model: OwnModel, classes: int, image_size: int) -> nn.Module:
    path, _, name = model.source.rpartition(":")
    function = getattr(load_file(Path(path)), name, None)
    if not callable(function):
        raise InterplayError(f"{path} has no function {name!r}")
    built = call(model.source, partial(function, classes=classes, image_size=image_size))
    if not isinstance(built, nn.Module):
        raise InterplayError(f"{model.source} returned {type(built).__name__}, not a torch.nn.Module")
    return built
