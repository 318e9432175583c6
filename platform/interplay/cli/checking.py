"""`interplay check`: nothing is trained."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from interplay.studies.searching import Wanted
    from interplay.studies.seeds import Repeats
    from interplay.study.planning import Plan


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
        from interplay.studies.seeds import Repeats

        repeats = Repeats(given, every_stage=same["seed_every_stage"])
        tell_ablation(ctx, found, repeats, options, name="", noise=noise, probe=probe)
        return
    recipe = recipe_of(ctx, str(reference), assignments, data)
    if space is not None:
        from interplay.studies.searching import Wanted

        wanted = Wanted(trials=trials, space_name=space, sampler=sampler)
        tell_search(ctx, recipe, find_space(space), wanted, options, name="", probe=probe)
        return
    from interplay.checks import check_recipe
    from interplay.data.datasets import aside

    with aside():
        lines = check_recipe(recipe, ctx.obj["root"], execution_of(options), probing=probe)
    click.echo("\n".join(lines))


def tell_search(
    ctx: click.Context,
    recipe: Recipe,
    space: Callable[..., Any],
    wanted: Wanted,
    execution: dict[str, Any],
    *,
    name: str,
    probe: bool,
) -> None:
    """Prints what a search needs."""
    from interplay.checks import search_lines
    from interplay.data.datasets import aside
    from interplay.studies.plans import plan_search

    how, root = execution_of(execution), ctx.obj["root"]
    with aside():
        plan = plan_search(recipe, space, wanted, name=name, root=root, execution=how)
        lines = search_lines(plan, root, how, probing=probe)
    click.echo("\n".join(lines))


def tell_ablation(
    ctx: click.Context,
    found: Plan,
    repeats: Repeats,
    execution: dict[str, Any],
    *,
    name: str,
    probe: bool,
    noise: str | None = None,
) -> None:
    """Prints what an ablation needs, given as `planned` found it."""
    from interplay.checks import ablation_lines
    from interplay.data.datasets import aside
    from interplay.studies.plans import plan_ablation

    how, root = execution_of(execution), ctx.obj["root"]
    with aside():
        plan = plan_ablation(found.baseline, found.ablation, repeats, name=name, root=root, execution=how)
        lines = ablation_lines(plan, found.ablation, root, how, seeds=repeats.count, noise=noise, probing=probe)
    click.echo("\n".join(lines))


def _check_models() -> None:
    from interplay.models.counts import published
    from interplay.report.architectures import architectures_table
    from interplay.report.draw import to_text

    with click.progressbar(length=len(published()), label="models", file=sys.stderr) as bar:
        table = architectures_table(bar.update)
    click.echo(to_text(table))
