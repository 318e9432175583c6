"""A cluster that grows from no GPU node to its maximum for a search, and back; here, with Ray's fake nodes.

The nodes' GPUs are made up: cells ask for one each and train on the CPU.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from interplay.cluster.nodes import cluster_nodes
from interplay.errors import InterplayError
from interplay.report.status import study_status
from tests.cluster.heads import BIN, ROOT, Head, running_head

MOST = 2
CELLS = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Timeline:
    """Nodes with GPUs and running cells against time, printed as they change."""

    def __init__(self, head: Head, root: Path) -> None:
        self._head, self._root, self._began = head, root, time.monotonic()
        self.nodes: list[int] = []
        self.cells: list[int] = []

    def look(self) -> int:
        nodes = sum(node["gpus"] > 0 for node in cluster_nodes(self._head.address))
        try:
            cells = len(study_status(self._root, "grow").running)
        except InterplayError:
            cells = 0
        if (self.nodes[-1:], self.cells[-1:]) != ([nodes], [cells]):
            print(f"T+{time.monotonic() - self._began:5.1f} s: {nodes} GPU nodes, {cells} cells running", flush=True)
        self.nodes.append(nodes)
        self.cells.append(cells)
        return nodes


def test_from_zero_to_the_maximum_and_back(tmp_path: Path) -> None:
    variables = {"PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}
    kinds = [{"name": "gpu", "resources": {"CPU": 1, "GPU": 1}, "max_workers": MOST}]
    with running_head("--num-cpus=0", "--num-gpus=0", variables=variables, autoscaling=kinds) as head:
        timeline = Timeline(head, tmp_path)
        assert timeline.look() == 0
        command = [str(BIN / "interplay"), "--storage", str(tmp_path), "search", "digits.deit_small_patch4"]
        command += ["digits.demo", "--name", "grow", "--trials", str(CELLS), "--gpus", "1", "--executor", "inline"]
        command += ["-s", "schedule.epochs=6", "-s", "schedule.warmup_epochs=1"]
        log = tmp_path / "search.log"
        with log.open("w") as out:
            search = subprocess.Popen(
                command, env=head.environment | {"RAY_ADDRESS": head.gcs}, stdout=out, stderr=out, cwd=ROOT
            )
        try:
            deadline = time.monotonic() + 400
            while search.poll() is None:
                assert time.monotonic() < deadline, log.read_text()
                timeline.look()
                time.sleep(0.5)
        finally:
            if search.poll() is None:
                search.kill()
                search.wait()
        assert search.returncode == 0, log.read_text()
        assert len(list(tmp_path.glob("cells/*/result.json"))) == CELLS
        assert max(timeline.nodes) == MOST
        assert max(timeline.cells) == MOST, "one cell on each node at the same time"
        deadline = time.monotonic() + 120
        while timeline.look():
            assert time.monotonic() < deadline, "the nodes did not go"
            time.sleep(0.5)
