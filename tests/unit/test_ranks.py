"""Two workers against one: the same global batches, the same losses, every evaluated sample once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from interplay.augment import Normalise
from interplay.data import ArrayLoader, array_loaders
from interplay.models import build
from interplay.recipe import RandAugment, Recipe
from interplay.training import Computing, Ranks, evaluate, fit

pytestmark = pytest.mark.slow

WORLD = 2
SIZES = (1, 2, 3, 31, 32, 33)
"""Of evaluated splits: of one sample the second worker gets none."""

Splits = dict[str, tuple[np.ndarray, np.ndarray]]
Found = dict[str, Any]


def train_in_double(recipe: Recipe, splits: Splits, computing: Computing | None = None) -> Found:
    """On this rank: what the loader gives, and the losses of each step, in float64; a batch is 17 pairs and 16."""
    ranks = Ranks.current()
    recipe = recipe.with_({"data.batch_size": 66, "precision": "fp64", "schedule.epochs": 6, "optimiser.eps": 1e-8})
    loaders = array_loaders(splits, recipe, rank=ranks.rank, world=ranks.world)
    batches = [batch for epoch in range(2) for batch in loaders.train.epoch(epoch)]
    losses: list[float] = []
    outcome = fit(
        recipe, loaders, computing=computing or Computing(), report=lambda m, _: losses.append(m["train/loss"])
    )
    return {
        "batches": [(b.index, b.view, b.images) for b in batches],
        "losses": losses,
        "val": outcome.metrics["val/loss"],
        "model": outcome.state["model"],
    }


def train_and_evaluate(recipe: Recipe, splits: Splits) -> Found:
    """On this rank: a whole job, then exact evaluations of an untrained model on splits of several sizes."""
    ranks = Ranks.current()
    losses: list[float] = []
    outcome = fit(
        recipe,
        array_loaders(splits, recipe, rank=ranks.rank, world=ranks.world),
        report=lambda metrics, _: losses.append(metrics["train/loss"]),
    )
    model = build(recipe.model, classes=5, image_size=16)
    normalise = Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), torch.device("cpu"))
    scores, several_scores = {}, {}
    for size in SIZES:
        images, labels = splits["val"]
        part = (images[:size], labels[:size])
        loader_labels = torch.from_numpy(labels[:size])
        loader = ArrayLoader(*part, recipe, training=False, rank=ranks.rank, world=ranks.world)
        scores[size] = evaluate(model, loader, normalise, device=torch.device("cpu"), ranks=ranks)
        several = torch.stack([loader_labels, (loader_labels + 1) % 5], dim=1)
        several[::3] = -1
        how: Any = {"device": torch.device("cpu"), "ranks": ranks, "right": several}
        several_scores[size] = evaluate(model, loader, normalise, **how) if size > 1 else {}
    return {
        "several": several_scores,
        "double": train_in_double(recipe, splits),
        "losses": losses,
        "metrics": outcome.metrics,
        "samples": outcome.samples_seen,
        "model": outcome.state["model"],
        "scores": scores,
    }


def worker(rank: int, folder: Path, recipe: dict[str, Any], splits: Splits) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    try:
        torch.save(train_and_evaluate(Recipe.model_validate(recipe), splits), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """All augmentation, no drop path or dropout: those draw from each worker's own generator.

    Adam divides by the gradient's size: where that is rounding noise alone, as for the bias of keys, it would
    make the noise a full step. `eps` keeps such steps as small as their gradients.
    """
    changes = {
        "model": {"family": "vit", "patch_size": 4, "width": 16, "depth": 2, "heads": 2, "init_std": 0.1},
        "data.resolution": 16,
        "data.batch_size": 32,
        "augment.policy": RandAugment(),
        "augment.color_jitter": 0.3,
        "augment.erasing": 0.3,
        "augment.mixup": 0.8,
        "augment.cutmix": 1.0,
        "augment.repeats": 2,
        "optimiser.lr": 3e-3,
        "optimiser.eps": 1e-3,
        "schedule.epochs": 3,
        "schedule.warmup_epochs": 1,
    }
    return Recipe().with_(changes)


@pytest.fixture(scope="module")
def alone(recipe: Recipe, random_splits: Splits) -> Found:
    return train_and_evaluate(recipe, random_splits)


@pytest.fixture(scope="module")
def together(recipe: Recipe, random_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """What each of two workers found."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(worker, (folder, recipe.model_dump(mode="json"), random_splits), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def test_losses_do_not_depend_on_the_number_of_workers(alone: Found, together: list[Found]) -> None:
    assert len(alone["losses"]) == 3
    for found in together:
        assert found["losses"] == pytest.approx(alone["losses"], rel=1e-5)


