"""Explanations of models against slow references in double precision."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.explain import (
    branch_ratios,
    branch_scales,
    neighbours_map,
    patch_rows,
    pca_energy,
    rollout,
    self_attention,
    sparsity,
    token_attention,
    token_similarity,
)
from interplay.explain.attention import attention_weights
from interplay.explain.catalogue import EXPLANATIONS
from interplay.explain.figures.maps import saliency
from interplay.explain.making import choose
from interplay.explain.patches import small_share
from interplay.models.attention_pool import attention_maps
from interplay.models.backbone import Backbone
from interplay.models.parts.attention import Attention, TalkingHeads
from interplay.recipe import Recipe
from tests.unit.explained import images, model


def reference_weights(module: Attention, x: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(d)) of one image and one head after the other, from the weights, in float64."""
    weight, bias = module.qkv.weight.double(), module.qkv.bias.double()
    width = x.shape[-1]
    size = width // module.heads
    batch = []
    for tokens in x.double():
        heads = []
        for head in range(module.heads):
            rows = slice(head * size, (head + 1) * size)
            q = tokens @ weight[:width][rows].T + bias[:width][rows]
            k = tokens @ weight[width : 2 * width][rows].T + bias[width : 2 * width][rows]
            heads.append(q @ k.T / size**0.5)
        logits = torch.stack(heads)
        if isinstance(module, TalkingHeads):
            logits = torch.stack([sum_over(module.before, logits, head) for head in range(module.heads)])
        weights = torch.stack([torch.exp(m - m.max()) / torch.exp(m - m.max()).sum(-1, True) for m in logits])
        if isinstance(module, TalkingHeads):
            weights = torch.stack([sum_over(module.after, weights, head) for head in range(module.heads)])
        batch.append(weights)
    return torch.stack(batch)


def sum_over(linear: nn.Linear, maps: Tensor, head: int) -> Tensor:
    weight, bias = linear.weight.double(), linear.bias.double()
    total = torch.zeros_like(maps[0]) + bias[head]
    for other in range(len(maps)):
        total = total + weight[head, other] * maps[other]
    return total


def tokens_before(net: Backbone, x: Tensor, block: int) -> Tensor:
    """What the attention of a block is given, found by walking through the model."""
    x = net.stem(x)
    for name, module in net.blocks.items():
        if name == str(block):
            return module.get_submodule("attn").norm(x)  # type: ignore[operator, no-any-return]
        x = module(x)
    raise AssertionError(block)


@pytest.mark.parametrize("kind", [Attention, TalkingHeads])
@torch.no_grad()
def test_attention_weights(kind: type[Attention]) -> None:
    torch.manual_seed(0)
    module, x = kind(16, 4), torch.randn(2, 9, 16)
    found = attention_weights(module, x)
    torch.testing.assert_close(found.double(), reference_weights(module, x), atol=1e-6, rtol=1e-6)
    values = module.qkv(x)[..., 32:].view(2, 9, 4, 4).transpose(1, 2)
    torch.testing.assert_close(module.proj((found @ values).transpose(1, 2).flatten(2)), module(x))


