"""Vision transformers: the contract over their variants, their parts, and parity with timm."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import timm
import torch
from timm.models.vision_transformer import ParallelThingsBlock
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn
from torch.nn import functional as F

from interplay.errors import InterplayError
from interplay.models import Backbone, build
from interplay.models.parts.attention import TalkingHeads
from interplay.models.parts.drop_path import DropPath, drop_path_rates
from interplay.models.parts.head import TwoHeads, fuse
from interplay.recipe import (
    AveragePool,
    ClassAttention,
    ClassToken,
    FixedScale,
    Fixup,
    LayerScale,
    ScalarScale,
    TFixup,
    TimmModel,
    ViT,
)
from tests.contract.contract import CLASSES, ModelContract, check_parity, images, two_blocks

SMALL: dict[str, Any] = {"patch_size": 8, "width": 24, "depth": 3, "heads": 3, "mlp_ratio": 2.0, "init_std": 0.2}


class TracedElsewhere(ModelContract):
    """All its parts are compiled in other variants."""

    def test_compiled_equals_eager(self) -> None:
        pytest.skip("its parts are traced in other variants")


class TestDeiT(ModelContract):
    make = ViT(**SMALL)
    parameters = 19_903


class TestDeiTThree(TracedElsewhere):
    make = ViT(**SMALL, position="patches", scale=LayerScale(init=0.1), drop_path_rule="uniform")
    parameters = 20_023


class TestAveragePool(ModelContract):
    make = ViT(**SMALL, pool=AveragePool())
    parameters = 19_855


class TestNoBiasOneBlock(TracedElsewhere):
    make = ViT(**{**SMALL, "depth": 1}, qkv_bias=False, drop_path_rule="linear")
    parameters = 10_087


class TestLateToken(ModelContract):
    make = ViT(**SMALL, pool=ClassToken(at=2))
    traced: ClassVar[dict[str, Any]] = {}
    parameters = TestDeiT.parameters


class TestTwoTokens(TracedElsewhere):
    make = ViT(**SMALL, second_token="distillation")
    parameters = 20_126


class TestSumOfSoftmaxes(ModelContract):
    make = ViT(**SMALL, second_token="class", fusion="sum_of_softmaxes")
    parameters = TestTwoTokens.parameters


class TestTalkingHeads(ModelContract):
    make = ViT(**SMALL, talking_heads=True)
    parameters = 19_975


class TestParallel(ModelContract):
    make = ViT(**SMALL, parallel=2, scale=LayerScale(init=0.1))
    parameters = 34_807


class TestPostNorm(ModelContract):
    make = ViT(**SMALL, norm_position="post")
    parameters = TestDeiT.parameters


class TestNoNorm(TracedElsewhere):
    make = ViT(**SMALL, norm_position="none", scale=ScalarScale(init=0.5))
    parameters = 19_573


class TestCaiT(ModelContract):
    make = ViT(
        **SMALL, talking_heads=True, pool=ClassAttention(depth=2), position="patches", scale=LayerScale(init=0.1)
    )
    parameters = 29_935


class TestCaiTDistilled(ModelContract):
    make = TestCaiT.make.model_copy(update={"second_token": "distillation"})
    parameters = 30_134


class TestClassAttentionAlone(TracedElsewhere):
    """The token not in its keys, no scaling there: rows of S3.6.3."""

    make = ViT(**SMALL, pool=ClassAttention(depth=1, token_in_keys=False, scaled=False), scale=LayerScale(init=0.1))
    parameters = 24_895


class TestUniformScale(TracedElsewhere):
    make = ViT(**SMALL, scale=LayerScale(init=0.1, spread="uniform"))
    parameters = 20_047


class TestScalarScale(TracedElsewhere):
    make = ViT(**SMALL, scale=ScalarScale(init=0.1))
    parameters = 19_909


class TestTFixup(TracedElsewhere):
    make = ViT(**SMALL, scale=TFixup())
    parameters = TestScalarScale.parameters


class StartsClosed(TracedElsewhere):
    """Branches give 0 at the start, so the first gradient reaches only what opens them."""

    opens: ClassVar[str]

    def test_the_gradient_reaches_every_parameter(self) -> None:
        model = self.model()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(2):
            optimiser.zero_grad()
            F.cross_entropy(model(images()), torch.arange(4)).backward()
            alive = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
            if step == 0:
                assert any(name.endswith(self.opens) for name in alive)
                assert len(alive) < len(list(model.parameters()))
            optimiser.step()
        assert alive == {name for name, _ in model.named_parameters()}
        logits = model.eval()(images())
        assert (logits[0] - logits[1]).abs().max() > 1e-6

    def test_different_images_get_different_logits(self) -> None:
        """Not before the first steps: the class token has seen no patch."""
        assert torch.equal(*self.model().eval()(images(2)))

    @torch.no_grad()
    def test_drop_path_acts_in_training_only(self) -> None:
        dropping, plain, x = self.model(drop_path=0.9), self.model(drop_path=0.0), images(16)
        torch.testing.assert_close(dropping.train()(x), plain.train()(x))


class TestReZero(StartsClosed):
    make = ViT(**SMALL, scale=ScalarScale(init=0.0))
    parameters = TestScalarScale.parameters
    opens = "scale.gamma"


class TestLayerScaleFromZero(StartsClosed):
    make = ViT(**SMALL, scale=LayerScale(init=0.0))
    parameters = 20_047
    opens = "scale.gamma"


class TestFixup(StartsClosed):
    make = ViT(**SMALL, scale=Fixup())
    parameters = 19_915
    opens = "fc2.weight"


class TestTimmModel(ModelContract):
    make = TimmModel(name="test_vit")
    parameters = 300_551
    resizes = False
    traced: ClassVar[dict[str, Any]] = {}


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
    found = [getattr(model.get_submodule(f"blocks.{i}.mlp.drop_path"), "rate", 0.0) for i in range(depth)]
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
    uniform = build(ViT(**SMALL, scale=LayerScale(init=1e-4, spread="uniform")), classes=2, image_size=8)
    values = torch.cat([p for n, p in uniform.named_parameters() if n.endswith("gamma")])
    assert values.min() >= 0
    assert values.max() <= 2e-4
    assert values.mean().item() == pytest.approx(1e-4, rel=0.15)


def test_fixed_scales_are_those_of_a_trained_model(tmp_path: Path) -> None:
    trained = build(ViT(**SMALL, scale=LayerScale(init=0.5, spread="uniform")), classes=2, image_size=8)
    path = tmp_path / "trained.pt"
    torch.save({"model": trained.state_dict()}, path)
    recipe = ViT(**SMALL, scale=FixedScale(checkpoint=str(path)))
    model = build(recipe, classes=3, image_size=16, seed=5)
    before = dict(trained.named_parameters())
    scales = {n: p for n, p in model.named_parameters() if n.endswith("gamma")}
    assert len(scales) == 2 * SMALL["depth"]
    assert all(torch.equal(p, before[n]) and not p.requires_grad for n, p in scales.items())
    torch.save({"model": {"other": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match="has changed since this recipe was resolved"):
        ViT.model_validate(recipe.model_dump())
    with pytest.raises(InterplayError, match=r"no LayerScale that fits blocks\.0\.attn\.scale\.gamma of width 24"):
        build(ViT(**SMALL, scale=FixedScale(checkpoint=str(path))), classes=3, image_size=16)


def test_fixup_scales_by_the_number_of_branches() -> None:
    plain, fixed = (build(ViT(**SMALL, scale=s), classes=2, image_size=8) for s in (ScalarScale(), Fixup()))
    weights, reference = dict(fixed.named_parameters()), dict(plain.named_parameters())
    assert not weights["blocks.1.mlp.mix.1.fc2.weight"].any()
    ratio = weights["blocks.1.mlp.mix.1.fc1.weight"] / reference["blocks.1.mlp.mix.fc1.weight"]
    assert ratio.unique().tolist() == pytest.approx([(2 * SMALL["depth"]) ** -0.5] * len(ratio.unique()))


def test_t_fixup_scales_values_and_leaves_queries() -> None:
    model = build(ViT(**{**SMALL, "width": 96}, scale=TFixup()), classes=2, image_size=8)
    qkv = model.get_parameter("blocks.0.attn.mix.qkv.weight")
    queries, values = qkv[:96].std(), qkv[192:].std()
    assert (values / queries).item() == pytest.approx(0.67 * 3**-0.25, rel=0.05)


def test_a_late_token_joins_where_it_is_told() -> None:
    model = build(ViT(**SMALL, pool=ClassToken(at=2)), classes=2, image_size=16)
    assert isinstance(model, Backbone)
    assert list(model.blocks) == ["0", "1", "tokens", "2"]
    shapes = []
    for block in model.blocks.values():
        block.register_forward_hook(lambda module, args, out: shapes.append(out.shape[1]))
    model(torch.zeros(1, 3, 16, 16))
    assert shapes == [4, 4, 5, 5]


def test_two_answers_are_fused_late() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(4, CLASSES), torch.randn(4, CLASSES)
    torch.testing.assert_close(fuse(first, second, "mean_of_logits"), (first + second) / 2)
    both = fuse(first, second, "sum_of_softmaxes").exp()
    torch.testing.assert_close(both, first.softmax(-1) + second.softmax(-1))
    assert fuse(first, second, "first") is first
    assert fuse(first, second, "second") is second


def test_both_answers_are_given_for_a_loss_on_each() -> None:
    model = build(TestTwoTokens.make, classes=CLASSES, image_size=32)
    assert isinstance(model.head, TwoHeads)
    model.head.separate = True
    assert model(images()).shape == (4, 2, CLASSES)
    assert model.eval()(images()).shape == (4, CLASSES)


def test_talking_heads_are_a_linear_map_over_heads() -> None:
    torch.manual_seed(0)
    part = TalkingHeads(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    q, k, v = (part.qkv(x).view(2, 5, 3, 3, 4).permute(2, 0, 3, 1, 4)).unbind(0)
    logits = part.before((q @ k.transpose(-2, -1) / 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    weights = part.after(logits.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(part(x), part.proj((weights @ v).transpose(1, 2).flatten(2)))


def test_attention_maps_are_the_weights_of_the_pooling() -> None:
    model = build(TestCaiT.make, classes=CLASSES, image_size=32).eval()
    assert isinstance(model, Backbone)
    stage = model.neck.get_submodule("0")
    patches = torch.randn(2, 16, 24)
    maps = stage.attention_maps(patches)
    assert maps.shape == (2, 3, 1, 16)
    assert (maps > 0).all()
    assert (maps.sum(-1) < 1).all()  # the token sees itself


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"heads": 5}, "model.heads=5 does not divide model.width=24; use one of 1, 2, 3, 4, 6, 8, 12, 24"),
        ({"pool": ClassToken(at=3)}, "model.pool.at=3 is behind the last of model.depth=3 blocks; use 0 to 2"),
        ({"pool": AveragePool(), "second_token": "class"}, "model.second_token needs tokens"),
        ({"fusion": "second"}, "model.fusion=second needs two answers"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        ViT(**{**SMALL, **changes})


# ------------------------------------------------------------------------------------ parity with timm
def timm_model(name: str, **options: Any) -> nn.Module:
    return timm.create_model(name, pretrained=False, num_classes=CLASSES, img_size=32, **options)


def timm_vit(**options: Any) -> nn.Module:
    return TimmViT(img_size=32, embed_dim=48, depth=2, num_heads=3, num_classes=CLASSES, **options)


DEIT3: dict[str, Any] = {"position": "patches", "scale": LayerScale(init=1e-6)}
CAIT: dict[str, Any] = {**DEIT3, "talking_heads": True, "pool": ClassAttention()}
TWO: dict[str, Any] = {"second_token": "distillation"}  # in training too, timm gives the mean of both answers
LARGE = {
    "deit_small_patch16_224",
    "deit_base_patch16_224",
    "deit3_base_patch16_224",
    "deit_small_distilled",
    "deit_base_distilled",
    "cait_xxs36_224",
    "cait_xs24_384",
    "cait_s24_224",
}
BASE: dict[str, Any] = {"width": 768, "depth": 2, "heads": 12}
PARITY = {
    "deit_tiny_patch16_224": (lambda: timm_model("deit_tiny_patch16_224"), ViT(width=192, heads=3)),
    "deit_small_patch16_224": (lambda: timm_model("deit_small_patch16_224"), ViT(width=384, heads=6)),
    "deit_base_patch16_224": (lambda: two_blocks(timm_model("deit_base_patch16_224")), ViT(**BASE)),
    "deit3_small_patch16_224": (lambda: timm_model("deit3_small_patch16_224"), ViT(width=384, heads=6, **DEIT3)),
    "deit3_base_patch16_224": (lambda: two_blocks(timm_model("deit3_base_patch16_224")), ViT(**BASE, **DEIT3)),
    "cait_xxs24_224": (lambda: timm_model("cait_xxs24_224"), ViT(width=192, depth=24, heads=4, **CAIT)),
    "cait_xxs36_224": (lambda: timm_model("cait_xxs36_224"), ViT(width=192, depth=36, heads=4, **CAIT)),
    "cait_xs24_384": (lambda: timm_model("cait_xs24_384"), ViT(width=288, depth=24, heads=6, **CAIT)),
    "cait_s24_224": (lambda: timm_model("cait_s24_224"), ViT(width=384, depth=24, heads=8, **CAIT)),
    "cait_s36_384": (lambda: two_blocks(timm_model("cait_s36_384")), ViT(width=384, depth=2, heads=8, **CAIT)),
    "deit_tiny_distilled": (lambda: timm_model("deit_tiny_distilled_patch16_224"), ViT(width=192, heads=3, **TWO)),
    "deit_small_distilled": (lambda: timm_model("deit_small_distilled_patch16_224"), ViT(width=384, heads=6, **TWO)),
    "deit_base_distilled": (
        lambda: two_blocks(timm_model("deit_base_distilled_patch16_224")),
        ViT(**BASE, **TWO),
    ),
    "parallel blocks": (
        lambda: timm_vit(block_fn=ParallelThingsBlock, init_values=0.1),
        ViT(width=48, depth=2, heads=3, parallel=2, scale=LayerScale(init=0.1)),
    ),
    "average pool": (
        lambda: timm_vit(class_token=False, global_pool="avg"),
        ViT(width=48, depth=2, heads=3, pool=AveragePool()),
    ),
}


@pytest.mark.parametrize(
    ("reference", "recipe"),
    [pytest.param(*v, id=k, marks=[pytest.mark.slow] if k in LARGE else []) for k, v in PARITY.items()],
)
def test_timm_weights_give_timm_outputs_and_gradients(reference: Any, recipe: ViT) -> None:
    check_parity(reference(), recipe)


def test_linear_drop_path_is_timms() -> None:
    theirs = timm_model("deit_tiny_patch16_224", drop_path_rate=0.1)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in theirs.blocks]
    assert drop_path_rates(0.1, 12, "linear") == pytest.approx(rates)


# --------------------------------------------------------------------------------------- timm's models
@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_timm_models_take_the_recipes_resolution(name: str, side: int) -> None:
    model = build(TimmModel(name=name), classes=CLASSES, image_size=side).eval()
    assert model(images(2, side)).shape == (2, CLASSES)


def test_a_timm_model_takes_heads_and_options() -> None:
    model = build(TimmModel(name="test_vit", heads=4, options=(("mlp_ratio", 1.0),)), classes=2, image_size=32)
    assert model.blocks[0].attn.num_heads == 4
    assert model.blocks[0].mlp.fc1.out_features == 64
    with pytest.raises(InterplayError, match=r"timm cannot build test_resnet like this: .*num_heads"):
        build(TimmModel(name="test_resnet", heads=4), classes=2, image_size=32)


def test_a_misspelt_timm_model_names_the_nearest() -> None:
    with pytest.raises(InterplayError, match=r"timm has no model 'resnet81'; did you mean .*'resnet18'"):
        build(TimmModel(name="resnet81"), classes=2, image_size=32)
