"""What a cluster can never give is refused; what it may give later is not."""

from __future__ import annotations

from typing import Any

import pytest

from interplay.errors import InterplayError
from interplay.study.driving.execution import Execution
from interplay.study.driving.room import check_room, refuse_infeasible

HEAD = {"Resources": {"CPU": 2.0}}
BIG = {"Resources": {"CPU": 16.0, "GPU": 4.0}}
DEAD = {"Resources": {"CPU": 64.0, "GPU": 8.0}, "Alive": False}


@pytest.mark.parametrize(
    ("settings", "nodes", "fits"),
    [
        ({"threads": 2}, [HEAD], True),
        ({"threads": 3}, [HEAD], False),
        ({"threads": 3}, [HEAD, BIG], True),
        ({"threads": 17}, [HEAD, BIG], False),  # 18 CPUs in all, but no node has 17
        ({"threads": 17}, [BIG, DEAD], False),
        ({"gpus": 1.0}, [HEAD], False),
        ({"gpus": 4.0}, [BIG], True),
        ({"gpus": 5.0}, [BIG], False),
        ({"workers": 4, "gpus": 1.0}, [BIG], True),
        ({"workers": 5, "gpus": 1.0}, [BIG], False),
        ({"workers": 5, "gpus": 1.0}, [BIG, BIG], True),
        ({"workers": 3, "gpus": 2.0}, [BIG], False),
        ({"workers": 8, "gpus": 0.5}, [BIG], True),
        ({"workers": 5, "gpus": 0.75}, [BIG], False),  # two of 0.75 do not share a GPU
        ({"workers": 2, "threads": 9, "gpus": 1.0}, [BIG], False),
    ],
)
def test_room(settings: dict[str, Any], nodes: list[dict[str, Any]], fits: bool) -> None:
    execution = Execution(**settings)
    refuse_infeasible(execution, nodes, autoscales=True)
    if fits:
        refuse_infeasible(execution, nodes, autoscales=False)
        return
    with pytest.raises(InterplayError, match=r"can never give .*; lower --threads, --gpus or --workers") as info:
        refuse_infeasible(execution, nodes, autoscales=False)
    assert "\n" not in str(info.value)


def test_this_machine_before_a_cluster_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_room(Execution())
    with pytest.raises(InterplayError, match="a worker of 4096 CPUs"):
        check_room(Execution(threads=4096))
    with pytest.raises(InterplayError, match="use at least 1"):
        check_room(Execution(threads=0))
