"""Commands that train studies, and send MLflow what it misses."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from interplay.cli.ablation import OPTIONS, ablation_options, list_ablations, planned
from interplay.cli.checking import tell_ablation, tell_search
from interplay.cli.options import (
    SEARCH_OPTIONS,
    dry_run_options,
    execution_options,
    find_space,
    recipe_of,
    recipe_options,
    run_study,
    search_options,
    seeds_of,
    start_of,
)
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
@search_options
@execution_options
@dry_run_options
@click.pass_context
def search(
    ctx: click.Context,
    /,
    reference: str,
    assignments: tuple[str, ...],
    data: str | None,
    space: str,
    name: str,
    dry_run: bool,
    probe: bool,
    **options: Any,
) -> None:
    """Search SPACE around RECIPE.

    SPACE is digits.demo, a function of your own file (mine.py:space), or several of them together
    (regularisation+layerscale+mine.py:space).
    """
    recipe = recipe_of(ctx, reference, assignments, data)
    asked = {key: options.pop(key) for key in SEARCH_OPTIONS}
    asked["start_from"] = [start_of(ctx, start) for start in asked["start_from"]]
    if probe and not dry_run:
        raise click.UsageError("--probe belongs to --dry-run; leave it out, or add that")
    function = find_space(space)
    from interplay.studies import Wanted, run_search

    wanted = Wanted(space_name=space, **asked)
    if dry_run:
        tell_search(ctx, recipe, function, wanted, options, name=name, probe=probe)
        return
    run_study(ctx, lambda **common: run_search(recipe, function, wanted, name=name, **common), options)


@click.command()
@partial(recipe_options, required=False)
@click.argument("ablation", metavar="ABLATION", required=False)
@click.option("--list", "listing", is_flag=True, help="Instead: all ablations, with what they need.")
@click.option("--name", default="", help="Name of the study; the same name continues or extends it.  [required]")
@ablation_options
@click.option("--seeds", default="3", show_default=True, help="Of each row; auto: where rows are undecided.")
@click.option("--max-seeds", type=int, help="Of a row with --seeds auto. Default: 10; fixed once begun.")
@click.option("--max-cells", type=int, help="Of the study with --seeds auto. Default: as many as it takes.")
@click.option("--margin", type=float, help="Top-1 points below which a difference does not matter. Default: 0.2.")
@execution_options
@dry_run_options
@click.pass_context
def ablate(
    ctx: click.Context,
    /,
    reference: str | None,
    assignments: tuple[str, ...],
    data: str | None,
    ablation: str | None,
    listing: bool,
    name: str,
    seeds: str,
    max_seeds: int | None,
    max_cells: int | None,
    margin: float | None,
    dry_run: bool,
    probe: bool,
    **execution: Any,
) -> None:
    """Train the rows of ABLATION on RECIPE as baseline, paired by seed, and print the table.

    RECIPE may be left out where the ablation has its own baseline, as the thesis's tables do (thesis.T3_8).

    With --seeds auto every row has 3 seeds, then 5, 8 and 10 until it differs from the baseline or is the same within
    --margin; the table's p values are corrected for looking that often. Running it again continues.
    """
    given = seeds_of(seeds)
    if listing:
        click.echo(list_ablations())
        return
    if ablation is None:
        reference, ablation = None, reference
    if ablation is None:
        raise click.UsageError("Missing argument 'ABLATION'; --list lists them.")
    if not name:
        raise click.UsageError("Missing option '--name'.")
    same = {option: execution.pop(option) for option in OPTIONS}
    plan = planned(ctx, reference, ablation, assignments, data, same)
    if probe and not dry_run:
        raise click.UsageError("--probe belongs to --dry-run; leave it out, or add that")
    from interplay.studies import Repeats, run_ablation

    repeats = Repeats(given, max_seeds, max_cells, margin, every_stage=same["seed_every_stage"])
    if dry_run:
        tell_ablation(ctx, plan, repeats, execution, name=name, probe=probe)
        return
    run_study(
        ctx, lambda **common: run_ablation(plan.baseline, plan.ablation, repeats, name=name, **common), execution
    )


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


@click.command()
@click.argument("study")
@click.option("--cell", default="", help="Fingerprint, or its first digits. Default: the best cell of a search.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="New folder, instead of MLflow.")
@click.pass_context
def export(ctx: click.Context, study: str, cell: str, out: Path | None) -> None:
    """Log a cell's model of STUDY to its MLflow run, for mlflow.pyfunc.load_model and mlflow models serve.

    It takes uint8 images [B, R, R, 3] and gives probabilities [B, classes].
    """
    from interplay.studies.exporting import export_model

    click.echo(export_model(ctx.obj["root"], study, cell, out))
