"""`interplay probe`: what classifiers find in the frozen embeddings of a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import click

KINDS = ("linear", "mlp", "separability", "energy")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--data", "dataset", required=True, help="digits, or a .beton: its training images are embedded.")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    default=("linear",),
    show_default=True,
    help="Several are measured one after the other.",
)
@click.option(
    "--level",
    "levels",
    type=int,
    multiple=True,
    help="Of labels, 0 the finest. Default: all; of separability the one that was trained.",
)
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "val", "test"]))
@click.option("--seed", default=0, show_default=True, help="Of an MLP, and of random halves.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; of energy all directions.")
@click.pass_context
def probe(
    ctx: click.Context,
    checkpoint: Path,
    dataset: str,
    kinds: tuple[str, ...],
    levels: tuple[int, ...],
    split: str,
    seed: int,
    as_json: bool,
) -> None:
    """Measure what the frozen embeddings of CHECKPOINT (a .pt file or a cell's folder) hold.

    linear and mlp learn the labels of --level from the training images' embeddings and answer for --split; the
    thesis's T2.2 and T2.16. separability is how well a linear classifier tells random halves of the trained classes
    apart, on the training images (T2.1); energy the share of the variance along principal directions (F2.1).
    """
    from interplay.galleries import open_gallery, probed

    gallery = open_gallery(checkpoint, dataset, ctx.obj["root"])
    found = probed(gallery, kinds, levels, split=split, seed=seed)
    if as_json:
        click.echo(json.dumps(found))
        return
    for name, value in found.items():
        if isinstance(value, float):
            click.echo(f"{name}  {value:.4f}")
            continue
        for share in (0.5, 0.9, 0.99):
            reached = next(n for n in range(1, len(value) + 1) if sum(value[:n]) >= share - 1e-12 or n == len(value))
            click.echo(f"{name}  {reached} of {len(value)} directions hold {100 * share:.0f} % of the variance")
