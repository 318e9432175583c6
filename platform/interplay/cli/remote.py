"""Commands about a cluster elsewhere."""

from __future__ import annotations

import sys

import click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--address", envvar="RAY_DASHBOARD_ADDRESS", default="http://127.0.0.1:8265", show_default=True)
@click.option("--no-wait", is_flag=True, help="Return when the job is submitted.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def submit(ctx: click.Context, address: str, no_wait: bool, command: tuple[str, ...]) -> None:
    """Run an interplay COMMAND as a job on a Ray cluster: interplay submit search deit.small ...

    The working directory travels with the job (what .gitignore names stays). Give --storage a path that the
    cluster sees; without it, results go to ~/interplay on the head.
    """
    from interplay.cluster.submit import submit_job

    given = ctx.parent is not None and ctx.parent.params.get("storage") is not None
    status = submit_job(command, address=address, storage=ctx.obj["root"] if given else None, wait=not no_wait)
    sys.exit(0 if status else 1)
