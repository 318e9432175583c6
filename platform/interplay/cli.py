"""The command line: thin over the Python API. Bad input is one sentence and exit code 2."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from interplay import __version__
from interplay.cli_data import data
from interplay.cli_models import evaluate, measure
from interplay.cli_recipe import recipe_commands
from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_function, find_recipe, parse_assignments

Command = TypeVar("Command", bound=Callable[..., Any])

BEST = "best:"


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
    ctx.obj = {"root": root, "verbose": verbose}
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    if not verbose:
        warnings.simplefilter("ignore")
        for noisy in ("ray", "alembic", "mlflow", "optuna"):
            logging.getLogger(noisy).setLevel(logging.ERROR)


def _recipe_options(command: Command, required: bool = True) -> Command:
    """Arguments of every command that takes a recipe."""
    for option in (
        click.option("--data", help="Data set: digits, or the path of a .beton. Short for -s data.dataset=..."),
        click.option("-s", "--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change the recipe."),
        click.argument("reference", metavar="RECIPE", required=required),
    ):
        command = option(command)
    return command


def _execution_options(command: Command) -> Command:
    """Options that say how cells are trained; none of them changes a result."""
    for option in (
        click.option("--channels-last", is_flag=True, help="Memory format that convolutions on GPUs prefer."),
        click.option("--compile", is_flag=True, help="Let torch compile the model's blocks."),
        click.option("--micro-batch", default=0, help="Images of a worker in memory at a time. Default: all."),
        click.option("--keep-last", default=0, help="Keep the checkpoints of the last so many epochs."),
        click.option("--keep-best", is_flag=True, help="Keep the checkpoint with the best validation top-1 too."),
        click.option("--checkpoint-every", default=30.0, show_default=True, help="Seconds between checkpoints."),
        click.option(
            "--concurrency", default=0, help="Cells at the same time. Default: what the cluster has room for."
        ),
        click.option("--gpus", default=0.0, show_default=True, help="GPUs of each worker."),
        click.option("--threads", default=1, show_default=True, help="CPU threads of each worker."),
        click.option("--workers", default=1, show_default=True, help="Workers of each cell."),
        click.option(
            "--executor",
            default="auto",
            show_default=True,
            type=click.Choice(["auto", "inline", "train"]),
            help="inline: one worker in a reused actor. train: a Ray Train job.",
        ),
    ):
        command = option(command)
    return command


def _recipe(ctx: click.Context, reference: str, assignments: tuple[str, ...], data: str | None) -> Recipe:
    if reference.startswith(BEST):
        from interplay.studies import best_recipe

        recipe = best_recipe(ctx.obj["root"], reference.removeprefix(BEST))
    else:
        recipe = _call(reference, find_recipe, reference)
    changes = parse_assignments(assignments)
    if data is not None:
        changes["data.dataset"] = data
    return recipe.with_(changes)


def _call(reference: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a person's function returns; a mistake in it is one sentence too."""
    try:
        return function(*arguments)
    except InterplayError:
        raise
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f"{part}: " for part in (reference, ".".join(map(str, first["loc"]))) if part)
        raise InterplayError(place + first["msg"].removeprefix("Value error, ")) from error
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InterplayError(f"{reference} raised {type(error).__name__}: {reason}") from error


def _run(ctx: click.Context, study: Callable[..., Any], execution: dict[str, Any]) -> None:
    """Runs a study with a progress display, prints its table and where to look closer."""
    from interplay.console import ConsoleProgress
    from interplay.study.execution import Execution

    execution["checkpoint_every_s"] = execution.pop("checkpoint_every")
    root: Path = ctx.obj["root"]
    with ConsoleProgress(root) as progress:
        outcome = study(root=root, execution=Execution(**execution), progress=progress, verbose=ctx.obj["verbose"])
    from interplay.console import print_study

    print_study(root, outcome)
    if outcome.interrupted:
        click.echo("stopped; run the same command to continue", err=True)
        sys.exit(130)
    if not outcome.complete:
        sys.exit(1)


for command in (data, evaluate, measure, recipe_commands):
    main.add_command(command)


@main.command()
@_recipe_options
@_execution_options
@click.option("--name", default="", help="Name of the run. Default: the recipe's name and the cell's first digits.")
@click.pass_context
def train(
    ctx: click.Context, /, reference: str, assignments: tuple[str, ...], data: str | None, name: str, **execution: Any
) -> None:
    """Train one cell: RECIPE as it is. A cell that is finished is not trained again."""
    recipe = _recipe(ctx, reference, assignments, data)
    from interplay.studies import run_training

    _run(ctx, lambda **common: run_training(recipe, name=name, **common), execution)


