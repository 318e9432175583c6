"""`interplay check`: nothing is trained."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import click

from interplay.cli.ablation import OPTIONS, ablation_options, planned
from interplay.cli.options import (
    execution_of,
    execution_options,
    find_space,
    recipe_of,
    recipe_options,
    seeds_of,
)
from interplay.recipe import Recipe


@click.command()
@partial(recipe_options, required=False)
@click.option("--space", help="Check a search of this space around RECIPE.")
@click.option("--ablation", help="Check an ablation, on its own baseline if there is no RECIPE.")
@ablation_options
@click.option("--seeds", default="3", show_default=True, help="With --ablation: of each row, or auto.")
@click.option("--noise", help="Spread over seeds in points, or an ablation to take it from. Default: what is known.")
@click.option("--trials", type=int, help="With --space: cells. Default: 16, or the whole of a grid.")
@click.option("--sampler", default="tpe", show_default=True, help="With --space: see interplay search.")
@click.option("--probe", is_flag=True, help="Train two steps here where no finished cell tells how fast a model is.")
@click.option("--models", is_flag=True, help="Instead: count every architecture of the thesis and its variants.")
@execution_options
@click.pass_context
def check(
    ctx: click.Context,
    /,
    reference: str | None,
    assignments: tuple[str, ...],
    data: str | None,
    space: str | None,
    ablation: str | None,
    seeds: str,
    noise: str | None,
    trials: int | None,
    sampler: str,
    probe: bool,
    models: bool,
    **options: Any,
) -> None:
    """Say what RECIPE or a study needs, and refuse what cannot work, without training anything.

    Sizes are counted, times are those of finished cells like these, or of two steps (--probe); what neither tells is
    left open. `search --dry-run` and `ablate --dry-run` say the same of exactly that study.
    """
    if models:
        _check_models()
        return
    if reference is None and ablation is None:
        raise click.UsageError("name a RECIPE or an --ablation, or give --models")
    if space is not None and ablation is not None:
        raise click.UsageError("--space and --ablation are two studies; check one of them")
    same = {option: options.pop(option) for option in OPTIONS}
    given = seeds_of(seeds)
    if ablation is not None:
        found = planned(ctx, reference, ablation, assignments, data, same)
        tell_ablation(ctx, found, {"seeds": given}, options, name="", noise=noise, probe=probe)
        return
    recipe = recipe_of(ctx, str(reference), assignments, data)
    if space is not None:
        wanted = {"trials": trials, "sampler": sampler}
        tell_search(ctx, recipe, space, wanted, options, name="", probe=probe)
        return
    from interplay.checks import check_recipe

    click.echo("\n".join(check_recipe(recipe, ctx.obj["root"], execution_of(options), probing=probe)))


def tell_search(
    ctx: click.Context,
    recipe: Recipe,
    space: str,
    wanted: dict[str, Any],
    execution: dict[str, Any],
    *,
    name: str,
    probe: bool,
) -> None:
    """Prints what a search needs."""
    from interplay.checks import search_lines
    from interplay.studies.plans import plan_search
    from interplay.studies.searching import Wanted

    how, root = execution_of(execution), ctx.obj["root"]
    plan = plan_search(
        recipe, find_space(space), Wanted(**wanted), name=name, root=root, space_name=space, execution=how
    )
    click.echo("\n".join(search_lines(plan, root, how, probing=probe)))


def tell_ablation(
    ctx: click.Context,
    found: Any,
    seeding: dict[str, Any],
    execution: dict[str, Any],
    *,
    name: str,
    probe: bool,
    noise: str | None = None,
) -> None:
    """Prints what an ablation needs, given as `planned` found it."""
    from interplay.checks import ablation_lines
    from interplay.studies.plans import plan_ablation

    how, root, seeds = execution_of(execution), ctx.obj["root"], seeding["seeds"]
    plan = plan_ablation(found.baseline, found.ablation, name=name, root=root, execution=how, **seeding)
    count = None if isinstance(seeds, str) else len(seeds)
    lines = ablation_lines(plan, found.ablation, root, how, seeds=count, noise=noise, probing=probe)
    click.echo("\n".join(lines))


def _check_models() -> None:
    from interplay.models.counts import published
    from interplay.report.architectures import architectures_table
    from interplay.report.draw import to_text

    with click.progressbar(length=len(published()), label="models", file=sys.stderr) as bar:
        table = architectures_table(bar.update)
    click.echo(to_text(table))
