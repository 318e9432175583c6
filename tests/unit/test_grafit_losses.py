"""The losses of thesis chapter 2 against slow references in float64, written from its formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.models.embedding import make_network, make_projector, unit
from interplay.recipe import (
    ByHead,
    LearntEmbedding,
    Likeness,
    LinearProjector,
    MlpProjector,
    NoInstance,
    NoProjector,
    Recipe,
    Triplet,
)
from interplay.retrieval import Embedded
from interplay.training import Ranks
from interplay.training.grafit import neighbours
from interplay.training.grafit.instance import likeness_loss, triplet_loss
from interplay.training.grafit.memory import Memory, check_room, free_bytes, memory_bytes
from interplay.training.grafit.neighbours import neighbour_loss
from interplay.training.grafit.step import Target

ALONE = Ranks()
SIGMA = 0.05


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cos(a: Tensor, b: Tensor) -> float:
    return float(a @ b) / (float(a.norm()) * float(b.norm()))


# ---------------------------------------------------------------------------------------- instance losses
@pytest.mark.parametrize("views", [2, 3, 8])
def test_the_instance_loss_is_equation_2_1(views: int) -> None:
    q, g = random(4, views, 6), random(4, views, 6, seed=1)
    by_hand = 0.0
    for image in range(4):
        for i in range(views):
            for j in range(views):
                if i != j:
                    by_hand -= cos(q[image, i], g[image, j]) / (views * (views - 1))
    ours = likeness_loss(*(unit(x.flatten(0, 1)).view_as(x) for x in (q, g)))
    assert float(ours) == pytest.approx(by_hand / 4, rel=1e-12)


def test_the_instance_loss_is_best_where_views_agree() -> None:
    same = unit(random(4, 6))[:, None].expand(4, 3, 6)
    assert float(likeness_loss(same, same)) == pytest.approx(-1.0, rel=1e-12)


@pytest.mark.parametrize("mining", ["hardest", "all"])
def test_the_triplet_loss_is_its_definition(mining: str) -> None:
    x, recipe = unit(random(12, 6)).view(4, 3, 6), Triplet(margin=0.3, mining=mining)  # type: ignore[arg-type]
    terms = []
    for image in range(4):
        others = [x[k, v] for k in range(4) if k != image for v in range(3)]
        for i in range(3):
            for j in range(3):
                if i != j:
                    distances = [cos(x[image, i], other) for other in others]
                    chosen = [max(distances)] if mining == "hardest" else distances
                    terms += [max(0.0, 0.3 + d - cos(x[image, i], x[image, j])) for d in chosen]
    assert float(triplet_loss(x, recipe, ALONE)) == pytest.approx(sum(terms) / len(terms), rel=1e-12)


# --------------------------------------------------------------------------------------------- kNN loss
def filled(vectors: Tensor, labels: Tensor, index: Tensor | None = None) -> Memory:
    found = Memory(vectors.shape[1], ALONE, vectors)
    index = torch.arange(len(vectors)) if index is None else index
    found.fill(Embedded(vectors, labels[:, None], labels, index))
    return found


def neighbour_loss_by_hand(g: Tensor, index: list[int], m: Tensor, y: Tensor, sigma: float) -> float:
    """Equations 2.2 and 2.3, one neighbour after the other."""
    total = 0.0
    for row, i in enumerate(index):
        e = {j: math.exp(cos(g[row], m[j]) / sigma) for j in range(len(m)) if j != i}
        total -= math.log(sum(v for j, v in e.items() if y[j] == y[i]) / sum(e.values()))
    return total / len(index)


@pytest.mark.parametrize("chunk", [1, 800, 1 << 25])
@pytest.mark.parametrize("sigma", [0.02, 0.05, 1.0])
def test_the_knn_loss_is_equations_2_2_and_2_3(monkeypatch: pytest.MonkeyPatch, chunk: int, sigma: float) -> None:
    monkeypatch.setitem(neighbours.CHUNK_BYTES, "cpu", chunk)
    m, labels, index = 0.3 * random(40, 6), torch.arange(40) % 5, [3, 17, 0, 39]
    g = unit(random(4, 6, seed=1))
    ours = neighbour_loss(g, torch.tensor(index), filled(m, labels), sigma, ALONE)
    assert float(ours) == pytest.approx(neighbour_loss_by_hand(g, index, m, labels, sigma), rel=1e-11)


def test_the_knn_losss_gradient_is_its_derivative() -> None:
    memory = filled(0.3 * random(40, 6), torch.arange(40) % 5)
    g = unit(random(4, 6, seed=1)).requires_grad_()
    index = torch.tensor([3, 17, 0, 39])
    assert torch.autograd.gradcheck(lambda x: neighbour_loss(x, index, memory, 0.2, ALONE), (g,))


def test_in_single_precision_the_knn_loss_is_nearly_exact() -> None:
    m, labels = unit(random(3000, 32)), torch.arange(3000) % 20
    g, index = unit(random(8, 32, seed=1)), torch.arange(8)
    exact = neighbour_loss(g, index, filled(m, labels), SIGMA, ALONE)
    half = filled(m.float(), labels)
    assert half.rows.dtype == torch.float16
    assert float(neighbour_loss(g.float(), index, half, SIGMA, ALONE)) == pytest.approx(float(exact), rel=2e-4)


# ---------------------------------------------------------------------------------------------- memory
def test_a_row_is_averaged_with_its_images_embedding() -> None:
    start, labels = random(6, 4), torch.arange(6) % 2
    index = torch.tensor([2, 3, 5, 8, 9, 11])  # a share of the split is trained on
    memory = filled(start, labels, index)
    new = random(2, 4, seed=1)
    memory.update(torch.tensor([8, 2]), new, 0.5)
    assert torch.equal(memory.rows[3], (start[3] + new[0]) / 2)
    assert torch.equal(memory.rows[0], (start[0] + new[1]) / 2)
    assert torch.equal(memory.rows[[1, 2, 4, 5]], start[[1, 2, 4, 5]])
    torch.testing.assert_close(memory.inverse_norms, 1 / memory.rows.norm(dim=1))


def test_an_image_that_is_twice_in_a_batch_counts_once() -> None:
    memory, new = filled(random(4, 3), torch.arange(4) % 2), random(3, 3, seed=1)
    start = memory.rows.clone()
    memory.update(torch.tensor([1, 3, 1]), new, 0.75)
    torch.testing.assert_close(memory.rows[1], 0.75 * start[1] + 0.25 * (new[0] + new[2]) / 2)
    torch.testing.assert_close(memory.rows[3], 0.75 * start[3] + 0.25 * new[1])


def test_a_memory_is_its_state() -> None:
    memory = filled(random(7, 3).float(), torch.arange(7) % 2)
    memory.update(torch.tensor([1, 6]), random(2, 3, seed=1).float(), 0.5)
    again = Memory(3, ALONE, torch.zeros(1))
    again.load(memory.state())
    for name in ("rows", "inverse_norms", "labels", "places", "label_of", "place_of"):
        assert torch.equal(getattr(again, name), getattr(memory, name)), name


def test_a_memory_that_does_not_fit_says_what_it_needs() -> None:
    """ImageNet's of 256 channels: 656 million bytes of rows, and 52 more for each image on one worker."""
    need, cpu = memory_bytes(1_281_167, 256, 1), torch.device("cpu")
    assert need == 1_281_167 * (256 * 2 + 4 + 16 + 32)
    check_room(1_281_167, 256, ALONE, cpu, free=need)
    with pytest.raises(InterplayError, match=r"needs 689 MiB on cpu, which has 345 MiB free; .* 3 workers \(--work"):
        check_room(1_281_167, 256, ALONE, cpu, free=need // 2)
    with pytest.raises(InterplayError, match=r"free; lower embedding\.projector\.width"):
        check_room(1_281_167, 256, ALONE, cpu, free=1000)
    with pytest.raises(InterplayError, match=r"share it over \d+ workers"):
        check_room(1 << 40, 256, ALONE, cpu, free=1 << 47)
    assert (free_bytes(cpu) or 0) > 1 << 20


# ------------------------------------------------------------------------------------- network and copy
def test_projectors_have_the_printed_sizes() -> None:
    """T2.7: a ResNet-50 has 23.5 M parameters without a classifier, 23.8 M with FC, 32.9 M with MLP."""
    import timm

    with torch.device("meta"):
        trunk = sum(p.numel() for p in timm.create_model("resnet50", num_classes=0).parameters())
        added = [
            sum(p.numel() for p in make_projector(projector, 2048).parameters())
            for projector in (NoProjector(), LinearProjector(width=128), MlpProjector(width=256, hidden=4096))
        ]
    assert [f"{(trunk + more) / 1e6:.1f}" for more in added] == ["23.5", "23.8", "32.9"]


class Trunk(nn.Module):
    """Two pixels to three features to two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(12, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.body(x.flatten(1)))
        return out

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        return x if pre_logits else self.head(x)

    def get_classifier(self) -> nn.Module:
        return self.head


def test_a_network_gives_what_its_losses_ask_for() -> None:
    x = random(6, 3, 2, 2).float()
    both = LearntEmbedding(projector=LinearProjector(width=5), labels=ByHead(), instance=Likeness(hidden=7))
    answer = make_network(both, Trunk(), views=2, image_size=2, seed=0)(x)
    assert answer.embedding.shape == answer.prediction.shape == (6, 5)
    assert answer.logits.shape == (3, 2)
    torch.testing.assert_close(answer.embedding.norm(dim=1), torch.ones(6))
    alone = LearntEmbedding(projector=NoProjector(), instance=NoInstance())
    network = make_network(alone, Trunk(), views=1, image_size=2, seed=0)
    answer = network(x)
    assert answer.embedding.shape == (6, 3)
    assert answer.prediction is None
    assert answer.logits is None
    assert [n for n, p in network.named_parameters() if not p.requires_grad] == [
        "embedder.trunk.head.weight",
        "embedder.trunk.head.bias",
    ]


def test_the_slow_copy_is_a_moving_average() -> None:
    recipe = LearntEmbedding(projector=LinearProjector(width=5), instance=Likeness(hidden=7, target_decay=0.9))
    embedder = make_network(recipe, Trunk(), views=2, image_size=2, seed=0).embedder
    target, expected = Target(embedder, 0.9), embedder.projector.weight.detach().clone()  # type: ignore[union-attr]
    for _ in range(3):
        with torch.no_grad():
            embedder.projector.weight.add_(1.0)  # type: ignore[union-attr, operator]
        target.update(embedder)
        expected = 0.9 * expected + 0.1 * embedder.projector.weight.detach()  # type: ignore[union-attr]
    torch.testing.assert_close(target.copy.module.projector.weight.detach(), expected)  # type: ignore[union-attr]
    x = random(6, 3, 2, 2).float()
    assert not target(x).requires_grad
    torch.testing.assert_close(target.copy.module.trunk.norm.running_mean, torch.zeros(3), atol=1.0, rtol=0)  # type: ignore[union-attr]


def test_a_model_without_an_embedding_is_refused() -> None:
    with pytest.raises(InterplayError, match="Linear has no embedding to learn: give it forward_features"):
        make_network(LearntEmbedding(), nn.Linear(3, 2), views=1, image_size=2, seed=0)


# ----------------------------------------------------------------------------------------------- recipes
LEARNT = {"augment.views": 2, "embedding": "learnt", "evaluation.retrieval": "nearest"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment.views": 1}, r"compares views of an image; set augment\.views=4"),
        ({"embedding.instance": "none"}, r"views=2 has no use without embedding\.instance"),
        ({"augment.repeats": 2}, r"set augment\.repeats=1"),
        ({"augment.mixup": 0.2}, r"set augment\.mixup=0"),
        ({"evaluation.retrieval": "none"}, r"set evaluation\.retrieval=nearest"),
        ({"loss.smoothing": 0.1}, r"loss has no effect with embedding\.labels=neighbours"),
        ({"average": "ema"}, "set average=none"),
        ({"trainable": "head"}, "no head is trained"),
        ({"data.level": None, "embedding.labels": "head"}, r"data\.level=null"),
        ({"embedding.labels": "none", "embedding.instance": "none"}, "nothing is learnt"),
        ({"embedding.labels": "head", "embedding.instance": "none"}, "is a classifier; set embedding=none"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(changes: dict[str, object], message: str) -> None:
    recipe = Recipe().with_(LEARNT)
    with pytest.raises(InterplayError, match=message):
        recipe.with_(changes)


def test_one_label_for_all_needs_an_embedding() -> None:
    with pytest.raises(InterplayError, match=r"data\.level=null is one label for all images"):
        Recipe().with_({"data.level": None})
    assert Recipe().with_({**LEARNT, "data.level": None}).data.level is None
