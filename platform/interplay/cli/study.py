"""Commands that train and report studies."""

from __future__ import annotations

from typing import Any

import click

from interplay.cli.options import execution_options, find_ablation, find_space, recipe_of, recipe_options, run_study
from interplay.errors import InterplayError


@click.command()
@recipe_options
@execution_options
@click.option("--name", default="", help="Name of the run. Default: the recipe's name and the cell's first digits.")
@click.pass_context
def train(
    ctx: click.Context, /, reference: str, assignments: tuple[str, ...], data: str | None, name: str, **execution: Any
) -> None:
    """Train one cell: RECIPE as it is. A cell that is finished is not trained again."""
    recipe = recipe_of(ctx, reference, assignments, data)
    from interplay.studies import run_training

    run_study(ctx, lambda **common: run_training(recipe, name=name, **common), execution)


@click.command()
@recipe_options
@click.argument("space", metavar="SPACE")
@click.option("--name", required=True, help="Name of the study; the same name continues or extends it.")
@click.option("--trials", default=16, show_default=True, help="Cells the study shall have.")
@click.option("--sampler", default="tpe", show_default=True, help="tpe or random.")
@click.option("--seed", default=0, show_default=True, help="Of the sampler.")
@execution_options
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
    recipe = recipe_of(ctx, reference, assignments, data)
    function = find_space(space)
    from interplay.studies import run_search

    options: dict[str, Any] = {"trials": trials, "space_name": space, "sampler": sampler, "seed": seed}
    run_study(ctx, lambda **common: run_search(recipe, function, name=name, **options, **common), execution)


@click.command()
@recipe_options
@click.argument("ablation", metavar="ABLATION")
@click.option("--name", required=True, help="Name of the study; the same name continues or extends it.")
@click.option("--seeds", default=3, show_default=True, help="Seeds of each row: 0 to SEEDS - 1.")
@execution_options
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
    recipe = recipe_of(ctx, reference, assignments, data)
    rows = find_ablation(ablation)
    from interplay.studies import run_ablation

    run_study(ctx, lambda **common: run_ablation(recipe, rows, name=name, seeds=range(seeds), **common), execution)


@click.command()
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


@click.command()
@click.argument("study")
@click.pass_context
def sync(ctx: click.Context, study: str) -> None:
    """Send MLflow what it does not have yet of STUDY."""
    from interplay.studies import sync_study

    sent, view = sync_study(ctx.obj["root"], study)
    if not sent:
        raise InterplayError(f"MLflow at {view.uri} is away; nothing is lost, try again later")
    click.echo(f"MLflow at {view.uri} has all of {study}: run {view.parent} and {len(view.runs())} children")
