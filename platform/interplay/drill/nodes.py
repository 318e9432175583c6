"""The cluster that a drill breaks: the one of `$RAY_ADDRESS`, or one of several nodes on this machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from interplay.cluster.notice import VARIABLE
from interplay.cluster.session import ONE_MACHINE, free_port, session, variables

NODES = 3
"""Of a cluster of our own, with one CPU each: enough for a job of two workers, and one to go on with."""


@contextmanager
def cluster(folder: Path, *, several: bool, verbose: bool) -> Iterator[Callable[[], None]]:
    """A cluster that outlives a study's drivers; this process is connected to it.

    Args:
        folder: for the notices of its nodes.
        several: nodes will be taken away: where `$RAY_ADDRESS` names no cluster, start one that can spare some.
        verbose: let Ray talk.

    Yields:
        What brings another node, as an autoscaler would; on a cluster that is not ours it does nothing.
    """
    if not several or os.environ.get("RAY_ADDRESS"):
        with session(verbose):
            yield lambda: None
        return
    if ray.is_initialized():
        raise RuntimeError("this process is connected to a cluster, which is not the drill's to take apart")
    temporary = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets need a short path
    try:
        own = _of_several(folder, temporary)
        with own as (address, bring), variables({"RAY_ADDRESS": address}), session(verbose):
            yield bring
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _of_several(folder: Path, temporary: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """(address, what adds a node) of a cluster whose head trains nothing, so that any of its nodes may go."""
    from ray.cluster_utils import Cluster

    folder.mkdir(parents=True)
    dashboard = free_port()
    own = {**ONE_MACHINE, "RAY_TMPDIR": temporary, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
    with variables(own):
        nodes = Cluster()

        def bring() -> None:
            notice = {VARIABLE: str(folder / f"{len(nodes.worker_nodes)}")}
            with variables(own):
                nodes.add_node(num_cpus=1, env_vars=notice)

        try:
            nodes.add_node(
                num_cpus=0,
                include_dashboard=True,
                dashboard_port=dashboard,
                dashboard_agent_listen_port=free_port(),  # not the one that every Ray of this machine wants
            )
            for _ in range(NODES):
                bring()
            yield nodes.address, bring
        finally:
            ray.shutdown()
            nodes.shutdown()
