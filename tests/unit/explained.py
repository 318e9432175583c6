"""Small models of every family that the tests of explanations share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interplay.models import Backbone, build
from interplay.recipe import AttentionPool, PatchConvNet, Recipe, ResMLP

CHANGES: dict[str, dict[str, Any]] = {
    "vit": {"model.second_token": "class"},
    "late": {"model.pool": {"kind": "class_token", "at": 1}},
    "average": {"model.pool": "average", "model.parallel": 2},
    "post": {"model.norm_position": "post"},
    "cait": {"model.talking_heads": True, "model.pool": "class_attention", "model.position": "patches"},
    "resmlp": {"model": ResMLP(patch_size=4, width=16, depth=2, init_std=0.1)},
    "mlp over patches": {"model": ResMLP(patch_size=4, width=16, depth=2, communication="mlp", init_std=0.1)},
    "patchconvnet": {"model": PatchConvNet(width=16, depth=2, init_std=0.1), "data.resolution": 64},
    "per class": {
        "model": PatchConvNet(width=16, depth=2, init_std=0.1, pool=AttentionPool(tokens="per_class")),
        "data.resolution": 64,
    },
}


def recipe(tiny: Recipe, name: str) -> Recipe:
    return tiny.with_(CHANGES[name])


def model(tiny: Recipe, name: str) -> Backbone:
    """With weights large enough that attention is far from uniform."""
    of = recipe(tiny, name)
    made = build(of.model, classes=10, image_size=of.data.resolution)
    assert isinstance(made, Backbone)
    torch.manual_seed(0)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.3)
    return made.eval()


def images(tiny: Recipe, name: str, count: int = 3) -> Tensor:
    side = recipe(tiny, name).data.resolution
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def listing(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*")}
