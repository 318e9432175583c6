"""Commands about a study that runs, here or on a cluster elsewhere."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

ADDRESS = "http://127.0.0.1:8265"
REFRESH_S = 2.0


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--address", envvar="RAY_DASHBOARD_ADDRESS", default=ADDRESS, show_default=True)
@click.option("--no-wait", is_flag=True, help="Return when the job is submitted.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def submit(ctx: click.Context, address: str, no_wait: bool, command: tuple[str, ...]) -> None:
    """Run an interplay COMMAND as a job on a Ray cluster: interplay submit search deit.small ...

    The working directory travels with the job (what .gitignore names stays). Give --storage a path that the
    cluster sees; without it, results go to ~/interplay on the head. The job goes on when this command ends; look
    after it with interplay status, logs and stop. Submitting the same command again continues it.
    """
    from interplay.cluster.submit import submit_job

    given = ctx.parent is not None and ctx.parent.params.get("storage") is not None
    status = submit_job(command, address=address, storage=ctx.obj["root"] if given else None, wait=not no_wait)
    sys.exit(0 if status else 1)


def where(command: Command) -> Command:
    return click.option(
        "--address",
        envvar="RAY_DASHBOARD_ADDRESS",
        help=f"Job server of a cluster. Default: {ADDRESS}, for a study that the storage folder does not hold.",
    )(command)


@click.command()
@click.argument("study")
@click.option("-f", "--follow", is_flag=True, help="Go on until the study has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@where
@click.pass_context
def status(ctx: click.Context, study: str, follow: bool, as_json: bool, address: str | None) -> None:
    """How STUDY is: its cells, what it used and will use, when it will be complete, and where it runs.

    A study of the storage folder is read from there, whoever runs it; any other is asked for at the cluster.
    """
    root: Path = ctx.obj["root"]
    with _Screen(follow, as_json) as screen:
        if _is_here(root, study, address):
            from interplay.report.status import study_status

            now = study_status(root, study)
            screen.show(now.plain())
            while follow and not now.over:
                time.sleep(REFRESH_S)
                now = study_status(root, study)
                screen.show(now.plain())
            return
        from interplay.cluster.jobs import connect
        from interplay.cluster.nodes import cluster_nodes
        from interplay.cluster.remote_status import remote_status

        server = address or ADDRESS
        remote_status(
            connect(server),
            study,
            lambda plain: screen.show({**plain, "nodes": cluster_nodes(server)}),
            live=follow,
        )


@click.command()
@click.argument("study")
@click.option("-f", "--follow", is_flag=True, help="Go on until the study has ended.")
@where
@click.pass_context
def logs(ctx: click.Context, study: str, follow: bool, address: str | None) -> None:
    """What the newest job of STUDY has printed; of a study of the storage folder, what its cells' journals say."""
    root: Path = ctx.obj["root"]
    if not _is_here(root, study, address):
        from interplay.cluster.jobs import connect, newest_job
        from interplay.cluster.jobs import follow as follow_job

        client = connect(address or ADDRESS)
        job = newest_job(client, study)
        if follow:
            follow_job(client, job.id)
        else:
            click.echo(client.get_job_logs(job.id), nl=False)
        return
    from interplay.report.status import study_status
    from interplay.report.timeline import Timeline

    timeline = Timeline(root, study)
    while True:
        over = not follow or study_status(root, study).over  # before the last look, which then misses nothing
        for line in timeline.news():
            click.echo(line)
        if over:
            return
        time.sleep(REFRESH_S)


@click.command()
@click.argument("study")
@where
@click.pass_context
def stop(ctx: click.Context, study: str, address: str | None) -> None:
    """Stop STUDY where it runs: cells take a checkpoint, and its command run again continues it."""
    root: Path = ctx.obj["root"]
    if _is_here(root, study, address):
        from interplay.study.definition import study_directory
        from interplay.study.driving.stopping import stop_driver

        click.echo(f"study {study} stopped (process {stop_driver(study_directory(root, study))})")
        return
    from interplay.cluster.jobs import connect, stop_study

    for job in stop_study(connect(address or ADDRESS), study):
        click.echo(f"study {study} stopped (job {job}); submit its command again to continue")


def _is_here(root: Path, study: str, address: str | None) -> bool:
    """Whether the storage folder is to be read, and not a cluster asked.

    Raises:
        InterplayError: inside a job, if there is no such study yet.
    """
    from interplay.cluster.remote_status import inside_job
    from interplay.study.definition import read_definition, study_directory

    if inside_job():
        read_definition(root, study)
        return True
    return address is None and (study_directory(root, study) / "study.yaml").is_file()


class _Screen:
    """Shows a status: in place on a terminal, one after the other elsewhere."""

    def __init__(self, follow: bool, as_json: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._as_json = as_json
        console = Console(highlight=False)
        self._live = Live(console=console, auto_refresh=False) if follow and not as_json else None
        if self._live is not None and not console.is_terminal:
            self._live = None

    def __enter__(self) -> _Screen:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, plain: Mapping[str, Any]) -> None:
        from rich.text import Text

        from interplay.report.status_text import status_text

        if self._as_json:
            click.echo(json.dumps(plain))
        elif self._live is not None:
            self._live.update(Text(status_text(plain)), refresh=True)
        else:
            click.echo(status_text(plain) + "\n")


@click.command()
@click.argument("place")
@click.argument("study", nargs=-1)
@click.pass_context
def push(ctx: click.Context, place: str, study: tuple[str, ...]) -> None:
    """Copy studies of the storage folder to PLACE (s3://BUCKET/FOLDER); all of it without STUDY.

    What is there already is not sent again. A cell's result goes last, so that half a copy is never a finished cell.
    """
    from interplay.studies.copies import push_studies

    click.echo(push_studies(ctx.obj["root"], place, study).text())


@click.command()
@click.argument("place")
@click.argument("study", nargs=-1)
@click.pass_context
def pull(ctx: click.Context, place: str, study: tuple[str, ...]) -> None:
    """Copy studies from PLACE (s3://BUCKET/FOLDER) to the storage folder; all of it without STUDY."""
    from interplay.studies.copies import pull_studies

    click.echo(pull_studies(ctx.obj["root"], place, study).text())
