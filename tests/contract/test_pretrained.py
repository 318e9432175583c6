"""Files of weights, as timm, the authors and we write them, into our models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.errors import InterplayError
from interplay.models import build
from interplay.models.counts import node
from interplay.models.parts.resize import resize_grid
from interplay.models.pretrained import load_pretrained, translate
from interplay.recipe import (
    AttentionPool,
    AveragePool,
    ClassAttention,
    ClassMlp,
    LayerScale,
    Model,
    PatchConvNet,
    PooledConvNet,
    Recipe,
    ResMLP,
    ViT,
)
from interplay.training import checkpoint
from tests.contract.contract import CLASSES, assert_equal, images
from tests.contract.weights import SMALL, TINY, assert_untouched, ours, state_of

DEIT = ViT(width=192, heads=3)
DISTILLED = ViT(width=192, heads=3, second_token="distillation")
DEIT3 = ViT(position="patches", scale=LayerScale(init=1e-4), drop_path_rule="uniform")
CAIT = ViT(
    width=192,
    depth=24,
    heads=4,
    talking_heads=True,
    pool=ClassAttention(),
    position="patches",
    scale=LayerScale(init=1e-5),
    drop_path_rule="uniform",
)
CASES: dict[str, tuple[str, Model]] = {
    "deit": ("deit_tiny_patch16_224", DEIT),
    "distilled": ("deit_tiny_distilled_patch16_224", DISTILLED),
    "deit3": ("deit3_small_patch16_224", DEIT3),
    "cait": ("cait_xxs24_224", CAIT),
    "resmlp": ("resmlp_12_224", ResMLP(scale=LayerScale(init=0.1))),
}


@pytest.fixture(scope="module")
def theirs() -> dict[str, nn.Module]:
    """timm's models, in float64, with weights that would show a mistake: no zeros, LayerScale not near 0."""
    found = {}
    for case, (name, _) in CASES.items():
        torch.manual_seed(0)
        model = timm.create_model(name, img_size=32, num_classes=CLASSES).double().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
        found[case] = model
    return found


# --------------------------------------------------------------------------------------------- parity
@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("case", CASES)
def test_a_file_of_timm_gives_timms_outputs(
    case: str, suffix: str, theirs: dict[str, nn.Module], tmp_path: Path
) -> None:
    path, reference = tmp_path / f"weights{suffix}", theirs[case]
    if suffix == ".pth":
        torch.save({"model": reference.state_dict(), "args": argparse.Namespace(lr=1)}, path)
    else:
        safetensors.torch.save_file(reference.state_dict(), path)
    model = ours(CASES[case][1]).double()
    loaded = load_pretrained(model, path)
    x = images(2).double()
    assert_equal(model(x), reference(x), case)
    assert (loaded.path, loaded.key) == (path, "model" if suffix == ".pth" else "")
    assert loaded.missing == loaded.unexpected == loaded.replaced == ()
    assert loaded.image_size_from == 32


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("side", [48, 64])
@pytest.mark.parametrize("case", CASES)
def test_other_classes_and_another_image_size(
    case: str, side: int, theirs: dict[str, nn.Module], tmp_path: Path
) -> None:
    path, reference = tmp_path / "weights.pth", theirs[case]
    torch.save(reference.state_dict(), path)
    model = ours(CASES[case][1], side=side, classes=10)
    head = {name: value.clone() for name, value in model.state_dict().items() if name.startswith("head.")}
    parameters = list(map(id, model.parameters()))
    loaded = load_pretrained(model, path)

    assert loaded.image_size_from == 32
    assert set(loaded.replaced) == head.keys()
    assert loaded.missing == loaded.unexpected == ()
    now = model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in head.items())
    assert model.image_size == side
    assert list(map(id, model.parameters())) == parameters, "an optimiser would hold others"
    assert model(images(2, side)).isfinite().all()

    # as if the model had been of the file's size first
    other = ours(CASES[case][1])
    load_pretrained(other, path)
    other.set_image_size(side)
    expected = other.state_dict()
    for name, value in now.items():
        if name not in head:
            assert torch.equal(value, expected[name]), name


