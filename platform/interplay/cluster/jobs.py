"""The jobs of a cluster, by the study they run: finding them, reading what they print, stopping them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import click
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from interplay.errors import InterplayError

STUDIES = ("search", "ablate", "train")
"""Commands that run a study."""

LOOK_S = 1.0
STOP_WAIT_S = 180.0


@dataclass(frozen=True)
class StudyCommand:
    """What a job's entrypoint says: `python -m interplay --storage /mnt/runs search ... --name s1`.

    Attributes:
        before: the words before the command: how Interplay is called, and the options of all commands.
        study: its `--name`; empty if it has none.
    """

    before: tuple[str, ...]
    study: str


@dataclass(frozen=True)
class StudyJob:
    """A job that runs, or ran, a study."""

    id: str
    status: JobStatus
    command: StudyCommand
    environment: dict[str, Any]
    began_ms: int

    @property
    def live(self) -> bool:
        return not self.status.is_terminal()


def study_command(entrypoint: str) -> StudyCommand | None:
    """What `entrypoint` runs, if it is a study; however it was submitted."""
    try:
        words = shlex.split(entrypoint)
    except ValueError:
        return None
    called = next((i for i, word in enumerate(words) if PurePath(word).name == "interplay"), None)
    if called is None:
        return None
    at = next((i for i in range(called + 1, len(words)) if words[i] in STUDIES), None)
    return None if at is None else StudyCommand(tuple(words[:at]), _option(words[at + 1 :], "--name"))


def connect(address: str) -> JobSubmissionClient:
    """The job server at `address`.

    Raises:
        InterplayError: if there is none, or it wants a token that is not here.
    """
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise InterplayError(_TOKEN.format(address=address)) from None
    except (ConnectionError, RuntimeError) as error:
        if any(word in str(error).lower() for word in ("401", "403", "token", "unauthori")):
            raise InterplayError(_TOKEN.format(address=address)) from None
        raise InterplayError(
            f"no Ray cluster answers at {address} ({first_line(error)}); start one with ray start --head, or forward "
            "the port of its head with ray dashboard ray_cluster.yaml"
        ) from None


_TOKEN = (
    "the cluster at {address} wants a token; set RAY_AUTH_MODE=token, with the cluster's token in ~/.ray/auth_token "
    "or in the file that RAY_AUTH_TOKEN_PATH names"
)


def jobs_of(client: JobSubmissionClient, study: str) -> list[StudyJob]:
    """All jobs of the study, the newest first."""
    found = [job for details in client.list_jobs() if (job := _study_job(details)) and job.command.study == study]
    return sorted(found, key=lambda job: job.began_ms, reverse=True)


def newest_job(client: JobSubmissionClient, study: str) -> StudyJob:
    """The job that runs the study, or ran it last.

    Raises:
        InterplayError: if there has been none.
    """
    jobs = jobs_of(client, study)
    if not jobs:
        known = {job.command.study for details in client.list_jobs() if (job := _study_job(details))}
        there = f"; it has run: {', '.join(sorted(known - {''}))}" if known - {""} else ""
        raise InterplayError(f"the cluster has run no study {study!r}{there}")
    return next((job for job in jobs if job.live), jobs[0])


def follow(client: JobSubmissionClient, job: str, show: Callable[[str], None] | None = None) -> JobStatus:
    """Gives what the job prints to `show`, or prints it, until the job has ended; how it ended."""
    offset = 0
    while True:
        status = client.get_job_status(job)
        logs = client.get_job_logs(job)
        if len(logs) > offset:
            (show or _echo)(logs[offset:])
            offset = len(logs)
        if status.is_terminal():
            return status
        time.sleep(LOOK_S)


def stop_study(client: JobSubmissionClient, study: str) -> list[str]:
    """Stops the study's running jobs and waits until they have ended; their ids.

    Raises:
        InterplayError: if none is running, or one does not end.
    """
    live = [job.id for job in jobs_of(client, study) if job.live]
    if not live:
        newest_job(client, study)  # there may be no such study
        raise InterplayError(f"study {study!r} is not running on the cluster; nothing to stop")
    for job in live:
        client.stop_job(job)
    deadline = time.monotonic() + STOP_WAIT_S
    for job in live:
        while not client.get_job_status(job).is_terminal():
            if time.monotonic() > deadline:
                raise InterplayError(f"job {job} did not end within {STOP_WAIT_S:g} s; look at: ray job logs {job}")
            time.sleep(LOOK_S)
    return live


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _study_job(details: JobDetails) -> StudyJob | None:
    """None for what is no submitted job, or no study."""
    command = study_command(details.entrypoint or "")
    if command is None or not details.submission_id:
        return None
    status = JobStatus(details.status)
    return StudyJob(details.submission_id, status, command, dict(details.runtime_env or {}), details.start_time or 0)


def _option(words: list[str], name: str) -> str:
    for i, word in enumerate(words):
        if word == name and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return ""


def _echo(text: str) -> None:
    click.echo(text, nl=False)
