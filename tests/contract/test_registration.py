"""Our architectures under timm's roof."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import create_transform, resolve_data_config, resolve_model_data_config
from torch import nn

import interplay
from interplay.errors import InterplayError
from interplay.models import Backbone, build, register_with_timm
from interplay.models.parts.drop_path import DropPath
from interplay.models.parts.head import LinearHead, NoHead, TwoHeads
from interplay.models.pretrained import load_pretrained
from interplay.recipe import AttentionPool, OwnModel, PatchConvNet, TimmModel, ViT
from interplay.recipe.catalogue import ARCHITECTURES
from tests.contract.contract import CLASSES, assert_equal, images

DEIT, CAIT = "interplay_deit_ti", "interplay_cait_xxs24"
SMALL: dict[str, Any] = {"img_size": 32, "num_classes": CLASSES}


@pytest.fixture(scope="module", autouse=True)
def names() -> list[str]:
    return register_with_timm()


@pytest.fixture(scope="module")
def deit() -> nn.Module:
    """timm's DeiT-Ti, with weights that would show a mistake."""
    torch.manual_seed(0)
    model = timm.create_model("deit_tiny_patch16_224", **SMALL).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


# ----------------------------------------------------------------------------------------------- names
def test_every_architecture_of_ours_has_a_name_there(names: list[str]) -> None:
    own = {name for name, model in ARCHITECTURES.items() if not isinstance(model, TimmModel | OwnModel)}
    assert set(names) == {f"interplay_{name}" for name in own}
    assert set(timm.list_models("interplay_*")) == set(names)
    assert all(timm.is_model(name) for name in names)
    assert not timm.is_model("interplay_resnet50")
    assert not timm.list_models("interplay_*", pretrained=True)


def test_registering_twice_is_harmless(names: list[str]) -> None:
    assert register_with_timm() == names  # a warning would be an error


@pytest.mark.slow
def test_our_models_do_not_import_timm() -> None:
    code = "import sys; from interplay.models import register_with_timm; assert 'timm' not in sys.modules"
    environment = os.environ | {"PYTHONPATH": str(Path(interplay.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# -------------------------------------------------------------------------------------------- creation
@torch.no_grad()
def test_timms_options() -> None:
    model = timm.create_model(DEIT, num_classes=10, img_size=64, drop_path_rate=0.1).eval()
    assert isinstance(model, Backbone)
    assert model(images(2, 64)).shape == (2, 10)
    assert (model.num_classes, model.image_size) == (10, 64)
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert max(rates) == pytest.approx(0.1)
    assert timm.create_model(DEIT).pretrained_cfg["input_size"] == (3, 224, 224)
    assert timm.create_model(DEIT, img_size=(64, 64)).image_size == 64


def test_the_global_generator_decides_the_weights() -> None:
    def weights() -> torch.Tensor:
        weight: torch.Tensor = timm.create_model(DEIT, **SMALL).get_parameter("head.weight")
        return weight

    torch.manual_seed(0)
    first, second = weights(), weights()
    torch.manual_seed(0)
    assert torch.equal(weights(), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"pretrained": True},
            "interplay_deit_ti has no weights to download; give .* checkpoint_path=FILE",
        ),
        ({"in_chans": 1}, "is for 3 channels"),
        ({"drop_rate": 0.1}, "has no dropout"),
        ({"img_size": (32, 64)}, "takes square images; img_size is 32x64"),
        ({"pretrained_cfg": "fb_in1k"}, "has no weights named 'fb_in1k'"),
    ],
)
def test_what_is_not_offered_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InterplayError, match=sentence):
        timm.create_model(DEIT, **options)


def test_an_option_that_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        timm.create_model(DEIT, no_such_option=1)


# -------------------------------------------------------------------------------------------- features
@torch.no_grad()
@pytest.mark.parametrize("name", [DEIT, CAIT])
def test_features_are_maps_of_the_blocks_asked_for(name: str) -> None:
    torch.manual_seed(0)
    whole = timm.create_model(name, **SMALL).eval()
    features = timm.create_model(name, img_size=32, features_only=True, out_indices=(2, -6)).eval()
    depth, x = whole.depth, images(2)
    features.load_state_dict(whole.state_dict())  # of the whole model: what was pruned is left out
    expected = whole.forward_intermediates(x, indices=[2, depth - 6], intermediates_only=True)
    found = features(x)
    assert [tuple(m.shape) for m in found] == [(2, 192, 2, 2)] * 2
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert features.feature_info.channels() == [192, 192]
    assert features.feature_info.reduction() == [16, 16]
    assert features.feature_info.module_name() == ["blocks.2", f"blocks.{depth - 6}"]