@torch.no_grad()
def test_self_attention_is_that_of_each_block(tiny: Recipe) -> None:
    net, x = model(tiny, "vit"), images(tiny, "vit")
    found = self_attention(net, x)
    assert found.shape == (2, 3, 2, 2, 4, 4)
    for block in range(2):
        module = net.get_submodule(f"blocks.{block}.attn.mix")
        assert isinstance(module, Attention)
        expected = reference_weights(module, tokens_before(net, x, block))[:, :, :2, 2:]
        torch.testing.assert_close(found[block].flatten(3).double(), expected, atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_a_token_that_joins_late_has_maps_from_there_on(tiny: Recipe) -> None:
    assert self_attention(model(tiny, "late"), images(tiny, "late")).shape == (1, 3, 2, 1, 4, 4)


@pytest.mark.parametrize(("name", "layers", "tokens"), [("cait", 2, 1), ("patchconvnet", 1, 1), ("per class", 1, 10)])
@torch.no_grad()
def test_token_attention(tiny: Recipe, name: str, layers: int, tokens: int) -> None:
    net, x = model(tiny, name), images(tiny, name)
    found = token_attention(net, x)
    heads = 2 if name == "cait" else 1
    assert found.shape == (layers, 3, heads, tokens, 4, 4)
    torch.testing.assert_close(found[-1], attention_maps(net, x))
    look = next(m for n, m in net.named_modules() if n.endswith("layers.0.look"))
    stage = next(m for m in net.modules() if type(m).__name__ == "TokenStage")
    patches = x
    for part in (net.stem, *net.blocks.values()):
        patches = part(patches)
    patches = patches.flatten(2).transpose(1, 2) if patches.ndim == 4 else patches
    queries, keys = look.queries_and_keys(stage.token.expand(3, -1, -1), patches)
    expected = reference_look(look.mix, queries, keys)[..., -16:]
    torch.testing.assert_close(found[0].flatten(3).double(), expected, atol=1e-6, rtol=1e-4)


def reference_look(module: nn.Module, queries: Tensor, keys: Tensor) -> Tensor:
    heads, width = module.heads, queries.shape[-1]
    size = width // heads
    q = queries.double() @ module.q.weight.double().T + module.q.bias.double()
    k = keys.double() @ module.kv.weight.double()[:width].T + module.kv.bias.double()[:width]
    parts = []
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        logits = q[..., rows] @ k[..., rows].mT / size**0.5
        parts.append(torch.exp(logits) / torch.exp(logits).sum(-1, True))
    return torch.stack(parts, dim=1)


@torch.no_grad()
def test_rollout_is_the_product_of_halved_layers(tiny: Recipe) -> None:
    net, x = model(tiny, "vit"), images(tiny, "vit")
    total = torch.eye(18, dtype=torch.float64)
    for block in range(2):
        module = net.get_submodule(f"blocks.{block}.attn.mix")
        assert isinstance(module, Attention)
        mean = reference_weights(module, tokens_before(net, x, block)).mean(dim=1)
        total = (0.5 * mean + 0.5 * torch.eye(18)) @ total
    found = rollout(net, x)
    assert found.shape == (3, 2, 4, 4)
    torch.testing.assert_close(found.flatten(2).double(), total[:, :2, 2:], atol=1e-6, rtol=1e-4)


@torch.no_grad()
def test_rollout_of_a_mean_sums_to_one(tiny: Recipe) -> None:
    found = rollout(model(tiny, "average"), images(tiny, "average"))
    assert found.shape == (3, 1, 4, 4)
    torch.testing.assert_close(found.sum(dim=(2, 3)), torch.ones(3, 1))


@torch.no_grad()
def test_rollout_with_a_late_token(tiny: Recipe) -> None:
    net, x = model(tiny, "late"), images(tiny, "late")
    found = rollout(net, x)
    first, second = (net.get_submodule(f"blocks.{n}.attn.mix") for n in range(2))
    assert isinstance(first, Attention)
    assert isinstance(second, Attention)
    one = 0.5 * reference_weights(first, tokens_before(net, x, 0)).mean(1) + 0.5 * torch.eye(16)
    two = 0.5 * reference_weights(second, tokens_before(net, x, 1)).mean(1) + 0.5 * torch.eye(17)
    torch.testing.assert_close(found.flatten(2).double(), two[:, :1, 1:] @ one, atol=1e-6, rtol=1e-4)


def test_rows_are_the_weights(tiny: Recipe) -> None:
    net = model(tiny, "resmlp")
    rows = patch_rows(net)
    assert rows.shape == (2, 16, 4, 4)
    weight = net.get_submodule("blocks.1.patches.mix").weight
    torch.testing.assert_close(rows[1, 5], weight[5].view(4, 4).detach(), atol=0.0, rtol=0.0)


def test_sparsity_counts_entries(tiny: Recipe) -> None:
    assert small_share(torch.tensor([[1.0, 0.04], [-0.06, 0.0]])) == 0.5
    found = sparsity(model(tiny, "resmlp"))
    assert found.layers == [0, 1]
    assert {name: len(shares) for name, shares in found.shares.items()} == {"A": 2, "B": 2, "C": 2}
    assert set(sparsity(model(tiny, "mlp over patches")).shares) == {"A1", "A2", "B", "C"}


@torch.no_grad()
def test_ratios_are_of_what_is_added(tiny: Recipe) -> None:
    net, x = model(tiny, "vit").double(), images(tiny, "vit").double()
    found = {ratio.name: ratio for ratio in branch_ratios(net, x)}
    x = net.stem(x)
    for name, block in net.blocks.items():
        for part in block.children() if name.isdigit() else [block]:
            before, x = x, part(x)
            if name.isdigit():
                ratio = ((x - before).norm(dim=-1) / before.norm(dim=-1)).flatten()
                kind = next(n for n, child in block.named_children() if child is part)
                assert found[f"blocks.{name}.{kind}"].mean == pytest.approx(float(ratio.mean()), rel=1e-9)
                assert found[f"blocks.{name}.{kind}"].std == pytest.approx(float(ratio.std(unbiased=False)), rel=1e-9)
    assert [(r.kind, r.depth) for r in found.values()] == [("attention", 0), ("MLP", 0), ("attention", 1), ("MLP", 1)]


@torch.no_grad()
def test_ratios_of_parallel_maps_and_post_norm_branches(tiny: Recipe) -> None:
    net, x = model(tiny, "average").double(), images(tiny, "average").double()
    tokens, both = net.stem(x), net.get_submodule("blocks.0.attn")
    second = both.branches[1]
    added = second.scale.gamma * second.branch(tokens)
    expected = float((added.norm(dim=-1) / tokens.norm(dim=-1)).mean())
    assert {r.name: r.mean for r in branch_ratios(net, x)}["blocks.0.attn.branches.1"] == pytest.approx(expected)

    net, x = model(tiny, "patchconvnet").double(), images(tiny, "patchconvnet").double()
    maps = net.stem(x)
    expected = float(((net.blocks["0"](maps) - maps).norm(dim=1) / maps.norm(dim=1)).mean())
    found = {r.name: r for r in branch_ratios(net, x)}
    assert found["blocks.0"].mean == pytest.approx(expected)
    assert (found["neck.stage.layers.0.look"].kind, found["neck.stage.layers.0.look"].depth) == ("class attention", 2)

    net, x = model(tiny, "post").double(), images(tiny, "post").double()
    first = net.get_submodule("blocks.0.attn")
    x_BND = net.blocks["tokens"](net.stem(x))
    expected = float(((first.scale.gamma * first.mix(x_BND)).norm(dim=-1) / x_BND.norm(dim=-1)).mean())
    assert branch_ratios(net, x)[0].mean == pytest.approx(expected)


def test_scales_are_the_learned_values(tiny: Recipe) -> None:
    net = model(tiny, "cait")
    found = {scale.name: scale for scale in branch_scales(net)}
    for name in ("blocks.1.mlp", "neck.0.layers.1.look"):
        gamma = net.get_submodule(name).scale.gamma
        torch.testing.assert_close(found[name].values, gamma.detach(), atol=0.0, rtol=0.0)
    assert found["blocks.1.mlp"].init == 0.1


@torch.no_grad()
def test_similarity_of_the_two_tokens(tiny: Recipe) -> None:
    net, x = model(tiny, "vit"), images(tiny, "vit")
    found = token_similarity(net, x)
    token = net.get_submodule("blocks.tokens").token[0].double().numpy()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    assert found.learned == pytest.approx(cosine(*token), abs=1e-6)
    assert [name for name, _, _ in found.layers] == ["blocks.0", "blocks.1", "norm"]
    last = net.forward_features(x)[:, :2].double().numpy()
    assert found.layers[-1][1] == pytest.approx(np.mean([cosine(*pair) for pair in last]), abs=1e-6)


def test_energy_of_principal_directions() -> None:
    vectors = torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9) + 100.0
    energy = pca_energy(vectors)
    assert energy.shape == (8,)
    assert energy.sum() == pytest.approx(1.0)
    values = np.linalg.eigvalsh(np.cov(vectors.double().numpy().T))[::-1]
    np.testing.assert_allclose(energy, values / values.sum(), rtol=1e-9)
    assert all(a >= b for a, b in pairwise(energy))
    with pytest.raises(InterplayError, match="are the same"):
        pca_energy(torch.ones(5, 3))


