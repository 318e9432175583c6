"""Nodes that go away: three raylets on this machine, one of which is killed while a cell of two workers trains."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

from interplay.recipe import Recipe
from interplay.studies import StudyOutcome, run_ablation, run_training
from interplay.study.ablation import Ablation, Row
from interplay.study.execution import Execution
from interplay.study.ledger import read_ledger
from interplay.tracking.journal import Record, read
from interplay.tracking.store import CellStore
from tests.cluster.heads import free_ports

ROOT = Path(__file__).parents[2]
EPOCHS = 12

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(900)]


@contextmanager
def cluster(workers: int, notice: Path | None = None) -> Iterator[Cluster]:
    """A head without CPUs and `workers` nodes with one each; the last one watches for the file `notice`."""
    before = dict(os.environ)
    # sockets need a short path; and what Ray notes of its last cluster must not reach others on this machine
    temporary = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    os.environ |= {"RAY_TMPDIR": temporary, "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}"}
    dashboard, agent = free_ports(2)
    head = {
        "num_cpus": 0,
        "include_dashboard": True,
        "dashboard_port": dashboard,
        "dashboard_agent_listen_port": agent,
    }
    found = Cluster(initialize_head=True, head_node_args=head)
    try:
        for i in range(workers):
            own = {"INTERPLAY_SPOT_NOTICE": str(notice)} if notice is not None and i == workers - 1 else {}
            found.add_node(num_cpus=1, env_vars=own)
        ray.init(address=found.address, log_to_driver=False)
        found.wait_for_nodes()
        yield found
    finally:
        ray.shutdown()
        found.shutdown()
        shutil.rmtree(temporary, ignore_errors=True)
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@pytest.fixture
def recipe(tiny: Recipe, digits_beton: Path) -> Recipe:
    changes = {"data.dataset": str(digits_beton), "augment.mixup": 0.2, "schedule.epochs": EPOCHS}
    return tiny.with_({**changes, "schedule.warmup_epochs": 1})


@contextmanager
def meanwhile(root: Path, epoch: int, act: Callable[[], object]) -> Iterator[None]:
    """Does `act` when a cell under `root` has trained `epoch` epochs, while this block runs the study."""
    failed: list[BaseException] = []

    def wait() -> None:
        deadline = time.monotonic() + 300
        try:
            while not any(record["epoch"] >= epoch for record in journal(root) if record["event"] == "epoch"):
                assert time.monotonic() < deadline, journal(root)
                time.sleep(0.05)
            act()
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=wait, daemon=True)  # signals are the main thread's: the study runs there
    thread.start()
    yield
    thread.join(10)
    assert not failed
    assert not thread.is_alive(), "the study ended before a node could be taken away"


def journal(root: Path) -> list[Record]:
    found = list(root.glob("cells/*/journal.jsonl"))
    return read(found[0])[0] if found else []


def result(root: Path, outcome: StudyOutcome) -> Any:
    assert outcome.complete
    (fingerprint,) = outcome.runs
    return CellStore(root).result(fingerprint)


def numbers(found: Any) -> dict[str, float]:
    return {k: v for k, v in found.metrics.items() if k.split("/")[0] in ("train", "val", "test")}


def test_a_node_is_killed_in_the_middle_of_an_epoch(recipe: Recipe, tmp_path: Path) -> None:
    execution = Execution("train", workers=2, checkpoint_every_s=0.2)

    def train(root: Path) -> Any:
        return result(root, run_training(recipe, root=root, name="one", execution=execution))

    with cluster(3) as nodes:
        expected = train(tmp_path / "undisturbed")
        killed = tmp_path / "killed"
        with meanwhile(killed, 3, lambda: nodes.remove_node(busiest(nodes), allow_graceful=False)):
            found = train(killed)
    starts = [record["epoch"] for record in journal(tmp_path / "killed") if record["event"] == "start"]
    assert len(starts) == 2, "it was begun, and gone on with once"
    assert starts[1] >= 2, "from its checkpoint"
    assert numbers(found) == numbers(expected)


def busiest(nodes: Cluster) -> Any:
    """A node on which a worker of the cell runs."""
    from ray.util.state import list_actors

    actors = list_actors(address=nodes.address, filters=[("state", "=", "ALIVE")], detail=True)
    at = [actor.node_id for actor in actors if "Worker" in actor.class_name]
    return next(node for node in nodes.worker_nodes if node.node_id in at)


def test_a_spot_notice_moves_the_cell_and_is_no_failure(recipe: Recipe, tmp_path: Path) -> None:
    notice = tmp_path / "notice"
    execution = Execution("inline", checkpoint_every_s=1e9, concurrency=1)
    longer = recipe.with_({"schedule.epochs": 60})
    rows = Ablation("?", [Row("no mixup", {"augment.mixup": 0.0})])
    root = tmp_path / "spot"
    with cluster(1, notice) as nodes:

        def take_away() -> None:
            nodes.add_node(num_cpus=1)
            notice.touch()

        with meanwhile(root, 2, take_away):
            outcome = run_ablation(longer, rows, name="one", root=root, seeds=[0], execution=execution)
    assert outcome.complete
    ended = [read(path)[0] for path in root.glob("cells/*/journal.jsonl")]
    moved = next(records for records in ended if any(r.get("status") == "preempted" for r in records))
    starts = [record["epoch"] for record in moved if record["event"] == "start"]
    assert len(starts) == 2, json.dumps(moved, indent=1)
    assert starts[1] >= 2, "from the checkpoint that the notice made it take"
    assert moved[-1]["status"] == "finished"
    tally = read_ledger(root / "studies" / "one")
    assert tally.attempts == 3
