"""`interplay submit`: thin over `ray job submit`."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from ray.job_submission import JobStatus, JobSubmissionClient

from interplay.cluster.jobs import connect, first_line, follow
from interplay.cluster.revision import code_revision
from interplay.errors import InterplayError

EXCLUDES = [".git", ".venv", "runs", "**/*.beton", "**/__pycache__", "*.egg-info", ".mypy_cache", ".ruff_cache"]
"""What never travels with a job, besides what .gitignore names."""

OWN_EXCLUDES = ["docs", "tests", "*.md", "**/*.so", "**/*.[ch]"]
"""What a job does not need of a checkout of Interplay itself: a job's upload stays below a megabyte."""

AGENT_TIMEOUT_S = 60.0

STOP_S = 120
"""Seconds that a stopped job has for its checkpoints, its ledger and MLflow; Ray's own default is 3."""


def runtime_environment(folder: Path, storage: Path | None) -> dict[str, Any]:
    """What a job needs: the folder's code, where results go, and which revision it is.

    In a checkout of Interplay itself the package travels along, in `platform/`.
    """
    own = (folder / "platform" / "interplay").is_dir()
    variables = {
        "PYTHONPATH": "platform:." if own else ".",
        "INTERPLAY_REVISION": code_revision(),
        "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_S),
    }
    if storage is not None:
        variables["INTERPLAY_STORAGE"] = str(storage)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        variables["MLFLOW_TRACKING_URI"] = uri
        _refuse_password("MLFLOW_TRACKING_URI", uri)
    excludes = EXCLUDES + (OWN_EXCLUDES if own else [])
    return {"working_dir": str(folder), "excludes": excludes, "env_vars": variables}


def submit_job(command: Sequence[str], *, address: str, storage: Path | None, wait: bool = True) -> bool:
    """Submits `interplay COMMAND` and prints its output until it ends. True if it succeeded (or `wait` is off).

    The job does not need whoever submitted it: Ctrl-C here, or a closed laptop, leaves it running.

    Raises:
        InterplayError: if no cluster answers at `address`, or a password would be shown.
    """
    for word in command:
        _refuse_password("the command", word)
    client = connect(address)
    entrypoint = shlex.join(["python", "-m", "interplay", *command])
    job = start_job(client, entrypoint, runtime_environment(Path.cwd(), storage))
    click.echo(f"job {job}: {entrypoint}", err=True)
    if not wait:
        return True
    try:
        status = follow(client, job)
    except KeyboardInterrupt:
        click.echo(f"\njob {job} goes on; interplay stop ends it", err=True)
        return True
    click.echo(f"job {job} {status.value.lower()}", err=True)
    return bool(status == JobStatus.SUCCEEDED)


def start_job(client: JobSubmissionClient, entrypoint: str, environment: dict[str, Any]) -> str:
    """The job's id. A cluster that has just started answers before it has an agent to run jobs: it is waited for.

    Raises:
        InterplayError: if the cluster does not take it.
    """
    deadline = time.monotonic() + AGENT_TIMEOUT_S
    while True:
        try:
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=environment))
        except RuntimeError as error:
            if "No available agent" not in str(error):
                raise InterplayError(f"the cluster refused the job: {first_line(error)}") from None
            if time.monotonic() > deadline:
                raise InterplayError("the cluster has no agent to run jobs; look at ray status on its head") from None
        time.sleep(1.0)


def _refuse_password(name: str, text: str) -> None:
    """Whoever sees the job server can read a job's command and its environment.

    Raises:
        InterplayError: if `text` is an address with a password.
    """
    place = text.split("://", 1)[1].split("/", 1)[0] if "://" in text else ""
    if "@" in place and ":" in place.rsplit("@", 1)[0]:
        raise InterplayError(
            f"{name} holds a password, which the job would show to all; leave it out of the address, and set it in "
            "the environment of the cluster's head (INTERPLAY_OPTUNA_PASSWORD, MLFLOW_TRACKING_PASSWORD)"
        )