def test_position_embeddings_keep_their_norm(tmp_path: Path) -> None:
    """Of vectors that change from place to place, those between are longer if the curve is followed."""
    torch.manual_seed(0)
    small = ours(TINY, side=64)
    coarse = F.interpolate(torch.randn(1, 24, 4, 4), size=(8, 8), mode="bicubic", align_corners=False)
    with torch.no_grad():
        small.get_parameter("stem.position.pos_embed").copy_(coarse.flatten(2).transpose(1, 2))
    torch.save(small.state_dict(), tmp_path / "weights.pt")
    large = ours(TINY, side=128)
    load_pretrained(large, tmp_path / "weights.pt")

    def mean_norm(x_1ND: Tensor) -> float:
        return x_1ND.norm(dim=-1).mean().item()

    before = mean_norm(small.get_parameter("stem.position.pos_embed"))
    bilinear = F.interpolate(coarse, size=(16, 16), mode="bilinear", align_corners=False)
    after, if_bilinear = mean_norm(large.get_parameter("stem.position.pos_embed")), mean_norm(bilinear.flatten(2).mT)
    assert after == pytest.approx(before, rel=0.05)
    assert if_bilinear < after
    assert abs(if_bilinear - before) > abs(after - before)


# ----------------------------------------------------------------------------------------------- ours
@pytest.mark.parametrize(
    "recipe",
    [
        TINY,
        TINY.model_copy(update={"second_token": "distillation"}),
        TINY.model_copy(update={"pool": AveragePool(), "parallel": 2}),
        ResMLP(patch_size=8, width=24, depth=2, pool=ClassMlp(), position="patches"),
        ResMLP(patch_size=8, width=24, depth=2, communication="depthwise3x3"),
        PatchConvNet(width=32, depth=2, norm="batch_norm"),
        PatchConvNet(width=32, depth=2, pool=AttentionPool(tokens="per_class")),
    ],
    ids=["deit", "distilled", "parallel", "class_mlp", "depthwise", "patchconvnet", "per_class"],
)
def test_our_own_checkpoints_are_taken_as_they_are(recipe: Any, tmp_path: Path, tiny: Recipe) -> None:
    trained, path = ours(recipe, seed=1), tmp_path / "last.pt"
    state = {"model": trained.state_dict(), "optimiser": {"state": {}}, "epoch": 3, "metrics": {"val/top1": 0.5}}
    checkpoint.save({**state, "recipe": tiny.model_dump(mode="json"), "classes": CLASSES}, path)
    model = ours(recipe)
    loaded = load_pretrained(model, path)
    assert loaded.key == "model"
    assert_untouched(model, state_of(trained))

    fewer = ours(recipe, classes=CLASSES - 1)
    by_class = set(load_pretrained(fewer, path).replaced)
    depends = {n for n, v in trained.state_dict().items() if v.shape != fewer.state_dict()[n].shape}
    assert by_class == depends
    assert "head.weight" in by_class or "head.first.weight" in by_class


