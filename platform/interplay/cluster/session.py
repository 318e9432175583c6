"""Joining a Ray cluster, or starting one on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

from interplay.cluster.revision import code_revision

# Ray's client and nodes must agree on this; an explicit choice beats Ray's own, which differs between them.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")


@dataclass(frozen=True)
class Session:
    """A connection to a cluster: the revision of the code that uses it."""

    code_revision: str


@contextmanager
def session(verbose: bool = False) -> Iterator[Session]:
    """Connects to the cluster of `$RAY_ADDRESS` (set inside a submitted job) or starts one here, for this block."""
    joined = ray.is_initialized()
    if not joined:
        level = logging.INFO if verbose else logging.ERROR
        if os.environ.get("RAY_ADDRESS"):
            ray.init(address="auto", log_to_driver=verbose, logging_level=level)
        else:
            # local: by itself Ray looks for the last cluster of this machine, and waits for ever for a dead one.
            # The dashboard must run: without it Tune never gets a stopped trial's resources back.
            ray.init(
                address="local",
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                log_to_driver=verbose,
                logging_level=level,
            )
    try:
        yield Session(code_revision=code_revision())
    finally:
        if not joined:
            ray.shutdown()