def test_neighbours_stay_together() -> None:
    vectors = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) + 30.0 * (torch.arange(40) % 2)[:, None]
    places = neighbours_map(vectors)
    even, odd = places[::2], places[1::2]
    between = np.linalg.norm(even.mean(0) - odd.mean(0))
    assert max(np.linalg.norm(half - half.mean(0), axis=1).max() for half in (even, odd)) < between / 2
    with pytest.raises(InterplayError, match="at least 4"):
        neighbours_map(vectors[:3])


def test_saliency_weights_the_grey_image() -> None:
    image = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    shown = saliency(image, torch.tensor([[0.1, 0.1], [0.1, 0.3]]))
    assert shown[0, 0] == 0.0
    assert shown[-1, -1] == pytest.approx(1.0)
    np.testing.assert_allclose(saliency(image, torch.ones(2, 2)), 1.0)


APPLY = {
    "vit": "attention rollout branches scales similarity",
    "average": "rollout branches scales",
    "cait": "attention saliency branches scales",
    "resmlp": "rows sparsity branches scales",
    "mlp over patches": "sparsity branches scales",
    "patchconvnet": "attention saliency branches scales",
    "per class": "class-maps branches scales",
}


@pytest.mark.parametrize("name", APPLY)
def test_what_applies_follows_from_the_parts(tiny: Recipe, name: str) -> None:
    net = model(tiny, name)
    assert " ".join(e.name for e in EXPLANATIONS if e.why_not(net) is None) == APPLY[name]
    for explanation in EXPLANATIONS:
        if explanation.name not in APPLY[name].split():
            with pytest.raises(InterplayError, match=f"{explanation.name} does not apply to this model: .*; what"):
                choose(net, True, [explanation.name])


@torch.no_grad()
def test_a_model_is_left_in_its_mode(tiny: Recipe) -> None:
    net = model(tiny, "vit").train()
    net.head.eval()
    self_attention(net, images(tiny, "vit"))
    assert net.blocks.training
    assert not net.head.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
