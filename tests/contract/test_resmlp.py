"""ResMLP: the contract over its variants, its parts, parity with timm, and the published parameter counts."""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations
from typing import Any, ClassVar

import pytest
import timm
import torch
from timm.models.mlp_mixer import Affine as TimmAffine
from timm.models.mlp_mixer import MixerBlock, MlpMixer, ResBlock
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.models import Backbone, build, parameter_count
from interplay.models.parts.communication import (
    LinearOverPatches,
    MlpOverPatches,
    OnGrid,
    PatchesToToken,
    conv3x3,
    depthwise3x3,
    separable3x3,
)
from interplay.models.parts.resize import resize_grid, resize_inputs, resize_map, resize_outputs
from interplay.models.pretrained import translate
from interplay.recipe import AveragePool, ClassMlp, Fixup, LayerScale, NoScale, ResMLP, ScalarScale, TFixup
from tests.contract.contract import CLASSES, SIDE, ModelContract, check_parity, images, two_blocks

DEPTH, WIDTH, PATCHES = 3, 24, 16
SMALL: dict[str, Any] = {"patch_size": 8, "width": WIDTH, "depth": DEPTH, "mlp_ratio": 2.0, "init_std": 0.2}

LINEAR = PATCHES * PATCHES + PATCHES
MLP = 2 * (2 * WIDTH * WIDTH) + 2 * WIDTH + WIDTH


def counted(communication: int = LINEAR, *, norm: int = 2 * WIDTH, scale: int = WIDTH) -> int:
    """Parameters of a small model: stem, two branches a block, last norm, head."""
    stem, head = 3 * 8 * 8 * WIDTH + WIDTH, WIDTH * CLASSES + CLASSES
    return stem + DEPTH * (communication + MLP + 2 * (norm + scale)) + norm + head


class TracedElsewhere(ModelContract):
    """Compiling takes seconds: once for each kind of part is enough, and other variants have this one's."""

    def test_compiled_equals_eager(self) -> None:
        pytest.skip("its parts are traced in other variants")


class TestResMLP(ModelContract):
    make = ResMLP(**SMALL)
    parameters = counted()


# -------------------------------------------------------------------------------------- communication
class TestBagOfPatches(TracedElsewhere):
    make = ResMLP(**SMALL, communication="none")
    parameters = counted(0) - DEPTH * (2 * WIDTH + WIDTH)  # its norm and scale are gone as well


class TestMlpOverPatches(ModelContract):
    make = ResMLP(**SMALL, communication="mlp")
    parameters = counted(2 * PATCHES * 4 * PATCHES + 4 * PATCHES + PATCHES)

    @torch.no_grad()
    def test_it_learns_of_another_size(self) -> None:
        """Its hidden units stay, so it does not get the shapes of a model built for that size."""
        model = self.model().eval()
        assert isinstance(model, Backbone)
        model.set_image_size(2 * SIDE)
        assert model(images(2, 2 * SIDE)).isfinite().all()
        assert model.get_parameter("blocks.0.patches.mix.fc1.weight").shape == (4 * PATCHES, 4 * PATCHES)
        with pytest.raises(RuntimeError, match="size mismatch"):
            model.load_state_dict(self.model(side=2 * SIDE).state_dict())


class TestConv(TracedElsewhere):
    make = ResMLP(**SMALL, communication="conv3x3")
    parameters = counted(9 * WIDTH * WIDTH + WIDTH)


class TestDepthwise(TracedElsewhere):
    make = ResMLP(**SMALL, communication="depthwise3x3")
    parameters = counted(9 * WIDTH + WIDTH)


class TestSeparable(ModelContract):
    make = ResMLP(**SMALL, communication="separable3x3")
    parameters = counted(9 * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH)


# ----------------------------------------------------------------------------- norms, pooling, places
class TestLayerNorm(TracedElsewhere):
    make = ResMLP(**SMALL, norm="layer_norm")
    parameters = TestResMLP.parameters


class TestPostNorm(ModelContract):
    make = ResMLP(**SMALL, norm_position="post", norm="layer_norm")
    parameters = TestResMLP.parameters


class TestNoNorm(TracedElsewhere):
    make = ResMLP(**SMALL, norm_position="none")
    parameters = counted(norm=0)


