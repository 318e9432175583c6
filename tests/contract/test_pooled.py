"""Attention pooling on timm's convnets: the contract, the trunks, and the published work."""

# B batch, D width, h w sides of the map
from __future__ import annotations

from typing import Any, ClassVar

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from interplay.errors import InterplayError
from interplay.models import Backbone, build
from interplay.models.attention_pool import attention_maps
from interplay.models.pretrained import translate
from interplay.recipe import AttentionPool, LayerScale, Model, PooledConvNet
from tests.contract.contract import CLASSES, SIDE, ModelContract, images


def backbone(recipe: Model, classes: int = CLASSES, side: int = SIDE) -> Backbone:
    model = build(recipe, classes=classes, image_size=side)
    assert isinstance(model, Backbone)
    return model


class TestPooledResNet(ModelContract):
    """timm closes a ResNet's branches at the start, so that the contract would say little: here they are open."""

    make = PooledConvNet(trunk="test_resnet", scale=LayerScale(init=0.5), init_std=0.2)
    parameters = 467_159
    independent = False
    traced: ClassVar[dict[str, Any]] = {}

    def model(self, *args: Any, **changes: Any) -> nn.Module:
        model = super().model(*args, **changes)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
        return model


class TestPooledPerClass(ModelContract):
    """On a trunk whose map has its channels last."""

    make = PooledConvNet(
        trunk="test_mambaout", pool=AttentionPool(tokens="per_class"), scale=LayerScale(init=0.5), init_std=0.2
    )
    parameters = 853_607

    def test_compiled_equals_eager(self) -> None:
        pytest.skip("its parts are traced in other variants")


def test_resnet50_with_attention_pooling_has_the_published_work() -> None:
    """S5.3.4b prints 4.6 with it and 4.1 without: so it is with two operations counted for each normed value.

    Convolutions and matrix products alone are 4.54.
    """
    with torch.device("meta"):
        model, x = backbone(PooledConvNet(), classes=1000, side=224).eval(), torch.empty(1, 3, 224, 224)
    normed: list[int] = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, args, out: normed.append(out.numel()))
    with FlopCounterMode(display=False) as counter:
        model(x)
    products, trunk, width, keys = counter.get_total_flops() / 2e9, 4.087, 2048, 7 * 7 + 1
    added = (2 + 2 * keys + 2 * 3) * width**2 + 2 * keys * width  # q, out; k, v; the MLP; the weights' two products
    assert products == pytest.approx(4.542, abs=1e-3)
    assert products == pytest.approx(trunk + (added + 1000 * width) / 1e9, abs=1e-3)
    assert round(products + 2 * sum(normed) / 1e9, 1) == 4.6
    assert round(trunk + (1000 * width + 2 * sum(normed)) / 1e9, 1) == 4.1


@torch.no_grad()
@pytest.mark.parametrize("tokens", ["single", "per_class"])
def test_attention_maps(tokens: Any) -> None:
    model = backbone(PooledConvNet(trunk="test_resnet", pool=AttentionPool(heads=3, tokens=tokens)))
    maps = attention_maps(model, torch.randn(2, 3, 96, 64))
    assert maps.shape == (2, 3, 1 if tokens == "single" else CLASSES, 3, 2)
    assert (maps >= 0).all()
    sums = maps.sum(dim=(-2, -1))
    if tokens == "single":
        assert (sums < 1).all()  # the rest is the token's look at itself
    else:
        torch.testing.assert_close(sums, torch.ones_like(sums))


def test_every_setting_shows() -> None:
    """In the model's text or its shapes."""
    changes: list[dict[str, Any]] = [
        {},
        {"trunk": "test_byobnet"},
        {"drop_path": 0.1},
        {"pool": AttentionPool(heads=2)},
        {"pool": AttentionPool(tokens="per_class")},
        {"scale": LayerScale(init=0.1)},
        {"init_std": 0.1},
    ]
    models = [backbone(PooledConvNet(**{"trunk": "test_resnet", **change})) for change in changes]
    shown = {(repr(m), tuple((n, v.shape) for n, v in m.state_dict().items())) for m in models}
    assert len(shown) == len(changes)


