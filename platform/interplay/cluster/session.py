"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import ray

# Ray's client and nodes must agree on this; an explicit choice beats Ray's own, which differs between them.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

ONE_MACHINE = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_TRAIN_METRICS_ENABLED": "0"}
"""What a cluster of one machine can do without: a process per Ray Train job that waits for a notice nobody
sends, and metrics for a Grafana that is not there."""

_RAYS_OWN = (44217, 44227, 52365)
"""Metrics of its autoscaler and dashboard, and its agent, by default: in the range of which free ports are drawn."""


@contextmanager
def session(verbose: bool = False) -> Iterator[None]:
    """Connects to the cluster of `$RAY_ADDRESS` (set inside a submitted job) or starts one here, for this block."""
    if ray.is_initialized():
        yield
        return
    level = logging.INFO if verbose else logging.ERROR
    try:
        if os.environ.get("RAY_ADDRESS"):
            ray.init(address="auto", log_to_driver=verbose, logging_level=level)
            yield
        else:
            # The dashboard must run: without it Tune never gets a stopped trial's resources back, and Ray Train
            # waits 12 seconds at the end of each job. Ray's processes are told where it is: by themselves they
            # ask the last cluster of this machine, which may be dead.
            port = free_port()
            with variables({**ONE_MACHINE, "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{port}"}):
                ray.init(
                    address="local",  # likewise
                    include_dashboard=True,
                    dashboard_host="127.0.0.1",
                    dashboard_port=port,
                    log_to_driver=verbose,
                    logging_level=level,
                )
            yield
    finally:
        ray.shutdown()


def free_port() -> int:
    """A port of this machine that nobody uses now, and that Ray does not take by itself."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    with ExitStack() as held:  # all of them until the last is drawn
        found: list[int] = []
        while len(found) < count:
            one = held.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            if (port := int(one.getsockname()[1])) not in _RAYS_OWN:
                found.append(port)
        return found


@contextmanager
def variables(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for this block. Processes started in it inherit them; we ourselves keep our own, for
    Ray prefers them to addresses it is given.
    """
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