class TestClassMlp(ModelContract):
    make = ResMLP(**SMALL, pool=ClassMlp())
    parameters = counted() + WIDTH + 2 * (PATCHES + 1 + MLP + 2 * (2 * WIDTH + WIDTH))


class TestPosition(TracedElsewhere):
    make = ResMLP(**SMALL, position="patches")
    parameters = counted() + PATCHES * WIDTH


class TestRelu(TracedElsewhere):
    make = ResMLP(**SMALL, activation="relu", drop_path_rule="linear")
    parameters = TestResMLP.parameters


# ------------------------------------------------------------------------------------ residual scaling
class TestNoScale(TracedElsewhere):
    make = ResMLP(**SMALL, scale=NoScale())
    parameters = counted(scale=0)


class TestUniformScale(TracedElsewhere):
    make = ResMLP(**SMALL, scale=LayerScale(init=0.1, spread="uniform"))
    parameters = TestResMLP.parameters


class TestScalarScale(TracedElsewhere):
    make = ResMLP(**SMALL, scale=ScalarScale(init=0.1))
    parameters = counted(scale=1)


class TestTFixup(TracedElsewhere):
    make = ResMLP(**SMALL, scale=TFixup(), position="patches")
    parameters = counted(scale=1) + PATCHES * WIDTH


class StartsClosed(ModelContract):
    """Branches give 0 at the start, so the first gradient reaches only what opens them, not what is inside."""

    opens: ClassVar[tuple[str, ...]]

    def test_the_gradient_reaches_every_parameter(self) -> None:
        model = self.model()
        first = alive(model)
        blocks = {name for name, _ in model.named_parameters() if name.startswith("blocks.")}
        assert first & blocks == {name for name in blocks if name.endswith(self.opens)}
        assert {name for name, _ in model.named_parameters()} - blocks <= first
        torch.optim.SGD(model.parameters(), lr=0.1).step()
        assert alive(model) == {name for name, _ in model.named_parameters()}

    @torch.no_grad()
    def test_drop_path_acts_in_training_only(self) -> None:
        """There is nothing to drop at the start; it is opened by hand."""
        dropping, plain, x = self.model(drop_path=0.9), self.model(drop_path=0.0), images(16)
        torch.testing.assert_close(dropping.train()(x), plain.train()(x))
        for model in (dropping, plain):
            for parameter in model.parameters():
                parameter.add_(0.1)
        torch.testing.assert_close(dropping.eval()(x), plain.eval()(x))
        assert not torch.equal(dropping.train()(x), plain.train()(x))


class TestReZero(StartsClosed, TracedElsewhere):
    make = ResMLP(**SMALL, scale=ScalarScale(init=0.0))
    parameters = TestScalarScale.parameters
    opens = ("scale.gamma",)


class TestFixup(StartsClosed, TracedElsewhere):
    make = ResMLP(**SMALL, scale=Fixup())
    parameters = counted(scale=3)
    opens = ("patches.mix.1.weight", "patches.mix.1.bias", "fc2.weight", "fc2.bias", "scale.bias")


class TestFixupOfConvolutions(StartsClosed):
    make = ResMLP(**SMALL, scale=Fixup(), communication="separable3x3", norm_position="none")
    parameters = counted(9 * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH, scale=3, norm=0)
    opens = ("conv.1.weight", "conv.1.bias", "fc2.weight", "fc2.bias", "scale.bias")


def alive(model: nn.Module) -> set[str]:
    """Names of the parameters that get a gradient."""
    model.zero_grad()
    F.cross_entropy(model(images()), torch.arange(4)).backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


# ---------------------------------------------------------------------------------------------- parts
CONVOLUTIONS = [conv3x3, depthwise3x3, separable3x3]


@pytest.mark.parametrize("make", CONVOLUTIONS)
@torch.no_grad()
def test_convolutions_see_patches_as_the_map_they_are(make: Any) -> None:
    """Row by row, on a grid whose sides differ."""
    part = make(5, (2, 3))
    x_BDhw = images_of(4, 5, 2, 3)
    x_BND = x_BDhw.flatten(2).transpose(1, 2)
    torch.testing.assert_close(part(x_BND), part.conv(x_BDhw).flatten(2).transpose(1, 2))
    part.set_grid((3, 2))
    assert not torch.equal(part(x_BND), part.conv(x_BDhw).flatten(2).transpose(1, 2))


