"""`interplay drill`: a small study is broken on purpose."""

from __future__ import annotations

import sys
from itertools import count

import click


@click.command()
@click.argument("faults", metavar="[FAULT]...", nargs=-1)
@click.option("--moments", default=5, show_default=True, help="Random moments at which each fault strikes.")
@click.option("--cells", default=6, show_default=True, help="Of the small study that is broken.")
@click.option("--seed", default=0, show_default=True, help="Of the moments: the same seed draws the same ones.")
@click.pass_context
def drill(ctx: click.Context, faults: tuple[str, ...], moments: int, cells: int, seed: int) -> None:
    """Break a small study at random moments, and show that its table is unchanged.

    On the cluster of $RAY_ADDRESS, or one of its own on this machine, and in a new folder of --storage. Only
    processes of that study are broken, but `node` and `notice` take machines away. FAULT is driver, stop, storage,
    trial, worker, controller, node, notice, mlflow-killed, mlflow-hung, nan or memory; all of them if none is named.
    Exit code 1 if anything was lost, done twice or left running.
    """
    from interplay.cluster.revision import code_revision
    from interplay.drill import FAULTS, drill_table
    from interplay.drill import drill as run
    from interplay.report.draw import to_markdown

    places = (ctx.obj["root"] / "drill" / f"{number:03d}" for number in count(1))
    folder = next(place for place in places if not place.exists())
    outcomes = []
    found = run(
        folder,
        faults or tuple(FAULTS),
        cells=cells,
        moments=moments,
        seed=seed,
        tell=lambda line: click.echo(line, err=True),
        verbose=ctx.obj["verbose"],
    )
    for outcome in found:
        outcomes.append(outcome)
        click.echo(f"{outcome.fault}: {'survived' if outcome.survived else 'NOT SURVIVED'}", err=True)
    click.echo(to_markdown(drill_table(outcomes)))
    click.echo(f"\ncode {code_revision()}, seed {seed}, {cells} cells; what each study left is in {folder}")
    if not all(outcome.survived for outcome in outcomes):
        sys.exit(1)
