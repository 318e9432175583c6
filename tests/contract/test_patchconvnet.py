"""PatchConvNet: the contract over its variants, the published sizes, and the formulas written out."""

# B batch, D width, h w sides of the map, N = h w patches, T tokens, H heads, K classes
from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
import torch
from timm.models._efficientnet_blocks import SqueezeExcite as TimmSqueezeExcite
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from interplay.errors import InterplayError
from interplay.models import Backbone, build, parameter_count
from interplay.models.attention_pool import attention_maps
from interplay.models.parts.maps import MapNorm, SqueezeExcite
from interplay.models.parts.tokens import TokenStage
from interplay.models.pretrained import translate
from interplay.recipe import (
    AttentionPool,
    AveragePool,
    FixedScale,
    Fixup,
    LayerScale,
    Model,
    NoScale,
    PatchConvNet,
    ScalarScale,
    TFixup,
    ViT,
)
from tests.contract.contract import CLASSES, SIDE, ModelContract, images

SMALL: dict[str, Any] = {"width": 24, "depth": 3, "init_std": 0.2, "scale": LayerScale(init=0.5)}


def backbone(recipe: Model, classes: int = CLASSES, side: int = SIDE) -> Backbone:
    model = build(recipe, classes=classes, image_size=side)
    assert isinstance(model, Backbone)
    return model


class TracedElsewhere(ModelContract):
    """Compiling takes seconds: variants whose parts are traced in others do without."""

    def test_compiled_equals_eager(self) -> None:
        pytest.skip("its parts are traced in other variants")


class TestPatchConvNet(ModelContract):
    make = PatchConvNet(**SMALL)
    parameters = 15_316


class TestLinearStem(TracedElsewhere):
    make = PatchConvNet(**SMALL, stem="linear")
    parameters = 30_289


class TestBatchNorm(TracedElsewhere):
    make = PatchConvNet(**SMALL, norm="batch_norm")
    parameters = TestPatchConvNet.parameters
    independent = False


class TestSyncBatchNorm(TracedElsewhere):
    """In one process it is batch norm."""

    make = PatchConvNet(**SMALL, norm="sync_batch_norm")
    parameters = TestPatchConvNet.parameters
    independent = False


class TestAveragePool(TracedElsewhere):
    make = PatchConvNet(**SMALL, pool=AveragePool())
    parameters = 9_196


class TestManyHeads(TracedElsewhere):
    make = PatchConvNet(**SMALL, pool=AttentionPool(heads=4))
    parameters = TestPatchConvNet.parameters


class TestTokenPerClass(ModelContract):
    make = PatchConvNet(**SMALL, pool=AttentionPool(tokens="per_class"))
    parameters = TestPatchConvNet.parameters + (CLASSES - 1) * SMALL["width"]


class TestPostNorm(TracedElsewhere):
    make = PatchConvNet(**SMALL, norm_position="post")
    parameters = TestPatchConvNet.parameters


class TestNoNorm(TracedElsewhere):
    """None in the blocks; the pooling keeps its own."""

    make = PatchConvNet(**SMALL, norm_position="none")
    parameters = TestPatchConvNet.parameters - SMALL["depth"] * 2 * SMALL["width"]


class TestNoScale(TracedElsewhere):
    make = PatchConvNet(**{**SMALL, "scale": NoScale()})
    parameters = TestPatchConvNet.parameters - (SMALL["depth"] + 2) * SMALL["width"]


class TestUniformScale(TracedElsewhere):
    make = PatchConvNet(**{**SMALL, "scale": LayerScale(init=0.5, spread="uniform")})
    parameters = TestPatchConvNet.parameters


