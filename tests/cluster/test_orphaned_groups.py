"""What a killed controller had asked for is given back, and nothing else."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError
from ray.util import placement_group_table
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from interplay.cluster.ray_train import remove_orphaned_groups

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

BUNDLE = {"node:__internal_head__": 0.001}


class Controller:
    def ask(self, bundle: dict[str, float]) -> PlacementGroup:
        self.group = placement_group([bundle])
        return self.group

    def die(self) -> None:
        os._exit(1)


def state_of(group: PlacementGroup) -> str:
    return str(placement_group_table(group)["state"])


def test_only_those_of_dead_actors() -> None:
    actor: Any = ray.remote(num_cpus=0)(Controller)
    killed, alive = actor.remote(), actor.remote()
    ready, waiting = ray.get(killed.ask.remote(BUNDLE)), ray.get(killed.ask.remote({"CPU": 4096.0}))
    others, own = ray.get(alive.ask.remote(BUNDLE)), placement_group([BUNDLE])
    for group in (ready, others, own):
        assert group.wait(30)
    remove_orphaned_groups()
    assert [state_of(group) for group in (ready, waiting, others, own)] == [
        "CREATED",
        "PENDING",
        "CREATED",
        "CREATED",
    ]

    with pytest.raises(RayActorError):
        ray.get(killed.die.remote())
    assert state_of(ready) == "CREATED", "Ray keeps it: were it not so, we need not"
    remove_orphaned_groups()
    deadline = time.monotonic() + 30
    while {state_of(ready), state_of(waiting)} != {"REMOVED"} and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [state_of(group) for group in (ready, waiting, others, own)] == [
        "REMOVED",
        "REMOVED",
        "CREATED",
        "CREATED",
    ]
    remove_placement_group(own)
    ray.kill(alive)