@torch.no_grad()
def test_a_depthwise_convolution_keeps_channels_apart() -> None:
    x_BND = images_of(1, 6, 3)
    other_BND = x_BND.clone()
    other_BND[..., 1] += 1
    changed = (depthwise3x3_seeded()(x_BND) != depthwise3x3_seeded()(other_BND)).any(dim=1)[0]
    assert changed.tolist() == [False, True, False]


def depthwise3x3_seeded() -> OnGrid:
    torch.manual_seed(0)
    return depthwise3x3(3, (2, 3))


@torch.no_grad()
def test_class_mlp_reads_patches_and_leaves_them() -> None:
    part = PatchesToToken((2, 3))
    token_B1D, x_BND = images_of(2, 1, 5), images_of(2, 6, 5)
    expected = torch.einsum("n,bnd->bd", part.weight[0], x_BND) + part.bias
    torch.testing.assert_close(part(token_B1D, x_BND)[:, 0], expected)
    model = build(ResMLP(**SMALL, pool=ClassMlp()), classes=CLASSES, image_size=SIDE)
    assert isinstance(model, Backbone)
    stage, patches = model.get_submodule("neck.0"), images_of(2, PATCHES, WIDTH)
    out = stage(patches)
    assert out.shape == (2, 1 + PATCHES, WIDTH)
    assert torch.equal(out[:, 1:], patches)