# ---------------------------------------------------------------------------------------------- names
def test_the_authors_names_of_parallel_blocks_are_all_known() -> None:
    recipe = ViT(**SMALL, position="patches", scale=LayerScale(), parallel=2)
    model, width = ours(recipe), 24
    pairs = {"norm1": "norm11", "norm2": "norm21", "attn": "attn1", "mlp": "mlp1", "gamma_1": "gamma_1_1"}
    pairs["gamma_2"] = "gamma_2_1"
    shapes: dict[str, tuple[int, ...]] = {
        "norm1.weight": (width,),
        "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width),
        "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width),
        "attn.proj.bias": (width,),
        "norm2.weight": (width,),
        "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width),
        "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width),
        "mlp.fc2.bias": (width,),
        "gamma_1": (width,),
        "gamma_2": (width,),
    }
    state = {
        "cls_token": torch.zeros(1, 1, width),
        "pos_embed": torch.zeros(1, 16, width),
        "patch_embed.proj.weight": torch.zeros(width, 3, 8, 8),
        "patch_embed.proj.bias": torch.zeros(width),
        "norm.weight": torch.ones(width),
        "norm.bias": torch.zeros(width),
        "head.weight": torch.zeros(CLASSES, width),
        "head.bias": torch.zeros(CLASSES),
    }
    for block in range(2):
        for name, shape in shapes.items():
            first, dot, rest = name.partition(".")
            state[f"blocks.{block}.{name}"] = torch.zeros(shape)
            state[f"blocks.{block}.{pairs[first]}{dot}{rest}"] = torch.ones(shape)
    found = translate(state, model)
    model.load_state_dict(found, strict=True)
    second = {name: value for name, value in found.items() if ".branches.1." in name}
    assert len(second) == 2 * len(shapes)
    assert all((value == 1).all() for value in second.values())
    assert all((value == 0).all() for name, value in found.items() if ".branches.0." in name)


def test_the_pieces_of_a_classifier_are_put_together_in_their_order() -> None:
    recipe = PatchConvNet(width=32, depth=1, pool=AttentionPool(tokens="per_class"))
    model = ours(recipe, classes=12)
    pieces = {f"head.{k}.weight": torch.full((1, 32), float(k)) for k in range(12)}
    assert translate(pieces, model)["head.weight"][:, 0].tolist() == list(range(12))


# --------------------------------------------------------------------------------------------- errors
def test_a_model_that_is_not_ours(tmp_path: Path) -> None:
    other: Any = nn.Linear(2, 2)
    with pytest.raises(InterplayError, match="cannot be loaded into a Linear"):
        load_pretrained(other, tmp_path / "weights.pth")


def changed(**changes: Any) -> ViT:
    return TINY.model_copy(update=changes)


@pytest.mark.parametrize(
    ("trained", "wanted", "sentences"),
    [
        (changed(depth=3), TINY, ["no place for its blocks.2.attn.norm.weight, .* and 9 more;"]),
        (TINY, changed(depth=3), ["it lacks blocks.2.attn.norm.weight, .* and 9 more;"]),
        (changed(width=48), TINY, [r"of another shape is .*\(48 for 24\)"]),
        (changed(patch_size=4), TINY, [r"of another shape is .*stem.patch.proj.weight \(24x3x4x4 for 24x3x8x8\)"]),
        (changed(position="patches"), TINY, ["it lacks blocks.tokens.pos_embed;"]),
        (TINY, changed(position="patches"), ["no place for its blocks.tokens.pos_embed;"]),
        (
            changed(second_token="distillation"),
            TINY,
            [r"of a distilled model \(head.second.weight, .*no second token; build it with model.second_token="],
        ),
        (
            TINY,
            changed(second_token="distillation"),
            [r"of another shape is blocks.tokens.token \(1x1x24 for 1x2x24\)"],
        ),
    ],
    ids=["deeper", "shallower", "wider", "patches", "no place", "place", "distilled", "not distilled"],
)
def test_a_checkpoint_of_another_model(trained: ViT, wanted: ViT, sentences: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(ours(trained, seed=1, side=64).state_dict(), path)
    model = ours(wanted)
    before = state_of(model)
    with pytest.raises(InterplayError) as error:
        load_pretrained(model, path)
    for sentence in [*sentences, "strict=False"]:
        assert error.match(sentence)
    assert_untouched(model, before)


@torch.no_grad()
def test_a_distilled_file_without_its_second_token(theirs: dict[str, nn.Module], tmp_path: Path) -> None:
    path, reference = tmp_path / "weights.pth", theirs["distilled"].state_dict()
    torch.save({"model": reference}, path)
    model = ours(DEIT, side=48)
    with pytest.raises(InterplayError, match=r"distilled model \(dist_token, head_dist.weight, head_dist.bias\)"):
        load_pretrained(model, path)
    loaded = load_pretrained(model, path, strict=False)
    assert set(loaded.unexpected) == {"dist_token", "head_dist.weight", "head_dist.bias", "pos_embed[:, 1:2]"}
    assert loaded.missing == loaded.replaced == ()
    assert loaded.image_size_from == 32
    now = model.state_dict()
    torch.testing.assert_close(now["blocks.tokens.token"].double(), reference["cls_token"])
    torch.testing.assert_close(now["blocks.tokens.pos_embed"].double(), reference["pos_embed"][:, :1])
    places = resize_grid(reference["pos_embed"][:, 2:], (2, 2), (3, 3))
    torch.testing.assert_close(now["stem.position.pos_embed"].double(), places, atol=1e-6, rtol=1e-6)


def test_what_fits_can_be_taken_alone(tmp_path: Path) -> None:
    path, trained = tmp_path / "weights.pth", ours(changed(depth=3), seed=1)
    torch.save({f"module.{name}": value for name, value in trained.state_dict().items()}, path)
    model = ours(changed(position="patches", mlp_ratio=2.0))
    before = state_of(model)
    loaded = load_pretrained(model, path, strict=False)
    wrong = {f"blocks.{i}.mlp.mix.{n}" for i in range(2) for n in ("fc1.weight", "fc1.bias", "fc2.weight")}
    assert set(loaded.missing) == wrong
    third = {f"module.{n}" for n in trained.state_dict() if n.startswith("blocks.2.")}
    assert set(loaded.unexpected) == {f"module.{n}" for n in wrong} | third | {"module.blocks.tokens.pos_embed"}
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name] if name in wrong else trained.state_dict()[name]), name