def test_final_weights_do_not_depend_on_the_number_of_workers(alone: Found, together: list[Found]) -> None:
    for name, weight in alone["model"].items():
        assert torch.equal(together[0]["model"][name], together[1]["model"][name])
        torch.testing.assert_close(together[0]["model"][name], weight, rtol=1e-3, atol=1e-5)


def test_the_same_number_of_samples_is_seen(alone: Found, together: list[Found]) -> None:
    assert [found["samples"] for found in (alone, *together)] == [3 * 96] * 3


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_trained_models_scores_agree(alone: Found, together: list[Found], split: str) -> None:
    for found in together:
        assert found["metrics"][f"{split}/top1"] == alone["metrics"][f"{split}/top1"]
        assert found["metrics"][f"{split}/loss"] == pytest.approx(alone["metrics"][f"{split}/loss"], rel=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_evaluation_is_exact_on_any_size(alone: Found, together: list[Found], size: int) -> None:
    for found in together:
        for name in ("top1", "top5"):
            assert found["scores"][size][name] == alone["scores"][size][name]
        assert found["scores"][size]["loss"] == pytest.approx(alone["scores"][size]["loss"], rel=1e-6)


@pytest.mark.parametrize("size", SIZES[1:])
def test_evaluation_on_several_right_labels_is_exact(alone: Found, together: list[Found], size: int) -> None:
    assert alone["several"][size]["images"] == size - len(range(0, size, 3))
    for found in together:
        assert found["several"][size] == alone["several"][size]


# ----------------------------------------------------------------------------------------- in float64
def test_two_workers_are_given_the_global_batches_of_one(alone: Found, together: list[Found]) -> None:
    def by_draw(parts: list[Any]) -> dict[tuple[int, int], bytes]:
        rows = [row for part in parts for row in zip(*part, strict=True)]
        return {(int(index), int(view)): image.numpy().tobytes() for index, view, image in rows}

    assert len(alone["double"]["batches"]) == 2
    for number, batch in enumerate(alone["double"]["batches"]):
        halves = [found["double"]["batches"][number] for found in together]
        assert [len(half[0]) for half in halves] in ([34, 32], [32, 34])
        assert len(by_draw([batch])) == 66
        assert by_draw(halves) == by_draw([batch])


def test_in_float64_two_workers_compute_what_one_does(alone: Found, together: list[Found]) -> None:
    """What differs is the order of sums alone; float32 would differ by 1e-7 in the first step and more later."""
    assert len(alone["double"]["losses"]) == 6
    for found in together:
        assert found["double"]["losses"] == pytest.approx(alone["double"]["losses"], rel=1e-10)
        assert found["double"]["val"] == pytest.approx(alone["double"]["val"], rel=1e-10)
        for name, weight in alone["double"]["model"].items():
            assert weight.dtype == torch.float64
            torch.testing.assert_close(found["double"]["model"][name], weight, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("micro_batch", [22, 24])
def test_in_float64_micro_batches_compute_what_a_batch_does(
    alone: Found, recipe: Recipe, random_splits: Splits, micro_batch: int
) -> None:
    """24 does not divide 66: the last part is smaller."""
    parts = train_in_double(recipe, random_splits, Computing(micro_batch=micro_batch))
    assert parts["losses"] == pytest.approx(alone["double"]["losses"], rel=1e-10)
    assert parts["losses"] != alone["double"]["losses"]
