"""`interplay explain`: what a model looks at, and what augmentation does to images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from interplay.cli.options import recipe_of
from interplay.errors import InterplayError

if TYPE_CHECKING:
    from interplay.explain import Explained

_OUT = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for PNGs, numbers.json and index.html."
)
_FORMAT = click.option(
    "--format",
    "form",
    default="files",
    show_default=True,
    type=click.Choice(["files", "json"]),
    help="json: print the numbers; --out is not needed.",
)


class _ModelByDefault(click.Group):
    """`explain CHECKPOINT` is `explain model CHECKPOINT`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["model", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ModelByDefault)
def explain() -> None:
    """See what a trained model looks at, or what augmentation does: explain CHECKPOINT, explain augment RECIPE."""


@explain.command("model")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE]...")
@click.option("--data", "dataset", help="digits, or a .beton: names the classes, and gives images without IMAGE.")
@click.option("--index", "indices", type=int, multiple=True, help="A sample of --data. Default: a few classes'.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this explanation. Default: all that apply.")
@click.option("--embeddings", is_flag=True, help="Of --data: t-SNE and PCA energy of a whole split.")
@click.option(
    "--split", default="test", show_default=True, type=click.Choice(["train", "val", "test"]), help="Of --data."
)
@_FORMAT
@_OUT
@click.pass_context
def explain_model(
    ctx: click.Context,
    checkpoint: Path,
    images: tuple[Path, ...],
    dataset: str | None,
    indices: tuple[int, ...],
    only: tuple[str, ...],
    embeddings: bool,
    split: str,
    form: str,
    out: Path | None,
) -> None:
    """Look into CHECKPOINT (a .pt file or a cell's folder) with each IMAGE.

    Made is what the model's parts allow: attention and saliency of class tokens, maps for each class, rollout, rows
    and sparsity of linear maps over patches, what residual branches add (at every epoch that --keep-last kept),
    learned scales, likeness of two class tokens.
    """
    _check_out(form, out)
    from interplay.explain import explain_checkpoint

    found = explain_checkpoint(
        checkpoint,
        images,
        root=ctx.obj["root"],
        dataset=dataset,
        indices=indices,
        only=only,
        with_embeddings=embeddings,
        split=split,
    )
    _give(found, form, out)


@explain.command("augment")
@click.argument("reference", metavar="RECIPE")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("-s", "--set", "assignments", multiple=True, metavar="PATH=VALUE", help="Change the recipe.")
@click.option("--draws", default=8, show_default=True, type=click.IntRange(1, 16), help="Epochs that are drawn.")
@click.option("--all", "every_policy", is_flag=True, help="Also every augmentation policy there is.")
@_FORMAT
@_OUT
@click.pass_context
def explain_augment(
    ctx: click.Context,
    reference: str,
    images: tuple[Path, ...],
    assignments: tuple[str, ...],
    draws: int,
    every_policy: bool,
    form: str,
    out: Path | None,
) -> None:
    """Draw what RECIPE does to each IMAGE in training, step after step, and which crops it takes.

    Several images are one batch: they are mixed with each other if the recipe mixes.
    """
    _check_out(form, out)
    recipe = recipe_of(ctx, reference, assignments, None)
    from interplay.explain import explain_augmentation

    _give(explain_augmentation(recipe, images, epochs=draws, every_policy=every_policy), form, out)


def _check_out(form: str, out: Path | None) -> None:
    if out is None and form == "files":
        raise InterplayError("name a folder for the pictures with --out, or print the numbers with --format json")


def _give(found: Explained, form: str, out: Path | None) -> None:
    written = found.write(out) if out is not None else []
    click.echo(found.json() if form == "json" else "\n".join(str(path) for path in written))
