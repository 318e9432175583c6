"""The cluster file, checked without a cloud: Ray's own schema, and what Ray's check leaves out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "ray_cluster.yaml"


@pytest.fixture
def config() -> Any:
    return yaml.safe_load(FILE.read_text())


def accepted(config: Any) -> Any:
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.filterwarnings("ignore")
def test_ray_accepts_it(config: Any) -> None:
    types = accepted(config)["available_node_types"]
    assert types["head"]["max_workers"] == 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("break_it", ["max_worker", "head_node_type", "resources"])
def test_the_check_can_fail(config: Any, break_it: str) -> None:
    if break_it == "max_worker":
        config["max_worker"] = 3
    elif break_it == "head_node_type":
        config["head_node_type"] = "nope"
    else:
        config["available_node_types"]["gpu_spot"]["resources"]["GPU"] = "one"
    with pytest.raises(Exception, match=r".+"):
        accepted(config)


def test_what_ray_does_not_check(config: Any) -> None:
    types = config["available_node_types"]
    assert types["head"]["resources"]["CPU"] == 0, "the head runs no trials"
    gpu = types["gpu_spot"]
    assert gpu["min_workers"] == 0 < gpu["max_workers"] <= config["max_workers"]
    assert gpu["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    commands = "\n".join(config["head_start_ray_commands"])
    assert "mlflow server" in commands
    assert "--host 127.0.0.1" in commands
    assert "0.0.0.0" not in FILE.read_text()


def test_it_installs_what_ffcv_needs(config: Any) -> None:
    setup = "\n".join(config["initialization_commands"])
    for package in ("pkg-config", "libturbojpeg0-dev", "libopencv-dev"):
        assert package in setup
