"""How many cells have room at the same time, in a cluster as it is or as large as it may grow."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from interplay.errors import InterplayError
from interplay.study.driving.execution import Execution
from interplay.study.driving.room import MOST_AT_ONCE, concurrent, largest_of, parse_resources, refuse_infeasible

ROOT = Path(__file__).parents[2]
HEAD = {"CPU": 0.0, "memory": 1e9}


def test_what_there_is_counts_if_it_does_not_grow() -> None:
    assert concurrent(Execution(), {"CPU": 4.0}, {}) == 4
    assert concurrent(Execution(threads=2), {"CPU": 5.0}, {}) == 2
    assert concurrent(Execution(gpus=0.25), {"CPU": 8.0, "GPU": 1.0}, {}) == 4
    assert concurrent(Execution(workers=8, gpus=1.0), {"CPU": 96.0, "GPU": 16.0}, {}) == 2


def test_a_head_without_trials_asks_for_as_many_as_may_come() -> None:
    assert concurrent(Execution(gpus=1.0), HEAD, {}) == 1
    assert concurrent(Execution(gpus=1.0), HEAD, {"CPU": 64.0, "GPU": 8.0}) == 8
    assert concurrent(Execution(), HEAD, {"CPU": 1e9}) == MOST_AT_ONCE


def test_of_the_cluster_files() -> None:
    for file in (ROOT / "ray_cluster.yaml", ROOT / "cluster" / "gcp.yaml"):
        largest = largest_of(yaml.safe_load(file.read_text()))
        assert largest["GPU"] == 8 * 1 + 2 * 1 + 2 * 8
        assert concurrent(Execution(gpus=1.0), HEAD, largest) == 26


def test_never_more_than_the_most_nodes_of_the_cluster() -> None:
    kinds = {"head": {"resources": {"CPU": 0}}, "gpu": {"resources": {"CPU": 4, "GPU": 1}, "max_workers": 50}}
    description = {"max_workers": 3, "head_node_type": "head", "available_node_types": kinds}
    assert largest_of(description) == {"CPU": 12.0, "GPU": 3.0}


def test_what_the_head_says_of_the_cluster() -> None:
    assert parse_resources("CPU=172, GPU=26") == {"CPU": 172.0, "GPU": 26.0}
    with pytest.raises(InterplayError, match="for example CPU=172,GPU=26"):
        parse_resources("26 GPUs")


def test_an_accelerator_that_no_node_has_is_refused() -> None:
    nodes = [{"Resources": {"CPU": 8.0, "GPU": 1.0, "accelerator_type:T4": 1.0}}]
    refuse_infeasible(Execution(gpus=1.0, accelerator="T4"), nodes, autoscales=False)
    with pytest.raises(InterplayError, match=r"1 CPU and 1 A100 GPU"):
        refuse_infeasible(Execution(gpus=1.0, accelerator="A100"), nodes, autoscales=False)
    with pytest.raises(InterplayError, match="give --gpus too"):
        Execution(accelerator="A100").chosen()
