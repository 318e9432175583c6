"""Finding and breaking the processes of one study on a Ray cluster, and the nodes on which they are."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.state import list_actors, list_jobs

from interplay.cluster.notice import VARIABLE

CLASSES = {
    "trial": "ImplicitFunc",
    "worker": "RayTrainWorker",
    "controller": "TrainController",
    "node": "RayTrainWorker",
    "notice": "ImplicitFunc",
}
"""What Ray calls the actors that train a cell in Tune, work for a Ray Train job, and lead one: which of them is
struck, or whose node."""
OF_NODES = ("node", "notice")
"""Those that take the node away."""

LOOK_S = 0.1


def strike(fault: str, driver: int, rng: random.Random, gone: set[str], timeout_s: float = 60.0) -> str:
    """Breaks one of the driver's processes, or the node of one, as soon as there is one.

    Args:
        fault: one of `CLASSES`: the process is killed; a `node` is lost; a node's `notice` says that it will be.
        driver: process number of the study's driver.
        rng: chooses between several.
        gone: nodes that were taken away before, which Ray notices later; one that goes now is added.
        timeout_s: how long one is waited for.

    Returns:
        What was broken; empty if there was nothing to break.
    """
    address = ray.get_runtime_context().gcs_address
    deadline = time.monotonic() + timeout_s
    spared = gone | _heads() if fault in OF_NODES else gone
    # the driver is our own child; a dead one that was not waited for counts as living
    while time.monotonic() < deadline and _signalled(driver, 0):
        found = [actor for actor in _actors(CLASSES[fault], driver, address) if actor.node_id not in spared]
        actor = rng.choice(found) if found else None
        if actor is not None and (struck := _break(fault, actor)) is not None:
            if fault in OF_NODES:
                gone.add(str(actor.node_id))
            return struck
        time.sleep(LOOK_S)
    return ""


def _break(fault: str, actor: Any) -> str | None:
    """What was broken; None if the process had ended by itself meanwhile."""
    node = str(actor.node_id)
    if fault == "notice":
        notice = _there(node, _touch_notice)
        return f"notice {notice}" if notice else ""
    if fault == "node":
        with suppress(ray.exceptions.RayError):  # the task dies with its node
            _there(node, _end_node)
        return f"node {node[:8]}"
    process, number = int(actor.pid), int(signal.SIGKILL)
    here = node == ray.get_runtime_context().get_node_id()  # no need to wait for a task's process
    killed = _signalled(process, number) if here else _there(node, _signalled, process, number)
    return f"{fault} process {actor.pid}" if killed else None


def _there(node: str, function: Callable[..., Any], *arguments: object) -> Any:
    """What `function` returns on the node."""
    place = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
    task = ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=place)
    return ray.get(task.remote(*arguments))


def _signalled(process: int, number: int) -> bool:
    """Whether there is such a process; it is sent the signal."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def _end_node() -> None:
    """A worker's parent is its node's raylet. All that it started goes with it: workers alone would train on."""
    raylet = psutil.Process(os.getppid())
    own = raylet.children(recursive=True)
    for process in (raylet, *(process for process in own if process.pid != os.getpid())):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def _touch_notice() -> str:
    """Where the node looks for its notice; empty if that is not a file."""
    place = os.environ.get(VARIABLE, "")
    if not place or place.startswith("http"):
        return ""
    Path(place).touch()
    return Path(place).name


def _heads() -> set[str]:
    return {str(node["NodeID"]) for node in ray.nodes() if "node:__internal_head__" in node["Resources"]}


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