class TestFixedScale(TracedElsewhere):
    parameters = TestNoScale.parameters

    @classmethod
    def setup_class(cls) -> None:
        cls.folder = TemporaryDirectory()
        path = Path(cls.folder.name, "trained.pt")
        torch.save({"model": backbone(TestUniformScale.make).state_dict()}, path)
        cls.make = PatchConvNet(**{**SMALL, "scale": FixedScale(checkpoint=str(path))})

    @classmethod
    def teardown_class(cls) -> None:
        cls.folder.cleanup()

    def test_the_scales_are_the_trained_ones(self) -> None:
        trained = dict(backbone(TestUniformScale.make).named_parameters())
        scales = {n: p for n, p in backbone(self.make).named_parameters() if n.endswith("gamma")}
        assert len(scales) == SMALL["depth"] + 2
        assert all(torch.equal(p, trained[n]) and not p.requires_grad for n, p in scales.items())


class TestScalarScale(TracedElsewhere):
    make = PatchConvNet(**{**SMALL, "scale": ScalarScale(init=0.5)})
    parameters = TestNoScale.parameters + SMALL["depth"] + 2


class TestTFixup(TracedElsewhere):
    make = PatchConvNet(**{**SMALL, "scale": TFixup()})
    parameters = TestScalarScale.parameters


class StartsClosed(TracedElsewhere):
    """Blocks give 0 at the start, so a gradient reaches what is inside only after what opens them has moved.

    `blind`: the pooling starts closed too, and the first logits say nothing of the image. The pooling opens at
    the first step then, the blocks at the second.
    """

    opens: ClassVar[str]
    blind: ClassVar[bool]

    def test_the_gradient_reaches_every_parameter(self) -> None:
        model = self.model()
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        alive: list[set[str]] = []
        for _ in range(3 if self.blind else 2):
            optimiser.zero_grad()
            F.cross_entropy(model(images()), torch.arange(4)).backward()
            alive.append({n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0})
            optimiser.step()
        inside = {f"blocks.{i}.mix.{name}" for i in range(3) for name in self.inside}
        assert not alive[0] & inside
        assert {f"blocks.{i}.{self.opens}" for i in range(3)} <= alive[-2]
        assert not alive[-2] & inside
        assert alive[-1] == {name for name, _ in model.named_parameters()}

    inside: ClassVar[tuple[str, ...]] = ("first.weight", "spatial.weight", "gate.reduce.weight", "last.weight")

    def test_different_images_get_different_logits(self) -> None:
        first, second = self.model().eval()(images(2))
        assert torch.equal(first, second) == self.blind

    @torch.no_grad()
    def test_drop_path_acts_in_training_only(self) -> None:
        """There is nothing to drop yet."""
        dropping, plain, x = self.model(drop_path=0.9), self.model(drop_path=0.0), images(16)
        torch.testing.assert_close(dropping.train()(x), plain.train()(x))


class TestReZero(StartsClosed):
    make = PatchConvNet(**{**SMALL, "scale": ScalarScale(init=0.0)})
    parameters = TestScalarScale.parameters
    opens, blind = "scale.gamma", True


class TestLayerScaleFromZero(StartsClosed):
    make = PatchConvNet(**{**SMALL, "scale": LayerScale(init=0.0)})
    parameters = TestPatchConvNet.parameters
    opens, blind = "scale.gamma", True


class TestFixup(StartsClosed):
    """Its zeros are in the blocks' last layers; the pooling, which is no block, starts open."""

    make = PatchConvNet(**{**SMALL, "scale": Fixup()})
    parameters = TestScalarScale.parameters + SMALL["depth"] + 1  # a bias before each block and the MLP
    opens, blind = "mix.1.last.weight", False
    inside = ("0.bias", "1.first.weight", "1.spatial.weight", "1.gate.reduce.weight")


# ------------------------------------------------------------------------------------- published sizes
def weightless(recipe: Model, side: int = 224) -> Backbone:
    with torch.device("meta"):
        return backbone(recipe, classes=1000, side=side).eval()


def macs(model: Backbone, side: int = 224) -> float:
    """Multiply-adds of one image, in 1e9."""
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 2e9


