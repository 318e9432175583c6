"""A memory shared out over workers against one worker's: the same losses, rows, rankings and checkpoints."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from interplay.data import array_loaders
from interplay.recipe import ByHead, LearntEmbedding, Likeness, LinearProjector, NoLabels, Recipe, Triplet
from interplay.training import Ranks, State, fit
from interplay.training.grafit.memory import Memory

pytestmark = pytest.mark.slow

WORLD, WITHIN = 2, 3
Found = dict[str, Any]
Splits = dict[str, tuple[np.ndarray, np.ndarray]]

GRAFIT = LearntEmbedding(projector=LinearProjector(width=8), instance=Likeness(hidden=16, norm="layer"))
KINDS = {
    "grafit": GRAFIT,
    "triplet": GRAFIT.model_copy(update={"instance": Triplet(), "labels": NoLabels()}),
    "ce_triplet": GRAFIT.model_copy(update={"instance": Triplet(mining="all"), "labels": ByHead()}),
}


def recipe_of(kind: str) -> Recipe:
    """In float64: what differs is the order of sums alone."""
    changes = {
        "model": {"family": "vit", "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "init_std": 0.1},
        "data.resolution": 16,
        "data.batch_size": 16,
        "data.level": 1,
        "augment.views": 2,
        "embedding": KINDS[kind],
        "evaluation.retrieval": {"kind": "nearest", "probes": ["linear"] if kind == "ce_triplet" else []},
        "precision": "fp64",
        "optimiser.lr": 3e-3,
        "schedule.epochs": 2,
        "schedule.warmup_epochs": 1,
    }
    return Recipe().with_(changes)


def splits() -> Splits:
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        fine = np.arange(count) % 6
        images = rng.integers(0, 90, (count, 16, 16, 3)) + 20 * fine[:, None, None, None]
        return images.astype(np.uint8), np.stack([fine, fine // 2], axis=1).astype(np.int64)

    return {"train": split(49), "val": split(9), "test": split(11)}  # odd: workers hold different numbers


def train(kind: str, checkpoint: State | None = None) -> Found:
    """On this rank: a training, its last state, and what a checkpoint within the second epoch holds."""
    ranks, recipe = Ranks.current(), recipe_of(kind)
    losses: list[float] = []
    states: list[State] = []

    def after_step(state: Any) -> None:
        states.append(copy.deepcopy(state()) if len(states) == WITHIN else state())

    outcome = fit(
        recipe,
        array_loaders(splits(), recipe, rank=ranks.rank, world=ranks.world),
        report=lambda metrics, _: losses.append(metrics["train/loss"]),
        after_step=after_step,
        latest_checkpoint=lambda: checkpoint,
    )
    metrics = {k: v for k, v in outcome.metrics.items() if k.startswith(("val/", "test/"))}
    return {"losses": losses, "metrics": metrics, "state": outcome.state, "within": states[WITHIN:][:1]}


def half_memory() -> torch.Tensor:
    """In half precision: rows of all images after two updates, gathered."""
    ranks = Ranks.current()
    rng = torch.Generator().manual_seed(0)
    rows, new = torch.randn(9, 4, generator=rng).half(), torch.randn(2, 4, 4, generator=rng)
    memory = Memory(4, ranks, torch.zeros(1))
    memory.load({"rows": rows, "index": torch.arange(9), "labels": torch.arange(9) % 2})
    for step, index in enumerate(([0, 3, 4, 8], [3, 3, 1, 7])):
        memory.update(torch.tensor(index), new[step], 0.5)
    assert len(memory.rows) == (9 + ranks.world - 1 - ranks.rank) // ranks.world
    state = memory.state()["rows"]
    shared = ranks.gather(memory.rows.float())
    order = ranks.gather(memory.places).argsort()
    assert not ranks.first or torch.equal(shared[order], state.float())
    return shared[order]


def worker(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    try:
        found: Found = {kind: train(kind) for kind in KINDS}
        found["half"] = half_memory()
        torch.save(found, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """What each of two workers found."""
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.spawn(worker, (folder,), nprocs=WORLD)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


@pytest.fixture(scope="module")
def alone() -> Found:
    return {kind: train(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_learn_what_one_does(alone: Found, together: list[Found], kind: str) -> None:
    one = alone[kind]
    assert len(one["losses"]) == 2
    for found in together:
        assert found[kind]["losses"] == pytest.approx(one["losses"], rel=1e-9)
        assert found[kind]["metrics"] == pytest.approx(one["metrics"], rel=1e-9)
        for part in ("projector", *(["predictor", "target"] if kind == "grafit" else [])):
            for name, value in one["state"]["embedding"][part].items():
                torch.testing.assert_close(found[kind]["state"]["embedding"][part][name], value, rtol=1e-6, atol=1e-9)


def test_the_first_workers_checkpoint_has_all_rows(alone: Found, together: list[Found]) -> None:
    one, first = (found["grafit"]["state"]["embedding"]["memory"] for found in (alone, together[0]))
    assert one["rows"].shape == (49, 8)
    torch.testing.assert_close(first["rows"], one["rows"], rtol=1e-7, atol=1e-9)
    for name in ("index", "labels"):
        assert torch.equal(first[name], one[name])


def test_a_memory_in_half_precision_is_the_same_on_two_workers(together: list[Found]) -> None:
    one = half_memory()
    for found in together:
        torch.testing.assert_close(found["half"], one, rtol=0.0, atol=0.0)


def test_one_worker_goes_on_from_the_checkpoint_of_two(alone: Found, together: list[Found]) -> None:
    (within,) = together[0]["grafit"]["within"]
    assert (within["epoch"], within["step"]) == (1, 1)
    found = train("grafit", within)
    # the epoch's mean loss counts the steps of both workers
    assert found["losses"] == pytest.approx(alone["grafit"]["losses"][1:], rel=1e-9)
    assert found["metrics"] == pytest.approx(alone["grafit"]["metrics"], rel=1e-9)
