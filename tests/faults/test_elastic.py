"""A Ray Train job goes on with fewer workers when a machine is lost and none comes, and learns the same."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from interplay.data import locate
from interplay.data.loader import beton_loaders
from interplay.drill.nodes import NODES, cluster
from interplay.drill.processes import strike
from interplay.drill.victim import Victim
from interplay.recipe import Recipe, find_recipe
from interplay.recipe.files import to_yaml
from interplay.tracking.journal import epochs, read
from interplay.training import fit
from tests.faults.drills import MARKS

pytestmark = MARKS

EPOCHS = 12


@pytest.fixture
def recipe() -> Recipe:
    """Nothing that each worker draws by itself; 64 images are 32 pairs, which 3 workers share as 11, 11 and 10."""
    changes = {"model.width": 24, "model.drop_path": 0.0, "augment.repeats": 1, "schedule.epochs": EPOCHS}
    return find_recipe("digits.deit_small_patch4").with_(changes)


def test_fewer_workers(recipe: Recipe, tmp_path: Path) -> None:
    import ray

    file, root = tmp_path / "recipe.yaml", tmp_path / "elastic"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    dataset = locate("digits", root / "datasets")
    alone: list[float] = []
    fit(recipe, beton_loaders(dataset, recipe), report=lambda metrics, _: alone.append(metrics["train/loss"]))

    options = ["--workers", str(NODES), "--fewest-workers", "1", "--checkpoint-every", "0"]
    with cluster(tmp_path / "notices", several=True, verbose=False):
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        with Victim(root, ["train", str(file), "--name", "elastic", *options], 1, environment) as victim:
            process = victim.start()
            assert victim.reaches(EPOCHS // 4, process), victim.log.read_text()
            assert strike("node", process.pid, random.Random(0))
            assert victim.finish(process) == 0, victim.log.read_text()

    (cell,) = root.glob("cells/*")
    records = read(cell / "journal.jsonl")[0]
    starts = [(r["epoch"], r["evidence"]["workers"]) for r in records if r["event"] == "start"]
    assert [workers for _, workers in starts] == [NODES, NODES - 1]
    assert starts[1][0] >= EPOCHS // 4
    losses = {epoch: record["metrics"]["train/loss"] for epoch, record in epochs(records).items()}
    assert losses == pytest.approx(dict(enumerate(alone, 1)), rel=1e-5)
