"""What tests of weights share: a tiny model, and whether it was changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from interplay.models import Backbone, build
from interplay.recipe import Model, ViT
from tests.contract.contract import CLASSES

SMALL: dict[str, Any] = {"patch_size": 8, "width": 24, "depth": 2, "heads": 3, "init_std": 0.2}
TINY = ViT(**SMALL)


def ours(recipe: Model, *, side: int = 32, classes: int = CLASSES, seed: int = 0) -> Backbone:
    model = build(recipe, classes=classes, image_size=side, seed=seed).eval()
    assert isinstance(model, Backbone)
    return model


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_untouched(model: Backbone, before: dict[str, Tensor], side: int = 32) -> None:
    assert model.image_size == side
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