@main.command()
@_recipe_options
@click.argument("space", metavar="SPACE")
@click.option("--name", required=True, help="Name of the study; the same name continues or extends it.")
@click.option("--trials", default=16, show_default=True, help="Cells the study shall have.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe or random.")
@click.option("--seed", default=0, show_default=True, help="Of the sampler.")
@_execution_options
@click.pass_context
def search(
    ctx: click.Context,
    /,
    reference: str,
    assignments: tuple[str, ...],
    data: str | None,
    space: str,
    name: str,
    trials: int,
    sampler: str,
    seed: int,
    **execution: Any,
) -> None:
    """Search SPACE around RECIPE. SPACE is digits.demo, or a function of your own file (mine.py:space)."""
    recipe = _recipe(ctx, reference, assignments, data)
    function = find_space(space)
    from interplay.studies import run_search

    options: dict[str, Any] = {"trials": trials, "space_name": space, "sampler": sampler, "seed": seed}
    _run(ctx, lambda **common: run_search(recipe, function, name=name, **options, **common), execution)


@main.command()
@_recipe_options
@click.argument("ablation", metavar="ABLATION")
@click.option("--name", required=True, help="Name of the study; the same name continues or extends it.")
@click.option("--seeds", default=3, show_default=True, help="Seeds of each row: 0 to SEEDS - 1.")
@_execution_options
@click.pass_context
def ablate(
    ctx: click.Context,
    /,
    reference: str,
    assignments: tuple[str, ...],
    data: str | None,
    ablation: str,
    name: str,
    seeds: int,
    **execution: Any,
) -> None:
    """Train the rows of ABLATION on RECIPE as baseline, each with the same seeds, and print the table."""
    recipe = _recipe(ctx, reference, assignments, data)
    rows = find_ablation(ablation)
    from interplay.studies import run_ablation

    _run(ctx, lambda **common: run_ablation(recipe, rows, name=name, seeds=range(seeds), **common), execution)


def find_space(reference: str) -> Callable[[Any], Any]:
    """The search space that `reference` names."""
    function = find_function(reference, package="search_spaces")
    return lambda trial: _call(reference, function, trial)


def find_ablation(reference: str) -> Any:
    """The ablation that `reference` names."""
    from interplay.study.ablation import Ablation

    found = _call(reference, find_function(reference, package="search_spaces.ablations"))
    if not isinstance(found, Ablation):
        raise InterplayError(f"{reference} returned {type(found).__name__}, not an Ablation")
    return found


@main.command()
@partial(_recipe_options, required=False)
@click.option("--space", help="Also check a search space.")
@click.option("--ablation", help="Also check an ablation.")
@click.option("--models", is_flag=True, help="Instead: count every architecture of the thesis and its variants.")
@click.pass_context
def check(
    ctx: click.Context,
    reference: str | None,
    assignments: tuple[str, ...],
    data: str | None,
    space: str | None,
    ablation: str | None,
    models: bool,
) -> None:
    """Say what RECIPE needs, and refuse what cannot work, without training anything."""
    if models:
        _check_models()
        return
    if reference is None:
        raise click.UsageError("name a RECIPE, or give --models")
    recipe = _recipe(ctx, reference, assignments, data)
    from interplay.checks import check_ablation, check_recipe, check_space

    lines = check_recipe(recipe, ctx.obj["root"])
    if space is not None:
        lines.append(check_space(recipe, find_space(space), space))
    if ablation is not None:
        lines.append(check_ablation(recipe, find_ablation(ablation)))
    click.echo("\n".join(lines))


def _check_models() -> None:
    from interplay.models.counts import published
    from interplay.report.architectures import architectures_table
    from interplay.report.draw import to_text

    with click.progressbar(length=len(published()), label="models", file=sys.stderr) as bar:
        table = architectures_table(bar.update)
    click.echo(to_text(table))


@main.command()
@click.argument("study")
@click.option("--format", "form", default="text", type=click.Choice(["text", "md", "csv", "json"]), show_default=True)
@click.option("--best", type=click.IntRange(min=1), help="Only the best BEST cells of a search.")
@click.pass_context
def report(ctx: click.Context, study: str, form: str, best: int | None) -> None:
    """Print the table of STUDY, also while it runs."""
    from interplay.report.draw import to_csv
    from interplay.report.study import study_table

    table = study_table(ctx.obj["root"], study, best)
    drawn = {"text": lambda: table.text, "md": lambda: table.markdown, "json": lambda: table.json}
    click.echo(to_csv(table.table) if form == "csv" else drawn[form]())


@main.command()
@click.argument("study")
@click.pass_context
def sync(ctx: click.Context, study: str) -> None:
    """Send MLflow what it does not have yet of STUDY."""
    from interplay.studies import sync_study

    sent, view = sync_study(ctx.obj["root"], study)
    if not sent:
        raise InterplayError(f"MLflow at {view.uri} is away; nothing is lost, try again later")
    click.echo(f"MLflow at {view.uri} has all of {study}: run {view.parent} and {len(view.runs())} children")


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
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
