"""`interplay check`: nothing is trained."""

from __future__ import annotations

import sys
from functools import partial

import click

from interplay.cli.options import find_ablation, find_space, recipe_of, recipe_options


@click.command()
@partial(recipe_options, required=False)
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
    recipe = recipe_of(ctx, reference, assignments, data)
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
