"""The command line: thin over the Python API. Bad input is one sentence and exit code 2."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import click

from interplay import __version__
from interplay.cli.checking import check
from interplay.cli.data import data
from interplay.cli.drill import drill
from interplay.cli.explain import explain
from interplay.cli.models import evaluate, measure
from interplay.cli.probe import probe
from interplay.cli.recipe import recipe_commands
from interplay.cli.remote import logs, pull, push, status, stop, submit
from interplay.cli.report import report
from interplay.cli.retrieve import cluster, retrieve
from interplay.cli.study import ablate, export, search, sync, train
from interplay.errors import InterplayError


class _Group(click.Group):
    """Turns our errors into one line and exit code 2, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InterplayError as error:
            raise click.ClickException(str(error)) from None


click.ClickException.exit_code = 2


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="interplay")
@click.option("-v", "--verbose", is_flag=True, help="Show what Ray and the trials print.")
@click.option(
    "--storage",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="INTERPLAY_STORAGE",
    help="Folder of cells, studies and data sets. Default: ./runs, or ~/interplay in a submitted job.",
)
@click.pass_context
def main(ctx: click.Context, verbose: bool, storage: Path | None) -> None:
    """Find out what matters when a vision backbone is trained.

    A RECIPE is a function of the package recipes (deit.small), of your own file (mine.py:tiny), a resolved
    recipe (cell/recipe.yaml), or the best cell of a search (best:NAME). Running a study again does only what
    is missing: the same command continues, and with more trials or seeds extends.
    """
    from interplay.tracking.store import default_root

    root = storage.expanduser().resolve() if storage else default_root()
    there = next(path for path in (root, *root.parents) if path.exists())
    if not there.is_dir():
        raise InterplayError(f"--storage {root}: {there} is no folder; name another place")
    ctx.obj = {"root": root, "verbose": verbose}
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    if not verbose:
        warnings.simplefilter("ignore")
        for noisy in ("ray", "alembic", "mlflow", "optuna"):
            logging.getLogger(noisy).setLevel(logging.ERROR)


for command in (
    data,
    recipe_commands,
    check,
    train,
    evaluate,
    explain,
    measure,
    retrieve,
    probe,
    cluster,
    search,
    ablate,
    report,
    sync,
    export,
    drill,
    submit,
    status,
    logs,
    stop,
    push,
    pull,
):
    main.add_command(command)