def test_memory_is_saved_where_timm_can() -> None:
    model = backbone(PooledConvNet(trunk="test_resnet"))
    model.set_grad_checkpointing()
    trunk = model.get_submodule("blocks.0.trunk")
    assert trunk.grad_checkpointing
    model.set_grad_checkpointing(False)
    assert not trunk.grad_checkpointing
    with torch.device("meta"):
        model = backbone(PooledConvNet(trunk="dla34"), side=64)
    with pytest.raises(InterplayError, match="dla34 cannot compute its blocks again"):
        model.set_grad_checkpointing()


# ---------------------------------------------------------------------------------------- the trunks
@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("resnet50", 224, (2048, 7, 7)),
        ("swin_tiny_patch4_window7_224", 192, (768, 6, 6)),  # channels last, and built for one size
        ("efficientnet_b0", 96, (1280, 3, 3)),  # a convolution after the last stage
        ("convnext_atto", 96, (320, 3, 3)),
    ],
)
def test_the_map_of_a_trunk(name: str, side: int, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        model = backbone(PooledConvNet(trunk=name, drop_path=0.1), side=side).eval()
        maps = model.forward_intermediates(torch.empty(2, 3, side, side), intermediates_only=True)
        assert [m.shape for m in maps] == [(2, *shape)]
        assert (model.num_features, model.patch_size) == (shape[0], side // shape[1])
        model.set_image_size(2 * side)
        assert model(torch.empty(2, 3, 2 * side, 2 * side)).shape == (2, CLASSES)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trunk": "resnet51"}, "timm has no model 'resnet51'; did you mean .*'resnet50'"),
        ({"trunk": "test_vit"}, r"test_vit gives \(\d+, 64\) for an image, not a map .* model.trunk to a convnet"),
        ({"trunk": "inception_next_atto"}, "cannot build inception_next_atto without its pooling"),
        ({"trunk": "efficientvit_m0", "drop_path": 0.1}, "cannot build efficientvit_m0 .*drop_path_rate"),
        ({"pool": AttentionPool(heads=5)}, "model.pool.heads=5 does not divide the 96 channels of test_resnet"),
    ],
)
def test_a_trunk_that_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InterplayError, match=sentence):
        build(PooledConvNet(**{"trunk": "test_resnet", **changes}), classes=CLASSES, image_size=SIDE)


def test_a_trunk_of_one_size_stays_at_it() -> None:
    with torch.device("meta"):
        model = backbone(PooledConvNet(trunk="nest_tiny_jx"), side=192)
    with pytest.raises(ValueError, match="nest_tiny_jx takes images of side 192 alone"):
        model.set_image_size(224)


def test_a_trunk_keeps_timms_initial_weights() -> None:
    """`init_std` is of what comes after it."""
    first, second = (backbone(PooledConvNet(trunk="test_convnext", init_std=std)) for std in (0.01, 0.2))
    others = dict(second.named_parameters())
    linear = [n for n, m in first.named_modules() if isinstance(m, nn.Linear)]
    assert {n.split(".")[0] for n in linear} == {"blocks", "neck", "head"}
    for name in linear:
        mine, other = first.get_parameter(f"{name}.weight"), others[f"{name}.weight"]
        assert torch.equal(mine, other) == name.startswith("blocks.")
        if not name.startswith("blocks."):
            torch.testing.assert_close(mine * 20, other)


def test_timms_weights_fit_the_trunk() -> None:
    theirs = timm.create_model("test_resnet", pretrained=False, num_classes=CLASSES)
    model = backbone(PooledConvNet(trunk="test_resnet"))
    missing, unexpected = model.load_state_dict(translate(theirs.state_dict(), model), strict=False)
    assert all(name.startswith(("neck.", "head.")) for name in missing)
    assert unexpected == ["blocks.0.trunk.fc.weight", "blocks.0.trunk.fc.bias"]
    x = images(2)
    with torch.no_grad():
        last = model.eval().forward_intermediates(x, intermediates_only=True)[0]
        assert torch.equal(last, theirs.eval().forward_features(x))
    ours = model.state_dict()
    assert translate(ours, model).keys() == ours.keys()