PUBLISHED = {
    "s20": (384, 20, 10.236, {224: 1.637}),
    "s36": (384, 36, 16.234, {}),
    "s60": (384, 60, 25.231, {224: 3.979, 384: 11.683, 512: 20.764}),
    "s120": (384, 120, 47.724, {}),
    "b36": (768, 36, 63.700, {224: 10.214}),
    "b60": (768, 60, 99.389, {}),
    "b120": (768, 120, 188.611, {}),
    "l60": (1024, 60, 176.010, {224: 28.043}),
    "l120": (1024, 120, 334.294, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_those_of_the_authors_code(name: str) -> None:
    width, depth, millions, work = PUBLISHED[name]
    model = weightless(PatchConvNet(width=width, depth=depth))
    assert parameter_count(model) / 1e6 == pytest.approx(millions, abs=6e-4)
    for side, giga_macs in work.items():
        assert macs(model, side) == pytest.approx(giga_macs, abs=6e-4)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name[0] != "l"])
def test_batch_norm_has_as_many_parameters(name: str) -> None:
    """Thesis T5.8."""
    width, depth, millions, _ = PUBLISHED[name]
    model = weightless(PatchConvNet(width=width, depth=depth, norm="batch_norm"))
    assert parameter_count(model) / 1e6 == pytest.approx(millions, abs=6e-4)
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == depth


def test_the_size_with_a_token_for_each_class() -> None:
    model = weightless(PatchConvNet(pool=AttentionPool(tokens="per_class")))
    assert model.get_parameter("neck.stage.token").shape == (1, 1000, 384)
    assert parameter_count(model) / 1e6 == pytest.approx(25.615, abs=6e-4)
    assert macs(model) == pytest.approx(5.308, abs=6e-4)


# --------------------------------------------------------------------------------- the formulas, by hand
def shaken(recipe: PatchConvNet, classes: int = CLASSES) -> Backbone:
    """In double precision, with no parameter at a value where a mistake would not show."""
    model = backbone(recipe, classes=classes).double().eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.2)
    return model