def images_of(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_weights_start_as_the_authors_do() -> None:
    model = build(ResMLP(width=192, depth=1, communication="separable3x3"), classes=CLASSES, image_size=64)
    fc1 = model.get_submodule("blocks.0.channels.mix.fc1")
    assert fc1.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert not fc1.bias.any()
    conv = model.get_submodule("blocks.0.patches.mix.conv.0")  # torch's own
    assert conv.weight.abs().max().item() == pytest.approx(1 / 3, rel=0.02)
    linear = build(ResMLP(width=24, depth=1), classes=CLASSES, image_size=224).get_submodule("blocks.0.patches.mix")
    assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize(("rule", "expected"), [("uniform", [0.2, 0.2, 0.2]), ("linear", [0.0, 0.1, 0.2])])
def test_drop_path_is_the_same_in_both_branches(rule: Any, expected: list[float]) -> None:
    model = build(ResMLP(**SMALL, drop_path=0.2, drop_path_rule=rule), classes=2, image_size=8)
    for branch in ("patches", "channels"):
        drops = [model.get_submodule(f"blocks.{i}.{branch}.drop_path") for i in range(DEPTH)]
        assert [getattr(drop, "rate", 0.0) for drop in drops] == pytest.approx(expected)


def test_no_two_recipes_look_the_same() -> None:
    changes: list[dict[str, Any]] = [
        {},
        *({"communication": c} for c in ("none", "mlp", "conv3x3", "depthwise3x3", "separable3x3")),
        *({"activation": a} for a in ("relu", "silu", "hardswish")),
        {"communication": "mlp", "activation": "relu"},
        {"norm": "layer_norm"},
        {"norm_position": "post"},
        {"norm_position": "none"},
        {"position": "patches"},
        {"pool": ClassMlp()},
        {"pool": ClassMlp(depth=1)},
        *({"scale": s} for s in (NoScale(), LayerScale(init=0.2), ScalarScale(), Fixup(), TFixup())),
        {"scale": LayerScale(init=0.1, spread="uniform")},
        {"drop_path": 0.1},
        {"drop_path": 0.1, "drop_path_rule": "linear"},
        {"init_std": 0.1},
    ]
    looks = [looks_of(build(ResMLP(**{**SMALL, **c}), classes=CLASSES, image_size=SIDE)) for c in changes]
    same = [(a, b) for (a, x), (b, y) in combinations(zip(changes, looks, strict=True), 2) if x == y]
    assert not same


def looks_of(model: nn.Module) -> tuple[str, dict[str, Any]]:
    return repr(model), {name: p.shape for name, p in model.named_parameters()}


# ------------------------------------------------------------------------------- Fixup's starting values
def test_fixup_of_one_layer_starts_at_zero() -> None:
    model = build(ResMLP(**SMALL, scale=Fixup()), classes=2, image_size=SIDE)
    assert not model.get_parameter("blocks.1.patches.mix.1.weight").any()
    assert not model.get_parameter("blocks.1.channels.mix.1.fc2.weight").any()


@pytest.mark.parametrize("pool", [AveragePool(), ClassMlp()], ids=repr)
@pytest.mark.parametrize("change", [{}, {"norm_position": "none"}, {"norm": "layer_norm"}], ids=str)
def test_fixup_has_a_bias_behind_a_branch_unless_layer_norm_takes_it_out(change: Any, pool: Any) -> None:
    """Affine does not: to it, the same number on all channels is a number like any other."""
    model = build(ResMLP(**SMALL, scale=Fixup(), pool=pool, **change), classes=2, image_size=SIDE)
    names = [name for name, _ in model.named_parameters() if name.endswith("scale.bias")]
    branches = 2 * DEPTH + (4 if isinstance(pool, ClassMlp) else 0)
    assert len(names) == (0 if change.get("norm") == "layer_norm" else branches)


def test_fixup_scales_the_first_of_two_convolutions() -> None:
    make = partial(ResMLP, **SMALL, communication="separable3x3")
    plain, fixed = (build(make(scale=s), classes=2, image_size=SIDE) for s in (ScalarScale(), Fixup()))
    first = fixed.get_parameter("blocks.1.patches.mix.1.conv.0.weight")
    torch.testing.assert_close(first, plain.get_parameter("blocks.1.patches.mix.conv.0.weight") * (2 * DEPTH) ** -0.5)
    assert not fixed.get_parameter("blocks.1.patches.mix.1.conv.1.weight").any()
    biases = [p for n, p in fixed.named_parameters() if n.startswith("blocks.") and n.endswith("bias")]
    assert biases
    assert not any(p.any() for p in biases)


@pytest.mark.parametrize(
    ("communication", "layer", "fans"),
    [
        ("linear", "", 2 * PATCHES),
        ("conv3x3", ".conv", 9 * 2 * 96),
        ("depthwise3x3", ".conv", 9 * 2),  # of one channel, not of all
        ("mlp", ".fc1", 5 * PATCHES),
    ],
)
def test_t_fixup_starts_by_xaviers_rule(communication: Any, layer: str, fans: int) -> None:
    recipe = ResMLP(**{**SMALL, "width": 96}, communication=communication, scale=TFixup())
    model = build(recipe, classes=2, image_size=SIDE)
    mix = model.get_submodule(f"blocks.0.patches.mix{layer}")
    bound = 0.67 * DEPTH**-0.25 * math.sqrt(6 / fans)
    assert bound >= mix.weight.abs().max().item() > 0.97 * bound
    assert not mix.bias.any()


# -------------------------------------------------------------------------------------- another grid
GRIDS = [((4, 4), (8, 8)), ((4, 4), (7, 6)), ((8, 8), (4, 4)), ((3, 5), (5, 3)), ((4, 4), (1, 1)), ((1, 1), (3, 3))]


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_a_resized_map_keeps_the_sum_of_its_inputs(old: tuple[int, int], new: tuple[int, int]) -> None:
    weight_NN = images_of(math.prod(old), math.prod(old))
    found = resize_map(weight_NN, old, new)
    assert found.shape == (math.prod(new), math.prod(new))
    sums = resize_outputs(weight_NN.sum(dim=1, keepdim=True), old, new)[:, 0]
    torch.testing.assert_close(found.sum(dim=1), sums, rtol=1e-4, atol=1e-4)
    rows = resize_inputs(weight_NN[:3], old, new)
    torch.testing.assert_close(rows.sum(dim=1), weight_NN[:3].sum(dim=1), rtol=1e-4, atol=1e-4)
    assert torch.equal(resize_map(weight_NN, old, old), weight_NN)


@pytest.mark.parametrize(("old", "new"), [((7, 7), (14, 14)), ((7, 7), (10, 9)), ((14, 14), (7, 7))])
def test_a_resized_map_does_the_same_to_a_smooth_image(old: tuple[int, int], new: tuple[int, int]) -> None:
    """The map blurs; the image is one wave. What it gives on the new grid is what it gave, interpolated."""
    places = grid_places(old)
    weight_NN = torch.softmax(-(torch.cdist(places, places) * 5).square(), dim=1)
    expected = resize_grid((weight_NN @ wave(old))[None], old, new)[0]
    found = resize_map(weight_NN, old, new) @ wave(new)
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()


def grid_places(grid: tuple[int, int]) -> Tensor:
    """Middles of the patches in an image of side 1: [h w, 2]."""
    rows, columns = ((torch.arange(n) + 0.5) / n for n in grid)
    return torch.cartesian_prod(rows, columns)


def wave(grid: tuple[int, int]) -> Tensor:
    return torch.cos(grid_places(grid) @ torch.tensor([[math.pi], [2.0]]))


@pytest.mark.parametrize("make", [LinearOverPatches, MlpOverPatches, PatchesToToken], ids=lambda m: m.__name__)
@torch.no_grad()
def test_outputs_keep_their_size_on_another_grid(make: Any) -> None:
    """An image of one colour gives one with the outputs it gave, between its places."""
    torch.manual_seed(0)
    part = make((4, 4))
    for parameter in part.parameters():
        nn.init.normal_(parameter)
        parameter.requires_grad_(False)
    token = torch.zeros(1, 1, 2)

    def outputs(side: int) -> Tensor:
        x_BND = torch.ones(1, side * side, 2)
        out: Tensor = part(token, x_BND) if make is PatchesToToken else part(x_BND)
        return out

    before = outputs(4)
    part.set_grid((6, 6))
    expected = before if make is PatchesToToken else resize_grid(before, (4, 4), (6, 6))
    torch.testing.assert_close(outputs(6), expected, rtol=1e-4, atol=1e-4)
    assert "grid=(6, 6)" in repr(part)
    assert "in_features=36" in repr(part)
    assert not any(parameter.requires_grad for parameter in part.parameters())  # what was frozen stays so


# --------------------------------------------------------------------------------------------- parity
def timm_model(name: str) -> nn.Module:
    built: nn.Module = timm.create_model(name, img_size=SIDE, num_classes=CLASSES)
    return built


def timm_mixer(**changes: Any) -> nn.Module:
    """timm's class for this family, small."""
    options: dict[str, Any] = {"block_layer": ResBlock, "norm_layer": TimmAffine, "mlp_ratio": 2.0, **changes}
    return MlpMixer(CLASSES, SIDE, patch_size=8, num_blocks=DEPTH, embed_dim=WIDTH, **options)


PARITY: dict[str, tuple[Any, ResMLP]] = {
    "resmlp_12_224": (lambda: timm_model("resmlp_12_224"), ResMLP()),
    "resmlp_24_224": (lambda: timm_model("resmlp_24_224"), ResMLP(depth=24, scale=LayerScale(init=1e-5))),
    "resmlp_36_224": (lambda: timm_model("resmlp_36_224"), ResMLP(depth=36, scale=LayerScale(init=1e-6))),
    "resmlp_big_24_224": (
        lambda: two_blocks(timm_model("resmlp_big_24_224")),
        ResMLP(patch_size=8, width=768, depth=2, scale=LayerScale(init=1e-6)),
    ),
    "small": (timm_mixer, ResMLP(**SMALL)),
    "relu": (lambda: timm_mixer(act_layer=nn.ReLU), ResMLP(**SMALL, activation="relu")),
    "layer norm": (
        lambda: timm_mixer(norm_layer=partial(nn.LayerNorm, eps=1e-6)),
        ResMLP(**SMALL, norm="layer_norm"),
    ),
    "MLP-Mixer": (  # its MLP over patches with the hidden width of ours
        lambda: timm_mixer(
            block_layer=MixerBlock,
            mlp_ratio=(4 * PATCHES / WIDTH, 2.0),
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
        ),
        ResMLP(**SMALL, communication="mlp", norm="layer_norm", scale=NoScale()),
    ),
}


LARGE = {"resmlp_24_224", "resmlp_36_224", "resmlp_big_24_224"}


@pytest.mark.parametrize(
    ("reference", "recipe"),
    [pytest.param(*v, id=k, marks=[pytest.mark.slow] if k in LARGE else []) for k, v in PARITY.items()],
)
def test_timm_weights_give_timm_outputs_and_gradients(reference: Any, recipe: ResMLP) -> None:
    check_parity(reference(), recipe)


def authors_state(width: int, depth: int, patch: int) -> dict[str, Tensor]:
    """Names and shapes of the authors' checkpoints, `resmlp_12_no_dist.pth` and so on."""
    places = (224 // patch) ** 2
    block = {
        "norm1.alpha": (width,),
        "norm1.beta": (width,),
        "attn.weight": (places, places),
        "attn.bias": (places,),
        "norm2.alpha": (width,),
        "norm2.beta": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
        "gamma_1": (width,),
        "gamma_2": (width,),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
        **{f"blocks.{i}.{name}": shape for i in range(depth) for name, shape in block.items()},
        "norm.alpha": (width,),
        "norm.beta": (width,),
        "head.weight": (1000, width),
        "head.bias": (1000,),
    }
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "recipe",
    [ResMLP(), ResMLP(depth=24), ResMLP(depth=36), ResMLP(width=768, depth=24, patch_size=8)],
    ids=["resmlp_12", "resmlp_24", "resmlp_36", "resmlpB_24"],
)
def test_the_authors_names_are_known(recipe: ResMLP) -> None:
    model = on_meta(recipe)
    assert isinstance(model, Backbone)
    found = translate(authors_state(recipe.width, recipe.depth, recipe.patch_size), model)
    expected = model.state_dict()
    assert {name: v.shape for name, v in found.items()} == {name: v.shape for name, v in expected.items()}


# ------------------------------------------------------------------------------------ published sizes
S12, S24, S36 = ResMLP(), ResMLP(depth=24), ResMLP(depth=36)
B24, B24_P8 = ResMLP(width=768, depth=24), ResMLP(width=768, depth=24, patch_size=8)

# millions, as printed in the thesis (T4.1, T4.3)
PRINTED: dict[str, tuple[ResMLP, float]] = {
    "resmlp_s12": (S12, 15.4),
    "resmlp_s24": (S24, 30.0),
    "resmlp_b24": (B24, 115.7),
    "resmlp_b24_p8": (B24_P8, 129.1),
    "resmlp_s12_p14": (ResMLP(patch_size=14), 15.6),
    "resmlp_s12_p8": (ResMLP(patch_size=8), 22.1),
    "resmlp_s12_layernorm": (ResMLP(norm="layer_norm"), 15.4),
    "resmlp_s12_class_mlp": (ResMLP(pool=ClassMlp()), 17.7),
    "resmlp_s12_comm_none": (ResMLP(communication="none"), 14.9),
    "resmlp_s12_comm_mlp": (ResMLP(communication="mlp"), 18.6),
    "resmlp_s12_comm_conv3x3": (ResMLP(communication="conv3x3"), 30.8),
    "resmlp_s12_comm_dwconv3x3": (ResMLP(communication="depthwise3x3"), 14.9),
    "resmlp_s12_comm_sepconv3x3": (ResMLP(communication="separable3x3"), 16.7),
}

# millions, counted with timm or its classes
REFERENCE: dict[str, tuple[ResMLP, float]] = {
    "resmlp_s12": (S12, 15.351),
    "resmlp_s24": (S24, 30.021),
    "resmlp_s36": (S36, 44.690),
    "resmlp_b24": (B24, 115.737),
    "resmlp_b24_p8": (B24_P8, 129.138),
    "resmlp_s12_p14": (ResMLP(patch_size=14), 15.608),
    "resmlp_s12_p8": (ResMLP(patch_size=8), 22.052),
}


def on_meta(recipe: ResMLP) -> nn.Module:
    """The model for ImageNet without memory for its weights."""
    with torch.device("meta"):
        return build(recipe, classes=1000, image_size=224)


@pytest.mark.parametrize(("recipe", "millions"), PRINTED.values(), ids=PRINTED.keys())
def test_parameters_are_as_printed(recipe: ResMLP, millions: float) -> None:
    assert round(parameter_count(on_meta(recipe)) / 1e6, 1) == millions


@pytest.mark.parametrize(("recipe", "millions"), REFERENCE.values(), ids=REFERENCE.keys())
def test_parameters_are_as_counted_elsewhere(recipe: ResMLP, millions: float) -> None:
    assert round(parameter_count(on_meta(recipe)) / 1e6, 3) == millions


@pytest.mark.parametrize("recipe", [ResMLP(activation=a) for a in ("relu", "silu", "hardswish")], ids=repr)
def test_what_has_no_parameters_changes_no_count(recipe: ResMLP) -> None:
    assert parameter_count(on_meta(recipe)) == parameter_count(on_meta(S12))


def test_post_norm_and_positions_cost_what_they_are() -> None:
    base = parameter_count(on_meta(S12))
    assert parameter_count(on_meta(ResMLP(norm_position="post"))) == base
    assert parameter_count(on_meta(ResMLP(position="patches"))) == base + 196 * 384