def test_features_train_all_that_is_left() -> None:
    features = timm.create_model(CAIT, img_size=32, features_only=True, out_indices=[1])
    features(images(2))[0].square().sum().backward()
    assert all(p.grad is not None for p in features.parameters())
    assert sum(name.startswith("model.blocks.") for name, _ in features.named_modules()) > 0
    features.load_state_dict(copy.deepcopy(features).state_dict())  # its own names
    assert len(timm.create_model(DEIT, img_size=32, features_only=True)(images(2))) == 4


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "width", "blocks"),
    [("resmlp_s12", 384, 12), ("patchconvnet_s20", 384, 20), ("resnet50_attnpool", 2048, 1)],
)
def test_every_family_has_features(name: str, width: int, blocks: int, tmp_path: Path) -> None:
    whole = timm.create_model(f"interplay_{name}", **SMALL, drop_path_rate=0.1).eval()
    assert whole(images(2)).shape == (2, CLASSES)
    torch.save({"model": whole.state_dict()}, tmp_path / "last.pt")
    options: dict[str, Any] = {"img_size": 32, "features_only": True, "checkpoint_path": tmp_path / "last.pt"}
    features = timm.create_model(f"interplay_{name}", **options, out_indices=(0, -1)).eval()
    found, expected = features(images(2)), whole.forward_intermediates(images(2), intermediates_only=True)
    assert len(expected) == blocks
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[-1], expected[-1])
    assert found[-1].shape[1] == width


@pytest.mark.parametrize("indices", [[12], [-13], 13, []])
def test_blocks_that_are_not_there(indices: Any) -> None:
    with pytest.raises(ValueError, match="not all among the model's 12"):
        timm.create_model(DEIT, img_size=32, features_only=True, out_indices=indices)


# --------------------------------------------------------------------------------------------- weights
@torch.no_grad()
def test_it_is_timms_model(deit: nn.Module, tmp_path: Path) -> None:
    torch.save(deit.state_dict(), tmp_path / "weights.pth")
    x = images(2).double()
    loaded = timm.create_model(DEIT, **SMALL).double().eval()
    load_pretrained(loaded, tmp_path / "weights.pth")
    assert_equal(loaded(x), deit(x), "load_pretrained")
    created = timm.create_model(DEIT, **SMALL, checkpoint_path=tmp_path / "weights.pth").eval()
    torch.testing.assert_close(created(x.float()).double(), deit(x), rtol=1e-4, atol=1e-5)
    assert_equal(loaded.forward_features(x), deit.forward_features(x), "features")
    pooled = loaded.forward_head(loaded.forward_features(x), pre_logits=True)
    assert_equal(pooled, deit.forward_head(deit.forward_features(x), pre_logits=True), "before the classifier")


@torch.no_grad()
def test_a_checkpoint_with_all_options_at_once(deit: nn.Module, tmp_path: Path) -> None:
    path, x = tmp_path / "weights.pth", images(2, 64)
    torch.save({"model": deit.state_dict()}, path)
    with pytest.warns(UserWarning, match="head.weight, head.bias: .* another number of classes than 10"):
        whole = timm.create_model(DEIT, num_classes=10, img_size=64, checkpoint_path=path).eval()
    assert isinstance(whole, Backbone)
    other = build(ViT(width=192, heads=3), classes=10, image_size=64)
    assert isinstance(other, Backbone)
    load_pretrained(other, path)
    for name, value in whole.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, other.state_dict()[name]), name
    options: dict[str, Any] = {"num_classes": 10, "img_size": 64, "drop_path_rate": 0.1, "checkpoint_path": path}
    features = timm.create_model(DEIT, **options, features_only=True, out_indices=(0, 3)).eval()
    expected = whole.forward_intermediates(x, indices=[0, 3], intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(features(x), expected, strict=True))
    vectors = timm.create_model(DEIT, num_classes=0, img_size=32, checkpoint_path=path).eval()(images(2))
    assert vectors.shape == (2, 192)


