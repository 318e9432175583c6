"""A Ray Train job trains with fewer workers when a node is lost, with more when one comes, and learns the same."""

from __future__ import annotations

import os
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from interplay.data import locate
from interplay.data.loader import beton_loaders
from interplay.drill.nodes import NODES, cluster
from interplay.drill.processes import strike
from interplay.drill.victim import Victim
from interplay.recipe import Recipe, find_recipe
from interplay.recipe.files import to_yaml
from interplay.tracking.journal import Record, epochs, read
from interplay.training import fit
from tests.faults.drills import MARKS

pytestmark = MARKS

EPOCHS = 500
"""More than are trained while a node is missed and another one found: the job is stopped then."""


@pytest.fixture
def recipe() -> Recipe:
    """Nothing that each worker draws by itself; 64 images are 32 pairs, which 3 workers share as 11, 11 and 10.

    In double precision: what sums in another order differ by grows over so many steps.
    """
    changes = {"model.width": 24, "model.drop_path": 0.0, "augment.repeats": 1, "schedule.epochs": EPOCHS}
    changes["precision"] = "fp64"
    return find_recipe("digits.deit_small_patch4").with_(changes)


def records_of(root: Path) -> list[Record]:
    return [record for journal in root.glob("cells/*/journal.jsonl") for record in read(journal)[0]]


def starts_of(root: Path) -> list[tuple[int, int]]:
    """(epoch, workers) of each time that the cell was begun or gone on with."""
    found = [record for record in records_of(root) if record["event"] == "start"]
    return [(record["epoch"], record["evidence"]["workers"]) for record in found]


def wait_for_starts(root: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    while len(starts_of(root)) < count and process.poll() is None:
        time.sleep(0.2)


def test_fewer_and_more_workers(recipe: Recipe, tmp_path: Path) -> None:
    import ray

    file, root = tmp_path / "recipe.yaml", tmp_path / "elastic"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    dataset = locate("digits", root / "datasets")

    options = ["--workers", str(NODES), "--fewest-workers", "1", "--checkpoint-every", "0"]
    with cluster(tmp_path / "notices", several=True, verbose=False) as bring:
        environment = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
        with Victim(root, ["train", str(file), "--name", "elastic", *options], 1, environment) as victim:
            process = victim.start()
            assert victim.reaches(4, process), victim.log.read_text()
            assert strike("node", process.pid, random.Random(0), set())
            wait_for_starts(root, 2, process)
            bring()
            wait_for_starts(root, 3, process)
            assert victim.reaches(starts_of(root)[-1][0] + 3, process), victim.log.read_text()
            process.terminate()
            assert victim.finish(process) == 130, victim.log.read_text()

    starts = starts_of(root)
    assert [workers for _, workers in starts] == [NODES, NODES - 1, NODES]
    assert 4 <= starts[1][0] < starts[2][0]
    losses = {epoch: record["metrics"]["train/loss"] for epoch, record in epochs(records_of(root)).items()}
    assert losses == pytest.approx(losses_alone(recipe, dataset, max(losses)), rel=1e-5)


def losses_alone(recipe: Recipe, dataset: Path, most: int) -> dict[int, float]:
    """Of the first epochs, with one worker that nobody disturbs."""
    found: dict[int, float] = {}

    def report(metrics: dict[str, float], _: object) -> None:
        found[int(metrics["epoch"])] = metrics["train/loss"]
        if len(found) == most:
            raise StopIteration

    with suppress(StopIteration):
        fit(recipe, beton_loaders(dataset, recipe), report=report)
    return found