def test_a_trunk_of_timm_alone(tmp_path: Path) -> None:
    path, reference = tmp_path / "weights.pth", timm.create_model("test_resnet")
    torch.save(reference.state_dict(), path)
    model = ours(PooledConvNet(trunk="test_resnet"))
    loaded = load_pretrained(model, path, strict=False)
    assert {name.partition(".")[0] for name in loaded.missing} == {"neck", "head"}
    assert loaded.unexpected == ("fc.weight", "fc.bias")
    trunk = model.get_submodule("blocks.0.trunk").state_dict()
    assert trunk.keys() | {"fc.weight", "fc.bias"} == reference.state_dict().keys()
    assert all(torch.equal(value, reference.state_dict()[name]) for name, value in trunk.items())


def test_a_file_without_a_classifier_leaves_the_models_own(tmp_path: Path) -> None:
    path, trained = tmp_path / "weights.pth", ours(TINY, seed=1)
    torch.save({n: v for n, v in trained.state_dict().items() if not n.startswith("head.")}, path)
    model = ours(TINY)
    head = state_of(model.head)
    assert load_pretrained(model, path).missing == ("head.weight", "head.bias")
    assert all(torch.equal(value, head[name]) for name, value in model.head.state_dict().items())

    torch.save(trained.state_dict(), path)
    model.reset_classifier(0)
    assert load_pretrained(model, path).unexpected == ("head.weight", "head.bias")


def test_frozen_parameters_and_precision_stay(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(ours(TINY, side=64, seed=1).state_dict(), path)
    model = ours(TINY).to(torch.bfloat16)
    model.get_parameter("stem.position.pos_embed").requires_grad_(False)
    load_pretrained(model, path)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["stem.position.pos_embed"]


def test_one_token_is_where_tokens_of_each_class_start(tmp_path: Path) -> None:
    single = build(node("patchconvnet_s60").model_copy(update={"width": 16, "depth": 2}), classes=5, image_size=32)
    several = build(
        node("patchconvnet_s60_multi").model_copy(update={"width": 16, "depth": 2}), classes=5, image_size=32
    )
    torch.save(single.state_dict(), tmp_path / "single.pt")
    load_pretrained(several, tmp_path / "single.pt")
    token = several.state_dict()["neck.stage.token"]
    assert token.shape[1] == 5
    assert torch.equal(token, single.state_dict()["neck.stage.token"].expand_as(token))