def test_a_checkpoint_of_another_model_is_refused_by_torch(deit: nn.Module, tmp_path: Path) -> None:
    torch.save(deit.state_dict() | {"surplus": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(RuntimeError, match=r"Unexpected key.*surplus"):
        timm.create_model(DEIT, **SMALL, checkpoint_path=tmp_path / "weights.pth")
    with pytest.raises(RuntimeError, match=r"size mismatch for blocks.0.mlp.mix.fc1.weight"):
        timm.create_model("interplay_deit_s", **SMALL).load_state_dict(deit.state_dict())


def test_models_are_copied_and_sent_to_other_processes(deit: nn.Module) -> None:
    model = timm.create_model(DEIT, **SMALL)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.load_state_dict(deit.state_dict())
        torch.testing.assert_close(other.get_parameter("head.bias").double(), deit.get_parameter("head.bias"))
    wrapped = nn.Sequential(model)
    wrapped.load_state_dict({f"0.{name}": value for name, value in deit.state_dict().items()})
    torch.testing.assert_close(model.get_parameter("head.bias").double(), deit.get_parameter("head.bias"))


# ----------------------------------------------------------------------------------- what timm expects
def test_timm_knows_which_images_it_takes() -> None:
    model = timm.create_model(DEIT, num_classes=10, img_size=64, pretrained_cfg_overlay={"crop_pct": 1.0})
    config = resolve_model_data_config(model)
    assert config["input_size"] == (3, 64, 64)
    assert (config["interpolation"], config["crop_pct"], config["crop_mode"]) == ("bicubic", 1.0, "center")
    assert config["mean"] == pytest.approx((0.485, 0.456, 0.406))
    assert create_transform(**config) is not None
    assert model.default_cfg["num_classes"] == 10
    features = timm.create_model(DEIT, img_size=64, features_only=True)
    assert resolve_model_data_config(features)["input_size"] == (3, 64, 64)
    built = build(ViT(patch_size=8, width=24, depth=1, heads=3), classes=2, image_size=48)
    assert resolve_data_config({}, model=built)["input_size"] == (3, 48, 48)


def test_timm_describes_a_model_before_it_is_made() -> None:
    described = timm.get_pretrained_cfg(DEIT)
    assert described is not None
    assert described.fixed_input_size
    assert not described.has_weights
    model = timm.create_model(DEIT, pretrained_cfg={"mean": (0.5, 0.5, 0.5)}, img_size=32)
    assert model.pretrained_cfg["mean"] == (0.5, 0.5, 0.5)
    assert timm.create_model(DEIT, pretrained_cfg=described, img_size=32).pretrained_cfg["crop_pct"] == 0.875


@torch.no_grad()
@pytest.mark.parametrize("tokens", ["none", "distillation"])
def test_another_classifier(tokens: Any) -> None:
    recipe = ViT(patch_size=8, width=24, depth=1, heads=3, second_token=tokens, init_std=0.2)
    model = build(recipe, classes=3, image_size=32).double()
    assert isinstance(model, Backbone)
    model.reset_classifier(50)
    assert isinstance(model.get_classifier(), TwoHeads if tokens == "distillation" else LinearHead)
    assert model(images(2).double()).shape == (2, 50)
    assert model.num_classes == 50
    (weight, bias), *_ = [p for p in (list(m.parameters()) for m in model.head.modules() if isinstance(m, nn.Linear))]
    assert weight.std() == pytest.approx(0.2, rel=0.1)
    assert not bias.any()
    assert weight.dtype == torch.float64
    vectors = model.forward_head(model.forward_features(images(2).double()), pre_logits=True)
    model.eval().reset_classifier(0)
    assert isinstance(model.get_classifier(), NoHead)
    assert not model.get_classifier().training
    assert torch.equal(model(images(2).double()), vectors)
    model.reset_classifier(5)
    assert model(images(2).double()).shape == (2, 5)


def test_classes_that_have_tokens_keep_them() -> None:
    model = build(PatchConvNet(width=32, depth=1, pool=AttentionPool(tokens="per_class")), classes=3, image_size=32)
    assert isinstance(model, Backbone)
    with pytest.raises(ValueError, match="each class has a token of its own"):
        model.reset_classifier(5)
