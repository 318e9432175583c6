"""The status of a study on a cluster: a job beside it reads the storage root, which only the cluster sees."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ray.job_submission import JobSubmissionClient

from interplay.cluster.jobs import StudyJob, follow, newest_job
from interplay.cluster.submit import runtime_environment, start_job
from interplay.errors import InterplayError

Plain = dict[str, Any]


def inside_job() -> bool:
    """Whether this process is a submitted job, which asks no job server: it sees the storage root itself."""
    return bool(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR"))


def remote_status(client: JobSubmissionClient, study: str, show: Callable[[Plain], None], *, live: bool) -> None:
    """Gives the study's status to `show`; with `live` again and again until the study has ended.

    Raises:
        InterplayError: if the cluster has not run the study, or cannot say.
    """
    job = newest_job(client, study)
    words = [*job.command.before, "status", study, "--json", *(["--follow"] if live else [])]
    asked = start_job(client, shlex.join(words), _environment(job))
    rest, other = "", ""

    def read(text: str) -> None:
        nonlocal rest, other
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            if line.startswith("{"):
                show({**json.loads(line), "job": job.id, "job_status": job.status.value.lower()})
            elif line.strip():
                other = line

    try:
        status = follow(client, asked, read)
        if status.value != "SUCCEEDED":
            raise InterplayError(f"the cluster cannot say how {study!r} is: {other or f'see ray job logs {asked}'}")
    finally:
        with suppress(RuntimeError):
            client.stop_job(asked)
        with suppress(RuntimeError):
            client.delete_job(asked)


def _environment(job: StudyJob) -> Plain:
    """A running job's code is on the cluster; that of an ended one may have been cleared away, so ours is sent."""
    if job.live and str(job.environment.get("working_dir", "")).startswith("gcs://"):
        return job.environment
    ours = runtime_environment(Path.cwd(), None)
    return {**ours, "env_vars": {**ours["env_vars"], **job.environment.get("env_vars", {})}}
