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

from interplay.cluster.revision import code_revision
from interplay.errors import InterplayError

EXCLUDES = [".git", ".venv", "runs", "**/*.beton", "**/__pycache__", "*.egg-info", ".mypy_cache", ".ruff_cache"]
"""What never travels with a job, besides what .gitignore names."""

AGENT_TIMEOUT_S = 60.0


def runtime_environment(folder: Path, storage: Path | None) -> dict[str, Any]:
    """What a job needs: the folder's code, where results go, and which revision it is.

    In a checkout of Interplay itself the package travels along, in `platform/`.
    """
    variables = {
        "PYTHONPATH": "platform:." if (folder / "platform" / "interplay").is_dir() else ".",
        "INTERPLAY_REVISION": code_revision(),
    }
    if storage is not None:
        variables["INTERPLAY_STORAGE"] = str(storage)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        variables["MLFLOW_TRACKING_URI"] = uri
    return {"working_dir": str(folder), "excludes": EXCLUDES, "env_vars": variables}


def submit_job(command: Sequence[str], *, address: str, storage: Path | None, wait: bool = True) -> bool:
    """Submits `interplay COMMAND` and prints its output until it ends. True if it succeeded (or `wait` is off).

    Raises:
        InterplayError: if no cluster answers at `address`.
    """
    try:
        client = JobSubmissionClient(address)
    except (ConnectionError, RuntimeError) as error:
        raise InterplayError(
            f"no Ray cluster answers at {address} ({str(error).splitlines()[0]}); start one with ray start --head"
        ) from None
    entrypoint = shlex.join(["python", "-m", "interplay", *command])
    job = _submit(client, entrypoint, runtime_environment(Path.cwd(), storage))
    click.echo(f"job {job}: {entrypoint}", err=True)
    if not wait:
        return True
    offset = 0
    while True:
        status = client.get_job_status(job)
        logs = client.get_job_logs(job)
        click.echo(logs[offset:], nl=False)
        offset = len(logs)
        if status.is_terminal():
            break
        time.sleep(1.0)
    click.echo(f"job {job} {status.value.lower()}", err=True)
    return bool(status == JobStatus.SUCCEEDED)


def _submit(client: JobSubmissionClient, entrypoint: str, environment: dict[str, Any]) -> str:
    """The job's id. A cluster that has just started answers before it has an agent to run jobs: it is waited for."""
    deadline = time.monotonic() + AGENT_TIMEOUT_S
    while True:
        try:
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=environment))
        except RuntimeError as error:
            if "No available agent" not in str(error):
                raise InterplayError(f"the cluster refused the job: {str(error).splitlines()[0]}") from None
            if time.monotonic() > deadline:
                raise InterplayError("the cluster has no agent to run jobs; look at ray status on its head") from None
        time.sleep(1.0)
