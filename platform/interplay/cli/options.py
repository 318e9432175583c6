"""What several commands share: their options, what a person's words name, and running a study."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_function, find_recipe, parse_assignments

Command = TypeVar("Command", bound=Callable[..., Any])

BEST = "best:"


def recipe_options(command: Command, required: bool = True) -> Command:
    """Arguments of every command that takes a recipe."""
    for option in (
        click.option("--data", help="Data set: digits, or the path of a .beton. Short for -s data.dataset=..."),
        click.option("-s", "--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change the recipe."),
        click.argument("reference", metavar="RECIPE", required=required),
    ):
        command = option(command)
    return command


def execution_options(command: Command) -> Command:
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


def recipe_of(ctx: click.Context, reference: str, assignments: tuple[str, ...], data: str | None) -> Recipe:
    if reference.startswith(BEST):
        from interplay.studies import best_recipe

        recipe = best_recipe(ctx.obj["root"], reference.removeprefix(BEST))
    else:
        recipe = call(reference, find_recipe, reference)
    changes = parse_assignments(assignments)
    if data is not None:
        changes["data.dataset"] = data
    return recipe.with_(changes)


def call(reference: str, function: Callable[..., Any], *arguments: Any) -> Any:
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


def run_study(ctx: click.Context, study: Callable[..., Any], execution: dict[str, Any]) -> None:
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


def find_space(reference: str) -> Callable[[Any], Any]:
    """The search space that `reference` names."""
    function = find_function(reference, package="search_spaces")
    return lambda trial: call(reference, function, trial)


def find_ablation(reference: str) -> Any:
    """The ablation that `reference` names."""
    from interplay.study.ablation import Ablation

    found = call(reference, find_function(reference, package="search_spaces.ablations"))
    if not isinstance(found, Ablation):
        raise InterplayError(f"{reference} returned {type(found).__name__}, not an Ablation")
    return found
