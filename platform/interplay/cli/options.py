"""What several commands share: their options, what a person's words name, and running a study."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import click

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_function, find_recipe, parse_assignments
from interplay.recipe.find import call

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
    """Options that say how cells are trained, and what that may cost; none of them changes a result."""
    for option in (
        click.option(
            "--hard", is_flag=True, help="Stop running cells too, at a checkpoint, when a budget is used up."
        ),
        click.option(
            "--price",
            default="",
            metavar="TABLE",
            help="Of an hour: cpu=0.05,gpu=2.1,A10G=1.2 or a YAML file of these. Needed by --max-cost.",
        ),
        click.option("--max-cost", type=float, help="Begin no cell when the study has cost so much."),
        click.option("--max-gpu-hours", type=float, help="Begin no cell when it has used so many GPU-hours."),
        click.option("--max-hours", type=float, help="Begin no cell when it has run for so many hours, in all."),
        click.option("--eta", default=3.0, show_default=True, help="At each cut the best 1/ETA of the cells go on."),
        click.option("--grace", default=0, help="Epochs before the first cut. Default: a quarter of the recipe's."),
        click.option(
            "--scheduler",
            default="none",
            show_default=True,
            type=click.Choice(["none", "asha", "hyperband"]),
            help="Cut cells that are behind. For searches only; early accuracy misleads. PBT is --population.",
        ),
        click.option("--channels-last", is_flag=True, help="Memory format that convolutions on GPUs prefer."),
        click.option("--compile", is_flag=True, help="Let torch compile the model's blocks."),
        click.option("--micro-batch", default=0, help="Images of a worker in memory at a time. Default: all."),
        click.option("--keep-last", default=0, help="Keep the checkpoints of the last so many epochs."),
        click.option("--keep-best", is_flag=True, help="Keep the checkpoint with the best validation top-1 too."),
        click.option("--checkpoint-every", default=30.0, show_default=True, help="Seconds between checkpoints."),
        click.option(
            "--concurrency", default=0, help="Cells at the same time. Default: what the cluster has room for."
        ),
        click.option("--accelerator", default="", metavar="TYPE", help="Of these GPUs, as Ray calls it: A10G, H100."),
        click.option("--gpus", default=0.0, show_default=True, help="GPUs of each worker."),
        click.option("--threads", default=1, show_default=True, help="CPU threads of each worker."),
        click.option("--fewest-workers", default=0, help="Of each cell while nodes are missing. Default: --workers."),
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


def dry_run_options(command: Command) -> Command:
    """Only look, and how closely."""
    for option in (
        click.option("--probe", is_flag=True, help="With --dry-run: train two steps to tell how long it will take."),
        click.option("--dry-run", is_flag=True, help="Say what it needs, and stop there; nothing is written."),
    ):
        command = option(command)
    return command


SEARCH_OPTIONS = (
    "trials",
    "sampler",
    "seed",
    "objectives",
    "constraints",
    "start_from",
    "published_first",
    "warm_start",
    "retry_failed",
    "optuna_storage",
    "population",
)


def search_options(command: Command) -> Command:
    """Options that say which cells a search proposes: `SEARCH_OPTIONS`."""
    for option in (
        click.option(
            "--optuna-storage", default="", metavar="URL", help="Data base of the Optuna study: sqlite:///search.db."
        ),
        click.option(
            "--population",
            default=0,
            metavar="N",
            help="Population-based training: N cells a generation, which start from the weights of the one before.",
        ),
        click.option("--retry-failed", is_flag=True, help="Try cells that failed once more."),
        click.option(
            "--warm-start", multiple=True, metavar="STUDY", help="Tell the sampler of another study's finished cells."
        ),
        click.option("--published-first", is_flag=True, help="Try the space's published points first."),
        click.option(
            "--start-from",
            multiple=True,
            metavar="POINT",
            help="Try first: a YAML file of parameters, published:NAME, or the values of a RECIPE.",
        ),
        click.option(
            "--constraint",
            "constraints",
            multiple=True,
            metavar="LIMIT",
            help="Train only what keeps within: 'parameters<=6e6', 'macs<=1.3e9'.",
        ),
        click.option(
            "--objective",
            "objectives",
            multiple=True,
            metavar="METRIC[:max|:min]",
            help="What is optimised, the first one selects: val/top1 (default), parameters, macs, ...",
        ),
        click.option("--seed", default=0, show_default=True, help="Of the sampler."),
        click.option(
            "--sampler",
            default="tpe",
            show_default=True,
            help="tpe, gp, cmaes, nsga2, nsga3, random, qmc, or grid: every cell.",
        ),
        click.option("--trials", type=int, help="Cells the study shall have. Default: 16, or the whole of a grid."),
    ):
        command = option(command)
    return command


def start_of(ctx: click.Context, reference: str) -> str | Recipe:
    """What a search starts from: a YAML file or a published point by its name, anything else is a recipe."""
    named = reference.startswith("published:") or reference.endswith((".yaml", ".yml"))
    return reference if named else recipe_of(ctx, reference, (), None)


def recipe_of(ctx: click.Context, reference: str, assignments: tuple[str, ...], data: str | None) -> Recipe:
    if reference.startswith(BEST):
        from interplay.studies import best_recipe

        recipe = best_recipe(ctx.obj["root"], reference.removeprefix(BEST))
    else:
        recipe = find_recipe(reference)
    changes = parse_assignments(assignments)
    if data is not None:
        changes["data.dataset"] = data
    return recipe.with_(changes)


def execution_of(options: dict[str, Any]) -> Any:
    """The `Execution` that `execution_options` describe."""
    from interplay.study.driving.budget import Budget, parse_prices
    from interplay.study.driving.execution import Execution

    rest = dict(options)
    rest["checkpoint_every_s"] = rest.pop("checkpoint_every")
    price = rest.pop("price")
    rest["budget"] = Budget(
        hours=rest.pop("max_hours"),
        gpu_hours=rest.pop("max_gpu_hours"),
        cost=rest.pop("max_cost"),
        prices=parse_prices(price) if price else None,
        hard=rest.pop("hard"),
    )
    return Execution(**rest)


def run_study(ctx: click.Context, study: Callable[..., Any], execution: dict[str, Any]) -> None:
    """Runs a study with a progress display, prints its table and where to look closer."""
    from interplay.console import ConsoleProgress

    root: Path = ctx.obj["root"]
    with ConsoleProgress(root) as progress:
        outcome = study(root=root, execution=execution_of(execution), progress=progress, verbose=ctx.obj["verbose"])
    from interplay.console import print_study

    print_study(root, outcome)
    if outcome.interrupted:
        click.echo("stopped; run the same command to continue", err=True)
        sys.exit(130)
    if outcome.stopped:
        click.echo(f"incomplete: {outcome.stopped}", err=True)
    if not outcome.complete:
        sys.exit(1)


def find_space(reference: str) -> Callable[..., Any]:
    """The search space that `reference` names; `a+b` is both of them."""
    from interplay.study.search.spaces import combine

    functions = [find_function(name, package="search_spaces") for name in reference.split("+")]
    return _explained(reference, functions[0] if len(functions) == 1 else combine(*functions))


def _explained(reference: str, space: Callable[..., Any]) -> Callable[..., Any]:
    """`space`, whose mistakes name it."""
    from interplay.study.search.spaces import bind, published, published_points

    def explained(trial: Any, recipe: Recipe) -> Any:
        changes = call(reference, bind(space, recipe), trial)
        if not isinstance(changes, Mapping):
            raise InterplayError(
                f"{reference} returned {type(changes).__name__}, not a mapping of dotted recipe paths to values"
            )
        return changes

    return published(published_points(space))(explained)


def find_ablation(reference: str, baseline: Recipe | None = None) -> Any:
    """The ablation that `reference` names, with a recipe made of `baseline` for its own if its function takes one."""
    from interplay.study.ablation import Ablation, Row

    function = find_function(reference, package="search_spaces.ablations")
    takes_one = baseline is not None and len(inspect.signature(function).parameters) > 0
    found = call(reference, function, *([baseline] if takes_one else []))
    if not isinstance(found, Ablation):
        raise InterplayError(f"{reference} returned {type(found).__name__}, not an Ablation")
    if strange := [row for row in found.rows if not isinstance(row, Row)]:
        raise InterplayError(f"{reference}: the rows of an Ablation are Row(label, changes), not {strange[0]!r}")
    made = takes_one and found.baseline is not None
    return found if made or baseline is None else replace(found, baseline=baseline)


def seeds_of(text: str) -> Any:
    """`--seeds 5` as the seeds 0 to 4, `--seeds auto` as it is."""
    if text == "auto":
        return text
    try:
        return range(int(text))
    except ValueError:
        raise InterplayError(f"--seeds {text!r} must be a whole number, or auto") from None
