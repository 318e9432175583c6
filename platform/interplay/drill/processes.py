"""Finding and killing the processes of one study on a Ray cluster, on whatever node they are."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.state import list_actors, list_jobs

CLASSES = {"trial": "ImplicitFunc", "worker": "RayTrainWorker", "controller": "TrainController"}
"""What Ray calls the actors that train a cell in Tune, work for a Ray Train job, and lead one."""

LOOK_S = 0.1


def kill_one(kind: str, driver: int, rng: random.Random, timeout_s: float = 60.0) -> str:
    """Kills one of the driver's processes of this kind with SIGKILL, as soon as there is one.

    Args:
        kind: one of `CLASSES`.
        driver: process number of the study's driver.
        rng: chooses between several.
        timeout_s: how long one is waited for.

    Returns:
        What was killed; empty if there was nothing to kill.
    """
    address = ray.get_runtime_context().gcs_address
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline and _lives(driver):
        if found := _actors(CLASSES[kind], driver, address):
            victim = rng.choice(found)
            _kill(int(victim.pid), str(victim.node_id))
            return f"{kind} process {victim.pid}"
        time.sleep(LOOK_S)
    return ""


def _actors(name: str, driver: int, address: str) -> list[Any]:
    """Living actors of the driver's own job: others on the cluster are left alone."""
    jobs = {
        str(job.job_id)
        for job in list_jobs(address=address, detail=True)
        if job.driver_info is not None and str(job.driver_info.pid) == str(driver)
    }
    only = [("state", "=", "ALIVE"), ("class_name", "=", name)]
    found = [actor for actor in list_actors(address=address, filters=only) if actor.job_id in jobs and actor.pid]
    return sorted(found, key=lambda actor: str(actor.actor_id))


def _kill(process: int, node: str) -> None:
    """On this node at once; on another one by a task that is placed there."""
    if node == ray.get_runtime_context().get_node_id():
        os.kill(process, signal.SIGKILL)
        return
    there = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    ray.get(ray.remote(num_cpus=0)(os.kill).options(scheduling_strategy=there).remote(process, int(signal.SIGKILL)))


def _lives(process: int) -> bool:
    """Of one of our own children; a dead one that was not waited for counts as living."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
