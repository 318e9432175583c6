"""Whether a cluster can ever give what a cell asks for: Ray itself would wait for it for ever."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from interplay.errors import InterplayError
from interplay.study.driving.execution import Execution

ACCELERATOR = "accelerator_type:"
"""Ray's resource of a node with such GPUs, by their name; a sliver of it places a worker there."""

GROWS_TO = "INTERPLAY_GROWS_TO"
"""Environment variable of the head: the resources of the cluster when all its nodes have come, `CPU=172,GPU=26`.
Ray's autoscalers do not tell; where `ray up` has left the cluster's description, it is not needed."""

BOOTSTRAP = Path.home() / "ray_bootstrap_config.yaml"
"""Where `ray up` leaves the cluster's description on its head."""

MOST_AT_ONCE = 256
"""Cells at the same time, however far a cluster may grow."""


def refuse_infeasible(execution: Execution, nodes: Sequence[Mapping[str, Any]], *, autoscales: bool) -> None:
    """Refuses workers that the nodes, as `ray.nodes()` lists them, have no room for even when empty.

    Raises:
        InterplayError: saying what a node has. Never if the cluster autoscales: nodes may still come.
    """
    if autoscales:
        return
    has = [node["Resources"] for node in nodes if node.get("Alive", True)]
    room = sum(_workers_on(resources, execution) for resources in has)
    workers = execution.least_workers if execution.chosen() == "train" else 1
    if room >= workers:
        return
    wants = f"{execution.threads} CPU{'s' * (execution.threads > 1)}"
    kind = f"{execution.accelerator} " if execution.accelerator else ""
    wants += f" and {execution.gpus:g} {kind}GPU{'s' * (execution.gpus > 1)}" if execution.gpus else ""
    most = ", ".join(
        f"{max((resources.get(kind, 0) for resources in has), default=0):g} {kind}s" for kind in ("CPU", "GPU")
    )
    wish = f"{workers} workers of {wants} each" if workers > 1 else f"a worker of {wants}"
    raise InterplayError(
        f"the cluster can never give {wish}: its {len(has)} node{'s' * (len(has) > 1)} have room for {room} "
        f"(at most {most} on one); lower --threads, --gpus or --workers"
    )


def check_room(execution: Execution) -> None:
    """As `refuse_infeasible` for a cluster of this machine, before one is started; `cluster_with_room` asks others.

    Raises:
        InterplayError: if this machine has too little.
    """
    execution.chosen()
    import ray

    if os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        return
    import torch

    here: dict[str, float] = {"CPU": os.cpu_count() or 1, "GPU": torch.cuda.device_count()}
    here[f"{ACCELERATOR}{execution.accelerator}"] = 1.0  # Ray alone knows their names: it is asked when it is there
    refuse_infeasible(execution, [{"Resources": here}], autoscales=False)


@contextmanager
def cluster_with_room(execution: Execution, verbose: bool) -> Iterator[None]:
    """In this block there is a cluster, joined or started (`session`), that can train a cell.

    Raises:
        InterplayError: if it can never give what a cell asks for.
    """
    import ray

    from interplay.cluster.session import session

    with session(verbose):
        refuse_infeasible(execution, ray.nodes(), autoscales=bool(largest()))
        yield


def largest() -> dict[str, float]:
    """The resources of the cluster when it has grown as far as it may; none if it does not grow."""
    from ray._private.state import state

    if said := os.environ.get(GROWS_TO):
        return parse_resources(said)
    if found := state.get_max_resources_from_cluster_config():
        return {name: float(amount) for name, amount in found.items()}
    if BOOTSTRAP.is_file():
        return largest_of(yaml.safe_load(BOOTSTRAP.read_text(encoding="utf-8")))
    return {}


def concurrent(execution: Execution, now: Mapping[str, float], largest: Mapping[str, float]) -> int:
    """How many cells have room at the same time: in the cluster as it is, or as large as it may grow.

    Args:
        execution: what a cell asks for.
        now: the cluster's resources, by Ray's names.
        largest: those it may have; none if it does not grow, or nobody knows.
    """
    workers = execution.workers if execution.chosen() == "train" else 1
    room = 1
    for total in (now, largest):
        fits = int(total.get("CPU", 0) // (workers * execution.threads))
        if execution.gpus:
            fits = min(fits, int(total.get("GPU", 0) // (workers * execution.gpus)))
        room = max(room, fits)
    return min(room, MOST_AT_ONCE)


def parse_resources(text: str) -> dict[str, float]:
    """`CPU=172,GPU=26`.

    Raises:
        InterplayError: if it is something else.
    """
    try:
        pairs = [part.split("=") for part in text.split(",")]
        return {name.strip(): float(amount) for name, amount in pairs}
    except ValueError:
        raise InterplayError(
            f"{GROWS_TO}={text} is not NAME=NUMBER,NAME=NUMBER; for example CPU=172,GPU=26"
        ) from None


def largest_of(description: Mapping[str, Any]) -> dict[str, float]:
    """The resources of a cluster whose description (`ray up`'s file) is given, when all its workers have come."""
    total: dict[str, float] = {}
    left = description.get("max_workers", 0)
    types = description.get("available_node_types", {})
    for name, kind in types.items():
        count = min(kind.get("max_workers", 0), left) if name != description.get("head_node_type") else 1
        for resource, amount in kind.get("resources", {}).items():
            total[resource] = total.get(resource, 0.0) + count * amount
    return {resource: min(amount, left * _most(types, resource)) for resource, amount in total.items()}


def _most(types: Mapping[str, Any], resource: str) -> float:
    """Of one node."""
    return max(float(kind.get("resources", {}).get(resource, 0.0)) for kind in types.values())


def _workers_on(resources: Mapping[str, float], execution: Execution) -> int:
    if execution.accelerator and f"{ACCELERATOR}{execution.accelerator}" not in resources:
        return 0
    room = int(resources.get("CPU", 0) // execution.threads)
    gpus = resources.get("GPU", 0)
    if not execution.gpus:
        return room
    # Ray gives whole GPUs, or a fraction of one
    each = gpus // execution.gpus if execution.gpus >= 1 else gpus * int(1 / execution.gpus)
    return min(room, int(each))
