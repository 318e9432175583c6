"""What every model keeps to, parity with timm, and the parameter counts of the thesis."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.errors import InterplayError
from interplay.models import build, parameter_count
from interplay.models.parts import DropPath, drop_path_rates
from interplay.recipe import LayerScale, TimmModel, ViT
from interplay.recipe.tree import Model

CLASSES, SIDE = 7, 16

SMALL: dict[str, Any] = {"patch_size": 4, "width": 24, "depth": 3, "heads": 3, "mlp_ratio": 2.0, "init_std": 0.2}


def images(count: int = 4, side: int = SIDE) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


class ModelContract:
    """Subclass, and set `make` to a model node of a recipe and `parameters` to its count."""

    make: ClassVar[Model]
    parameters: ClassVar[int]

    def model(self, seed: int = 0, **changes: Any) -> nn.Module:
        return build(self.make.model_copy(update=changes), classes=CLASSES, image_size=SIDE, seed=seed)

    def test_images_become_logits(self) -> None:
        logits = self.model()(images())
        assert logits.shape == (4, CLASSES)
        assert logits.isfinite().all()

    def test_one_image_is_a_batch(self) -> None:
        assert self.model().eval()(images(1)).shape == (1, CLASSES)

    def test_the_gradient_reaches_every_parameter(self) -> None:
        model = self.model()
        F.cross_entropy(model(images()), torch.arange(4)).backward()
        dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not dead

    @torch.no_grad()
    def test_an_image_does_not_see_the_others_in_evaluation(self) -> None:
        model, x = self.model(drop_path=0.3).eval(), images()
        torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x.flip(0)).flip(0), model(x), rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_different_images_get_different_logits(self) -> None:
        logits = self.model().eval()(images())
        assert (logits[0] - logits[1]).abs().max() > 1e-4

    def test_the_seed_alone_decides_the_weights(self) -> None:
        first = self.model(seed=3).state_dict()
        torch.manual_seed(99)
        assert all(torch.equal(v, first[k]) for k, v in self.model(seed=3).state_dict().items())
        other = self.model(seed=4).state_dict()
        assert any(not torch.equal(v, first[k]) for k, v in other.items())

    def test_building_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        self.model()
        assert torch.equal(torch.rand(1), expected)

    @torch.no_grad()
    def test_a_state_dict_brings_the_same_model_back(self) -> None:
        model, other = self.model(seed=0).eval(), self.model(seed=1).eval()
        other.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(model(images()), other(images()))

    @torch.no_grad()
    def test_drop_path_acts_in_training_only(self) -> None:
        dropping, plain, x = self.model(drop_path=0.9), self.model(drop_path=0.0), images(16)
        torch.testing.assert_close(dropping.eval()(x), plain.eval()(x))
        torch.manual_seed(0)
        assert not torch.equal(dropping.train()(x), plain.train()(x))

    def test_the_parameters_are_counted(self) -> None:
        assert parameter_count(self.model()) == self.parameters


class TestDeiT(ModelContract):
    make = ViT(**SMALL)
    parameters = 16_447


class TestDeiTThree(ModelContract):
    make = ViT(**SMALL, position="patches", scale=LayerScale(init=0.1), drop_path_rule="uniform")
    parameters = 16_567


class TestAveragePool(ModelContract):
    make = ViT(**SMALL, pool="average")
    parameters = 16_399


class TestAveragePoolOfPatches(ModelContract):
    """Without a class token there is no token that `position` could leave out."""

    make = ViT(**SMALL, pool="average", position="patches")
    parameters = TestAveragePool.parameters


class TestNoBiasOneBlock(ModelContract):
    make = ViT(**{**SMALL, "depth": 1}, qkv_bias=False, drop_path_rule="linear")
    parameters = 6_631


class TestTimmModel(ModelContract):
    make = TimmModel(name="test_vit")
    parameters = 300_359


# ---------------------------------------------------------------------------------------------- parts
@pytest.mark.parametrize(
    ("rate", "depth", "rule", "expected"),
    [
        (0.3, 4, "linear", [0.0, 0.1, 0.2, 0.3]),
        (0.3, 3, "uniform", [0.3, 0.3, 0.3]),
        (0.3, 1, "linear", [0.3]),
        (0.0, 2, "linear", [0.0, 0.0]),
        (0.0, 2, "uniform", [0.0, 0.0]),
    ],
)
def test_drop_path_rules(rate: float, depth: int, rule: Any, expected: list[float]) -> None:
    assert drop_path_rates(rate, depth, rule) == pytest.approx(expected)
    model = build(ViT(**{**SMALL, "depth": depth}, drop_path=rate, drop_path_rule=rule), classes=2, image_size=8)
    found = [getattr(block.drop_path, "rate", 0.0) for block in model.blocks]
    assert found == pytest.approx(expected)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    out = DropPath(0.25).train()(torch.ones(8_000, 2, 3))
    assert torch.equal(out, out[:, :1, :1].expand_as(out))
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.03)


def test_layer_scale_starts_at_its_value() -> None:
    model = build(ViT(**SMALL, scale=LayerScale(init=1e-4)), classes=2, image_size=8)
    gammas = {n: p for n, p in model.named_parameters() if n.endswith("gamma")}
    assert len(gammas) == 2 * SMALL["depth"]
    assert all((p == 1e-4).all() for p in gammas.values())


def test_what_weight_decay_skips_exists() -> None:
    model = build(ViT(**SMALL), classes=2, image_size=8)
    assert model.no_weight_decay() <= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_timm_models_take_the_recipes_resolution(name: str, side: int) -> None:
    model = build(TimmModel(name=name), classes=CLASSES, image_size=side).eval()
    assert model(images(2, side)).shape == (2, CLASSES)


def test_a_misspelt_timm_model_names_the_nearest() -> None:
    with pytest.raises(InterplayError, match=r"timm has no model 'resnet81'; did you mean .*'resnet18'"):
        build(TimmModel(name="resnet81"), classes=2, image_size=32)


# ------------------------------------------------------------------------------- parity with timm
def timm_model(name: str, **options: Any) -> nn.Module:
    return timm.create_model(name, pretrained=False, num_classes=CLASSES, img_size=32, **options)


def timm_average(drop_path_rate: float = 0.0) -> nn.Module:
    return TimmViT(
        img_size=32,
        patch_size=8,
        embed_dim=48,
        depth=3,
        num_heads=3,
        num_classes=CLASSES,
        class_token=False,
        global_pool="avg",
        drop_path_rate=drop_path_rate,
    )


DEIT3 = {"position": "patches", "scale": LayerScale(init=1e-6)}
PARITY = {
    "deit_tiny_patch16_224": (lambda: timm_model("deit_tiny_patch16_224"), ViT(width=192, heads=3)),
    "deit_small_patch16_224": (lambda: timm_model("deit_small_patch16_224"), ViT(width=384, heads=6)),
    "deit3_small_patch16_224": (lambda: timm_model("deit3_small_patch16_224"), ViT(width=384, heads=6, **DEIT3)),
    "average pool": (timm_average, ViT(patch_size=8, width=48, depth=3, heads=3, pool="average")),
}


@pytest.mark.parametrize(("reference", "recipe"), PARITY.values(), ids=PARITY.keys())
def test_timm_weights_give_timm_outputs_and_gradients(reference: Any, recipe: ViT) -> None:
    torch.manual_seed(0)
    theirs = reference().double().eval()
    with torch.no_grad():  # timm starts biases at 0 and LayerScale near it, where mistakes would not show
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = build(recipe, classes=CLASSES, image_size=32).double().eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = images(2, side=32).double()
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))
    expected, found = theirs.train()(x), ours.train()(x)
    assert_equal(found, expected)
    expected.logsumexp(dim=1).sum().backward()
    found.logsumexp(dim=1).sum().backward()
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        assert_equal(parameter.grad, gradients[name].grad)


def assert_equal(found: Tensor | None, expected: Tensor | None) -> None:
    """Equal to 1e-10 of the largest entry."""
    assert found is not None
    assert expected is not None
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_linear_drop_path_is_timms() -> None:
    theirs = timm_model("deit_tiny_patch16_224", drop_path_rate=0.1)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in theirs.blocks]
    assert drop_path_rates(0.1, 12, "linear") == pytest.approx(rates)


@pytest.mark.parametrize(
    ("width", "millions"), [(192, 5.717), (384, 22.05), (768, 86.567)], ids=["tiny", "small", "base"]
)
def test_parameter_counts_of_the_thesis(width: int, millions: float) -> None:
    with torch.device("meta"):
        model = build(ViT(width=width, heads=width // 64), classes=1000, image_size=224)
    assert parameter_count(model) / 1e6 == pytest.approx(millions, abs=1e-3)