def check_same(module: nn.Module, found: Tensor, expected: Tensor) -> None:
    """Values and the parameters' gradients agree to 1e-10."""
    parameters = dict(module.named_parameters())
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    gradients = [
        torch.autograd.grad(y.cos().sum(), list(parameters.values()), allow_unused=True) for y in (found, expected)
    ]
    for name, one, other in zip(parameters, *gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10, msg=name)


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def layer_norm(x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    """Over the last dimension."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    return torch.einsum("...i,oi->...o", x, p[f"{name}.weight"].flatten(1)) + p[f"{name}.bias"]


def block_by_hand(x_BDhw: Tensor, p: dict[str, Tensor], norm: str) -> Tensor:
    """x + gamma Conv1x1(SE(GELU(DW3x3(GELU(Conv1x1(Norm x))))))."""
    x = x_BDhw.permute(0, 2, 3, 1)
    if norm == "layer_norm":
        y = layer_norm(x, p, "norm")
    else:
        y = (x - p["norm.running_mean"]) / (p["norm.running_var"] + 1e-5).sqrt() * p["norm.weight"] + p["norm.bias"]
    y = gelu(linear(y, p, "mix.first"))
    height, width = y.shape[1:3]
    around = torch.zeros(len(y), height + 2, width + 2, y.shape[3], dtype=y.dtype)
    around[:, 1:-1, 1:-1] = y
    y = p["mix.spatial.bias"] + sum(
        around[:, i : i + height, j : j + width] * p["mix.spatial.weight"][:, 0, i, j]
        for i in range(3)
        for j in range(3)
    )
    y = gelu(y)
    squeezed = linear(y.mean(dim=(1, 2)), p, "mix.gate.reduce").clamp(min=0)
    y = y / (1 + (-linear(squeezed, p, "mix.gate.expand")).exp())[:, None, None]
    return (x + p["scale.gamma"] * linear(y, p, "mix.last")).permute(0, 3, 1, 2)


@pytest.mark.parametrize("norm", ["layer_norm", "batch_norm"])
def test_a_block_is_its_formula(norm: Any) -> None:
    block = shaken(PatchConvNet(**SMALL, norm=norm)).blocks["1"]
    x = torch.randn(2, 24, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    tensors = {**dict(block.named_parameters()), **dict(block.named_buffers())}
    check_same(block, block(x), block_by_hand(x, tensors, norm))


def pool_by_hand(x_BDhw: Tensor, p: dict[str, Tensor], heads: int, tokens: str) -> Tensor:
    """Thesis S5.2: every image, head and token on its own."""
    layer, logits = "neck.stage.layers.0", []
    for patches in x_BDhw.flatten(2).transpose(1, 2):
        answers = []
        for place, token in enumerate(p["neck.stage.token"][0]):
            seen = patches if tokens == "per_class" else torch.cat([token[None], patches])
            query = linear(layer_norm(token, p, f"{layer}.look.norm"), p, f"{layer}.look.mix.q")
            pairs = linear(layer_norm(seen, p, f"{layer}.look.norm"), p, f"{layer}.look.mix.kv")
            width = len(token) // heads
            gathered = []
            for head in range(heads):
                here = slice(head * width, (head + 1) * width)
                keys, values = pairs[:, : len(token)][:, here], pairs[:, len(token) :][:, here]
                weights = (keys @ query[here] / math.sqrt(width)).exp()
                gathered.append((weights / weights.sum()) @ values)
            looked = linear(torch.cat(gathered), p, f"{layer}.look.mix.proj")
            y = token + p[f"{layer}.look.scale.gamma"] * looked
            z = gelu(linear(layer_norm(y, p, f"{layer}.mlp.norm"), p, f"{layer}.mlp.mix.fc1"))
            y = y + p[f"{layer}.mlp.scale.gamma"] * linear(z, p, f"{layer}.mlp.mix.fc2")
            y = layer_norm(y, p, "neck.norm")
            answers.append(
                p["head.weight"] @ y + p["head.bias"]
                if tokens == "single"
                else (p["head.weight"][place] @ y + p["head.bias"][place])[None]
            )
        logits.append(torch.cat(answers))
    return torch.stack(logits)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("tokens", ["single", "per_class"])
def test_the_pooling_is_its_formula(heads: int, tokens: Any) -> None:
    model = shaken(PatchConvNet(**SMALL, pool=AttentionPool(heads=heads, tokens=tokens)))
    model.stem, model.blocks = nn.Identity(), nn.ModuleDict()
    x = torch.randn(2, 24, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    check_same(model, model(x), pool_by_hand(x, dict(model.named_parameters()), heads, tokens))


def test_average_pooling_norms_the_mean() -> None:
    model = shaken(PatchConvNet(**SMALL, pool=AveragePool()))
    x, p = torch.randn(2, 24, 2, 3, dtype=torch.float64), dict(model.named_parameters())
    expected = linear(layer_norm(x.mean(dim=(2, 3)), p, "pool.1"), p, "head")
    torch.testing.assert_close(model.forward_head(model.neck(x)), expected, rtol=1e-10, atol=1e-10)


def test_stems() -> None:
    conv, one_map = backbone(PatchConvNet(**SMALL)).stem, backbone(PatchConvNet(**SMALL, stem="linear")).stem
    layers = [module for module in conv.modules() if isinstance(module, nn.Conv2d)]
    assert [layer.out_channels for layer in layers] == [3, 6, 12, 24]
    assert {(layer.kernel_size, layer.stride, layer.padding, layer.bias) for layer in layers} == {
        ((3, 3), (2, 2), (1, 1), None)
    }
    x = images(2)
    y = x
    for layer in layers:
        y = F.conv2d(y if layer is layers[0] else gelu(y), layer.weight, stride=2, padding=1)
    torch.testing.assert_close(conv(x), y)  # no activation at the end
    assert isinstance(one_map, nn.Conv2d)
    patches = F.unfold(x, 16, stride=16)
    torch.testing.assert_close(
        one_map(x).flatten(2), one_map.weight.flatten(1) @ patches + one_map.bias[:, None], rtol=1e-4, atol=1e-5
    )


# ---------------------------------------------------------------------------------------------- parts
def test_a_norm_of_maps_copies_no_channels_last_map() -> None:
    norm = MapNorm(8, eps=1e-6)
    x = torch.randn(2, 8, 4, 4).to(memory_format=torch.channels_last)
    assert norm(x).is_contiguous(memory_format=torch.channels_last)
    seen: list[int] = []
    plain = F.layer_norm

    def layer_norm(x: Tensor, *args: Any) -> Tensor:
        seen.append(x.data_ptr() if x.is_contiguous() else 0)
        return plain(x, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "layer_norm", layer_norm)
        norm(x)
    assert seen == [x.data_ptr()]


def test_a_gate_is_timms() -> None:
    theirs, ours = TimmSqueezeExcite(24, rd_ratio=0.3), SqueezeExcite(24, 0.3)
    ours.load_state_dict({name.removeprefix("conv_"): value for name, value in theirs.state_dict().items()})
    x = torch.randn(2, 24, 3, 3)
    torch.testing.assert_close(ours(x), theirs(x))


def test_a_gate_has_at_least_one_hidden_channel() -> None:
    assert SqueezeExcite(6, 0.25).reduce.out_channels == 2  # rounded, as in timm
    assert SqueezeExcite(2, 0.1).reduce.out_channels == 1


def test_fixup_counts_the_layers_that_values_go_through() -> None:
    """Three, for the gate only weighs: scaled by L^(-1/4), and the gate's start as always."""
    plain = backbone(PatchConvNet(**{**SMALL, "scale": ScalarScale()})).get_submodule("blocks.1.mix")
    fixed = backbone(PatchConvNet(**{**SMALL, "scale": Fixup()})).get_submodule("blocks.1.mix.1")
    assert not fixed.get_parameter("last.weight").any()
    for name in ("first.weight", "spatial.weight"):
        torch.testing.assert_close(fixed.get_parameter(name), plain.get_parameter(name) * 3**-0.25)
    for name in ("gate.reduce.weight", "gate.expand.bias"):
        assert torch.equal(fixed.get_parameter(name), plain.get_parameter(name))


def test_t_fixup_scales_the_layers_that_values_go_through() -> None:
    block = backbone(PatchConvNet(**{**SMALL, "scale": TFixup(), "width": 96})).get_submodule("blocks.1.mix")
    factor = 0.67 * 3**-0.25
    for name, fans in {"first": 192, "spatial": 18, "last": 192}.items():
        found = block.get_parameter(f"{name}.weight").std().item()
        assert found == pytest.approx(factor * math.sqrt(2 / fans), rel=0.1), name
    assert block.get_parameter("gate.reduce.weight").std().item() == pytest.approx(1 / math.sqrt(3 * 96), rel=0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 20}, "model.width=20 is not a multiple of 8"),
        ({"pool": AttentionPool(heads=5)}, "model.pool.heads=5 does not divide model.width=24"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        PatchConvNet(**{**SMALL, **changes})


def test_every_setting_shows() -> None:
    """In the model's text or its shapes."""
    changes: list[dict[str, Any]] = [
        {},
        {"stem": "linear"},
        {"norm": "batch_norm"},
        {"norm": "sync_batch_norm"},
        {"norm_position": "post"},
        {"norm_position": "none"},
        {"se_ratio": 0.5},
        {"pool": AveragePool()},
        {"pool": AttentionPool(heads=2)},
        {"pool": AttentionPool(mlp_ratio=2.0)},
        {"pool": AttentionPool(tokens="per_class")},
        {"scale": NoScale()},
        {"scale": LayerScale(init=0.25)},
        {"scale": LayerScale(init=0.5, spread="uniform")},
        {"scale": ScalarScale(init=0.5)},
        {"scale": Fixup()},
        {"scale": TFixup()},
        {"drop_path": 0.1},
        {"drop_path": 0.1, "drop_path_rule": "linear"},
        {"init_std": 0.1},
    ]
    models = [backbone(PatchConvNet(**{**SMALL, **change})) for change in changes]
    shown = {(repr(m), tuple((n, v.shape) for n, v in m.state_dict().items())) for m in models}
    assert len(shown) == len(changes)


# ---------------------------------------------------------------------------------------- image sizes
@torch.no_grad()
@pytest.mark.parametrize("stem", ["conv", "linear"])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 48), (32, 80)])
def test_images_of_any_size_without_being_told(stem: Any, height: int, width: int) -> None:
    model = backbone(PatchConvNet(**SMALL, stem=stem)).eval()
    x = torch.randn(2, 3, height, width)
    assert model(x).isfinite().all()
    assert model.forward_features(x).shape == (2, 1 + height * width // 256, 24)
    (last,) = model.forward_intermediates(x, indices=1, intermediates_only=True)
    assert last.shape == (2, 24, height // 16, width // 16)
    other = backbone(PatchConvNet(**SMALL, stem=stem), side=64).eval()  # the size it is built for changes nothing
    assert torch.equal(other(x), model(x))


# -------------------------------------------------------------------------------------- attention maps
@torch.no_grad()
@pytest.mark.parametrize("tokens", ["single", "per_class"])
def test_attention_maps(tokens: Any) -> None:
    model = backbone(PatchConvNet(**SMALL, pool=AttentionPool(heads=3, tokens=tokens)))
    maps = attention_maps(model, torch.randn(2, 3, 96, 64))
    assert maps.shape == (2, 3, 1 if tokens == "single" else CLASSES, 6, 4)
    assert (maps >= 0).all()
    sums = maps.sum(dim=(-2, -1))
    if tokens == "single":
        assert (sums < 1).all()  # the rest is the token's look at itself
    else:
        torch.testing.assert_close(sums, torch.ones_like(sums))


@torch.no_grad()
def test_the_map_is_what_the_pooling_weighs_patches_with() -> None:
    """What the token gathers is the values by these weights, and by the rest its own."""
    model = backbone(PatchConvNet(**SMALL)).eval()
    x, layer = images(1), "neck.stage.layers.0.look"
    weights = attention_maps(model, x).flatten()
    (last,) = model.forward_intermediates(x, indices=1, intermediates_only=True)
    stage = model.neck.get_submodule("stage")
    assert isinstance(stage, TokenStage)
    norm, mix = model.get_submodule(f"{layer}.norm"), model.get_submodule(f"{layer}.mix")
    token, patches = norm(stage.token), norm(last.flatten(2).transpose(1, 2))
    values = mix.get_submodule("kv")(torch.cat([token, patches], dim=1))[0, :, 24:]
    own = 1 - weights.sum()
    expected = mix.get_submodule("proj")(own * values[0] + weights @ values[1:])
    torch.testing.assert_close(mix(token, torch.cat([token, patches], dim=1))[0, 0], expected)


def test_looking_leaves_the_model_as_it_was() -> None:
    model = backbone(PatchConvNet(**SMALL, norm="batch_norm", drop_path=0.5)).train()
    frozen = model.get_submodule("blocks.0.norm").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert torch.equal(attention_maps(model, images()), attention_maps(model, images()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module for module in model.modules() if not module.training] == [frozen]


def test_a_model_without_attention_pooling_has_no_map() -> None:
    for recipe in (PatchConvNet(**SMALL, pool=AveragePool()), ViT(patch_size=16, width=24, depth=1, heads=1)):
        with pytest.raises(InterplayError, match="has no attention map"):
            attention_maps(backbone(recipe), images())


@pytest.mark.slow
def test_a_patchconvnet_needs_no_timm() -> None:
    script = (
        "import sys\n"
        "from interplay.models import build\n"
        "from interplay.recipe import PatchConvNet\n"
        "build(PatchConvNet(width=8, depth=1), classes=2, image_size=32)\n"
        "assert 'timm' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --------------------------------------------------------------------------------------- others' names
def authors_state(width: int, depth: int, classes: int, *, per_class: bool) -> dict[str, Tensor]:
    """The names and shapes of the authors' checkpoints, with a different number in every place."""
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, classes if per_class else 1, width)}
    for i, (before, after) in enumerate([(3, width // 8), (width // 8, width // 4), (width // 4, width // 2)]):
        shapes[f"patch_embed.proj.{2 * i}.0.weight"] = (after, before, 3, 3)
    shapes["patch_embed.proj.6.0.weight"] = (width, width // 2, 3, 3)
    layers: dict[str, tuple[int, ...]] = {}
    for i in range(depth):
        block = f"blocks.{i}"
        shapes[f"{block}.gamma_1"] = shapes[f"{block}.norm1.weight"] = shapes[f"{block}.norm1.bias"] = (width,)
        layers[f"{block}.attn.qkv_pos.0"] = layers[f"{block}.attn.qkv_pos.5"] = (width, width, 1, 1)
        layers[f"{block}.attn.qkv_pos.2"] = (width, 1, 3, 3)
        layers[f"{block}.attn.qkv_pos.4.conv_reduce"] = (width // 4, width, 1, 1)
        layers[f"{block}.attn.qkv_pos.4.conv_expand"] = (width, width // 4, 1, 1)
    token = "blocks_token_only.0"
    shapes[f"{token}.gamma_1"] = shapes[f"{token}.gamma_2"] = (width,)
    for norm in (f"{token}.norm1", f"{token}.norm2", "norm"):
        shapes[f"{norm}.weight"] = shapes[f"{norm}.bias"] = (width,)
    layers.update({f"{token}.attn.{name}": (width, width) for name in ("q", "k", "v", "proj")})
    layers |= {f"{token}.mlp.fc1": (3 * width, width), f"{token}.mlp.fc2": (width, 3 * width)}
    layers |= {f"head.{k}": (1, width) for k in range(classes)} if per_class else {"head": (classes, width)}
    for name, shape in layers.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("tokens", ["single", "per_class"])
def test_the_authors_checkpoints_fit(tokens: Any) -> None:
    width, depth, classes = 24, 12, 12
    theirs = authors_state(width, depth, classes, per_class=tokens == "per_class")
    model = backbone(PatchConvNet(width=width, depth=depth, pool=AttentionPool(tokens=tokens)), classes=classes)
    ours = translate(theirs, model)
    assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in model.state_dict().items()}
    model.load_state_dict(ours, strict=True)
    look, token = "neck.stage.layers.0.look", "blocks_token_only.0"
    expected = {
        "stem.4.weight": theirs["patch_embed.proj.4.0.weight"],
        "blocks.11.norm.weight": theirs["blocks.11.norm1.weight"],
        "blocks.1.scale.gamma": theirs["blocks.1.gamma_1"],
        "blocks.1.mix.first.weight": theirs["blocks.1.attn.qkv_pos.0.weight"],
        "blocks.1.mix.gate.expand.bias": theirs["blocks.1.attn.qkv_pos.4.conv_expand.bias"],
        "blocks.1.mix.last.weight": theirs["blocks.1.attn.qkv_pos.5.weight"],
        f"{look}.mix.kv.weight": torch.cat([theirs[f"{token}.attn.k.weight"], theirs[f"{token}.attn.v.weight"]]),
        f"{look}.mix.q.bias": theirs[f"{token}.attn.q.bias"],
        f"{look}.norm.bias": theirs[f"{token}.norm1.bias"],
        "neck.stage.layers.0.mlp.norm.bias": theirs[f"{token}.norm2.bias"],
        "neck.stage.layers.0.mlp.scale.gamma": theirs[f"{token}.gamma_2"],
        "neck.norm.weight": theirs["norm.weight"],
    }
    if tokens == "per_class":  # in the order of the classes: the tenth is not after the first
        expected["head.weight"] = torch.cat([theirs[f"head.{k}.weight"] for k in range(classes)])
        expected["head.bias"] = torch.cat([theirs[f"head.{k}.bias"] for k in range(classes)])
    for name, value in expected.items():
        assert torch.equal(ours[name], value), name


def test_batch_norms_statistics_come_along() -> None:
    model = backbone(PatchConvNet(**SMALL, norm="batch_norm"))
    names = {f"blocks.2.norm1.{name}": torch.ones(24) for name in ("running_mean", "running_var")}
    assert translate(names, model).keys() == {"blocks.2.norm.running_mean", "blocks.2.norm.running_var"}
    assert translate(names, model).keys() <= model.state_dict().keys()
