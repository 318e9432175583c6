"""Training an embedding from end to end: levels of labels, views, metrics, checkpoints, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from interplay.augment import Normalise
from interplay.data import array_loaders, from_samples
from interplay.data.loader import beton_loaders
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from interplay.evaluation import evaluate_checkpoint
from interplay.models import build
from interplay.recipe import (
    ByHead,
    ByNeighbours,
    LearntEmbedding,
    Likeness,
    LinearProjector,
    NoInstance,
    NoLabels,
    NoProjector,
    Recipe,
    Triplet,
    fingerprint,
)
from interplay.study.cells import locate_checked
from interplay.training import Computing, Outcome, State, fit, save

Splits = dict[str, tuple[np.ndarray, np.ndarray]]

GRAFIT = LearntEmbedding(projector=LinearProjector(width=8), instance=Likeness(hidden=16, norm="layer"))
MAPS = ("map", "map_level1", "map_coarse", "map_oracle")
KINDS = {
    "grafit": (3, GRAFIT),
    "snca": (1, GRAFIT.model_copy(update={"instance": NoInstance()})),
    "ce_inst": (2, GRAFIT.model_copy(update={"projector": NoProjector(), "labels": ByHead()})),
    "inst": (2, GRAFIT.model_copy(update={"labels": NoLabels()})),
    "triplet": (2, GRAFIT.model_copy(update={"instance": Triplet(), "labels": NoLabels()})),
    "ce_triplet": (2, GRAFIT.model_copy(update={"instance": Triplet(mining="all"), "labels": ByHead()})),
}


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Grey images whose brightness is one of 6 classes, two of which make one of 3 coarse ones."""
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        fine = np.arange(count) % 6
        images = rng.integers(0, 50, (count, 16, 16, 3)) + 30 * fine[:, None, None, None]
        return images.astype(np.uint8), np.stack([fine, fine // 2], axis=1).astype(np.int64)

    return {"train": split(72), "val": split(33), "test": split(31)}


@pytest.fixture
def coarse(tiny: Recipe) -> Recipe:
    """Trains on the coarse labels, and asks the nearest on all."""
    return tiny.with_({"data.level": 1, "data.batch_size": 16, "evaluation.retrieval": "nearest"})


def of_kind(coarse: Recipe, kind: str) -> Recipe:
    views, embedding = KINDS[kind]
    return coarse.with_({"augment.views": views, "embedding": embedding})


def results(outcome: Outcome) -> dict[str, float]:
    return {k: v for k, v in outcome.metrics.items() if not k.startswith(("throughput/", "memory/"))}


def tensors(state: Any, name: str = "") -> dict[str, Tensor]:
    if isinstance(state, Tensor):
        return {name: state}
    pairs = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    return {key: value for part, inner in pairs for key, value in tensors(inner, f"{name}.{part}").items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_embedding_trains(coarse: Recipe, splits: Splits, kind: str) -> None:
    recipe = of_kind(coarse, kind)
    outcome = fit(recipe, array_loaders(splits, recipe))
    metrics = outcome.metrics
    assert np.isfinite(metrics["train/loss"])
    for name in (
        "top1",
        "knn_top1",
        "knn_top1_level1",
        "knn_trained",
        "map",
        "map_level1",
        "map_coarse",
        "map_oracle",
    ):
        assert 0.0 < metrics[f"test/{name}"] <= 100.0, name
    assert metrics["test/map_oracle"] >= metrics["test/map"]
    assert metrics["test/knn_trained"] == metrics["test/knn_top1_level1"]
    assert ("test/loss" in metrics) == isinstance(recipe.embedding.labels, ByHead)  # type: ignore[union-attr]
    parts = {"projector", *(["predictor", "target"] if "inst" in kind or kind == "grafit" else [])}
    parts |= {"memory"} if kind in ("grafit", "snca") else set()
    assert outcome.state["embedding"].keys() == parts


def test_a_classifier_can_be_asked_by_neighbours_too(coarse: Recipe, splits: Splits) -> None:
    asked, plain = (
        fit(r, array_loaders(splits, r)) for r in (coarse, coarse.with_({"evaluation.retrieval": "none"}))
    )
    assert asked.metrics["test/top1"] == plain.metrics["test/top1"]
    assert "test/map" in asked.metrics.keys() - plain.metrics.keys()
    assert "embedding" not in asked.state
    for name, weight in plain.state["model"].items():
        assert torch.equal(weight, asked.state["model"][name])


def test_the_test_split_has_the_neighbours_that_validation_chose(coarse: Recipe, splits: Splits) -> None:
    recipe = coarse.with_({"evaluation.retrieval.neighbours": [1, 5, 40]})
    outcome = fit(recipe, array_loaders(splits, recipe))
    by_count = {}
    for count in (1, 5, 40):
        alone = coarse.with_({"evaluation.retrieval.neighbours": [count]})
        by_count[float(count)] = fit(alone, array_loaders(splits, alone)).metrics
    chosen = outcome.metrics["test/knn_neighbours"]
    assert by_count[chosen]["val/knn_top1"] == max(m["val/knn_top1"] for m in by_count.values())
    assert outcome.metrics["test/knn_top1"] == by_count[chosen]["test/knn_top1"]


def test_the_last_memory_is_of_the_final_weights(coarse: Recipe, splits: Splits) -> None:
    recipe = of_kind(coarse, "grafit").with_({"schedule.epochs": 1, "schedule.warmup_epochs": 0})
    states: list[State] = []
    loaders = array_loaders(splits, recipe)
    memory = fit(recipe, loaders, after_step=lambda s: states.append(s())).state["embedding"]["memory"]
    assert memory["rows"].dtype == torch.float16
    assert torch.equal(memory["labels"], torch.from_numpy(splits["train"][1][:, 1]))
    torch.testing.assert_close(memory["rows"].float().norm(dim=1), torch.ones(72), atol=1e-3, rtol=0)
    trunk = build(recipe.model, classes=3, image_size=16)
    trunk.load_state_dict(states[-1]["model"])
    with torch.inference_mode():
        projector = states[-1]["embedding"]["projector"]["weight"]
        normalise = Normalise(loaders.mean, loaders.std, torch.device("cpu"))
        for batch in loaders.gallery.epoch(0):  # type: ignore[union-attr]
            features = trunk.eval().forward_head(trunk.forward_features(normalise(batch.images)), pre_logits=True)
            expected = F.normalize(features @ projector.T, dim=1)
            torch.testing.assert_close(memory["rows"][batch.index].float(), expected, atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grafit", "ce_triplet"])
@pytest.mark.parametrize("step", [0, 2, 3, 6])
def test_a_resumed_training_is_the_same_bit_by_bit(coarse: Recipe, splits: Splits, kind: str, step: int) -> None:
    recipe = of_kind(coarse, kind).with_({"model.drop_path": 0.2, "schedule.epochs": 2})
    states: list[State] = []
    whole = fit(recipe, array_loaders(splits, recipe), after_step=lambda state: states.append(copy.deepcopy(state())))
    assert len(states) == 8
    again = fit(recipe, array_loaders(splits, recipe), latest_checkpoint=lambda: states[step])
    ours, theirs = tensors(whole.state), tensors(again.state)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert results(whole) == results(again)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grafit", "ce_inst"])
@pytest.mark.parametrize("micro_batch", [8, 20])
def test_micro_batches_learn_the_same(coarse: Recipe, splits: Splits, kind: str, micro_batch: int) -> None:
    """In float64; views of an image stay together, whatever number of crops is asked for."""
    recipe = of_kind(coarse, kind).with_({"precision": "fp64", "optimiser.eps": 1e-3})
    whole, parts = (
        fit(recipe, array_loaders(splits, recipe), computing=computing)
        for computing in (Computing(), Computing(micro_batch=micro_batch))
    )
    assert parts.metrics["train/loss"] == pytest.approx(whole.metrics["train/loss"], rel=1e-9)
    for name, value in tensors(whole.state["embedding"]).items():
        torch.testing.assert_close(tensors(parts.state["embedding"])[name], value, rtol=1e-6, atol=1e-9)


def test_micro_batches_would_change_a_triplet_loss(coarse: Recipe, splits: Splits) -> None:
    recipe = of_kind(coarse, "triplet")
    with pytest.raises(InterplayError, match="compares all images of a batch; leave --micro-batch out"):
        fit(recipe, array_loaders(splits, recipe), computing=Computing(micro_batch=4))


def test_without_weight_the_instance_loss_is_without_effect(coarse: Recipe, splits: Splits) -> None:
    """T2.11: lambda 0 is SNCA+. The first view is the same with and without others, and nothing here mixes crops."""
    zero = of_kind(coarse, "grafit").with_({"embedding.instance.weight": 0.0})
    found = [fit(recipe, array_loaders(splits, recipe)) for recipe in (zero, of_kind(coarse, "snca"))]
    assert found[0].metrics["train/loss"] == pytest.approx(found[1].metrics["train/loss"], rel=1e-4)
    assert found[0].metrics["test/map"] == pytest.approx(found[1].metrics["test/map"], abs=0.5)


def test_one_label_for_all_is_unsupervised(coarse: Recipe, splits: Splits) -> None:
    recipe = of_kind(coarse, "inst").with_({"data.level": None})
    loaders = array_loaders(splits, recipe)
    outcome = fit(recipe, loaders)
    assert loaders.classes == 1
    assert "test/map" in outcome.metrics
    assert not outcome.metrics.keys() & {"test/map_coarse", "test/knn_trained"}


def test_fine_labels_have_no_coarse_ranking(coarse: Recipe, splits: Splits) -> None:
    recipe = coarse.with_({"data.level": 0})
    metrics = fit(recipe, array_loaders(splits, recipe)).metrics
    assert "test/map" in metrics
    assert "test/map_coarse" not in metrics


# ------------------------------------------------------------------------------------------------ views
@pytest.mark.parametrize("rank", [0, 1])
def test_views_of_an_image_stand_together_on_one_worker(coarse: Recipe, splits: Splits, rank: int) -> None:
    recipe = of_kind(coarse, "grafit")
    one = coarse.with_({"evaluation.retrieval": "none"})
    loaders = array_loaders(splits, recipe, rank=rank, world=2)
    plain = list(array_loaders(splits, one, rank=rank, world=2).train.epoch(1))
    batches = list(loaders.train.epoch(1))
    assert len(batches) == len(plain) == 4
    for batch, alone in zip(batches, plain, strict=True):
        assert torch.equal(batch.index.view(-1, 3), alone.index[:, None].expand(-1, 3))
        assert torch.equal(batch.view.view(-1, 3), torch.arange(3).expand(8, 3))
        assert torch.equal(batch.images[::3], alone.images)
        assert not torch.equal(batch.images[1::3], alone.images)
    assert torch.equal(next(iter(loaders.train.epoch(1, start=2))).index, batches[2].index)


def test_a_share_of_the_images_is_the_gallery(coarse: Recipe, splits: Splits) -> None:
    recipe = of_kind(coarse, "grafit").with_({"data.share": 0.5})
    loaders = array_loaders(splits, recipe)
    assert loaders.gallery is not None
    index = torch.cat([batch.index for batch in loaders.gallery.epoch(0)])
    assert len(index) == loaders.gallery.samples == 36
    trained = {int(i) for epoch in range(3) for batch in loaders.train.epoch(epoch) for i in batch.index}
    assert trained == set(index.tolist())
    assert fit(recipe, loaders).state["embedding"]["memory"]["index"].tolist() == index.tolist()


# ----------------------------------------------------------------------------------------------- .beton
def written(path: Path, labels: list[tuple[int, int]], splits: Splits) -> Path:
    images, samples = splits["train"][0], []
    for number, (fine, coarse) in enumerate(labels):
        samples.append((images[number], (fine, coarse)))
    classes = [[str(n) for n in range(1 + max(pair[level] for pair in labels))] for level in (0, 1)]
    write_beton(from_samples(samples, classes=classes), path, val=0.2, test=0.2)
    return path


PAIRS = [(n % 6, n % 6 // 2) for n in range(72)]


def test_a_beton_of_several_levels_is_trained_and_its_checkpoint_read(
    coarse: Recipe, splits: Splits, tmp_path: Path
) -> None:
    path = written(tmp_path / "two.beton", PAIRS, splits)
    recipe = of_kind(coarse, "ce_inst").with_({"data.dataset": str(path)})
    loaders = beton_loaders(path, recipe)
    assert loaders.classes == 3
    assert loaders.gallery is not None
    batch = next(iter(loaders.train.epoch(0)))
    assert torch.equal(batch.labels, batch.levels[:, 1])
    outcome = fit(recipe, loaders)
    save(outcome.state, tmp_path / "last.pt")
    found = evaluate_checkpoint(tmp_path / "last.pt", str(path), tmp_path)
    assert found["top1"] == pytest.approx(outcome.metrics["test/top1"])
    outcome.state["recipe"] = of_kind(coarse, "grafit").model_dump(mode="json")
    save(outcome.state, tmp_path / "grafit.pt")
    with pytest.raises(InterplayError, match="learnt no classifier; ask its neighbours: interplay retrieve"):
        evaluate_checkpoint(tmp_path / "grafit.pt", str(path), tmp_path)


@pytest.mark.parametrize(
    ("pairs", "changes", "message"),
    [
        (PAIRS, {"data.level": 2}, r"data\.level=2, but the data set has the levels 0 to 1"),
        (
            [(n % 6, n % 4 // 2) for n in range(72)],
            {},
            r"class 0 of label level 0 is in the classes 0 and 1 of level 1",
        ),
        ([*PAIRS[:71], (6, 3)], {}, r"class 3 has one training image, which has no neighbour of its class"),
        (PAIRS, {"data.clusters": [1, 2]}, r"has 2 clusters for 72 samples; make it from this data set"),
        (PAIRS, {"data.clusters": [0.5] * 72}, r"must hold one cluster number for each sample"),
    ],
)
def test_labels_that_cannot_work_are_refused_before_anything_starts(
    coarse: Recipe,
    splits: Splits,
    tmp_path: Path,
    pairs: list[tuple[int, int]],
    changes: dict[str, Any],
    message: str,
) -> None:
    path = written(tmp_path / "two.beton", pairs, splits)
    if isinstance(numbers := changes.get("data.clusters"), list):
        np.save(tmp_path / "clusters.npy", np.array(numbers))
        changes = {"data.clusters": {"kind": "file", "file": str(tmp_path / "clusters.npy")}}
    recipe = of_kind(coarse, "grafit").with_({"data.dataset": str(path), "data.batch_size": 8, **changes})
    with pytest.raises(InterplayError, match=message):
        locate_checked(recipe, tmp_path)
    with pytest.raises(InterplayError, match=message):
        beton_loaders(path, recipe)


def test_clusters_take_the_place_of_labels(coarse: Recipe, splits: Splits, tmp_path: Path) -> None:
    file = tmp_path / "clusters.npy"
    total = sum(len(labels) for _, labels in splits.values())
    np.save(file, np.arange(total) % 5)
    recipe = coarse.with_({"data.clusters": {"kind": "file", "file": str(file)}})
    loaders = array_loaders(splits, recipe)
    assert loaders.classes == 5
    metrics = fit(recipe, loaders).metrics
    assert "test/map_coarse" not in metrics
    before = fingerprint(recipe, "data")
    np.save(file, np.arange(total) % 4)
    assert fingerprint(coarse.with_({"data.clusters": {"kind": "file", "file": str(file)}}), "data") != before


def test_a_memory_counts_its_neighbours_by_the_label_that_is_trained(coarse: Recipe, splits: Splits) -> None:
    """Trained on coarse and on fine labels the same images have other neighbours, and another first loss."""
    losses = {}
    for level in (0, 1, None):
        recipe = of_kind(coarse, "snca").with_({"data.level": level, "embedding.labels": ByNeighbours(sigma=1.0)})
        seen: list[float] = []
        fit(
            recipe,
            array_loaders(splits, recipe),
            after_step=lambda state, seen=seen: seen.append(state()["loss_sum"]),
        )
        losses[level] = seen[0]
    assert losses[None] == pytest.approx(0.0, abs=1e-5)
    assert 0.0 < losses[1] < losses[0]
