"""`interplay retrieve` and `interplay cluster`: what is near in the embedding of a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from interplay.errors import InterplayError

_DATA = click.option("--data", "dataset", required=True, help="digits, or a .beton: whose training images are near.")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE]...")
@_DATA
@click.option("--index", "indices", type=int, multiple=True, help="A sample of --data, whose classes are known.")
@click.option("--count", default=24, show_default=True, type=click.IntRange(1, 500), help="Neighbours of each image.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="An HTML page. Default: lines of text.")
@click.pass_context
def retrieve(
    ctx: click.Context,
    checkpoint: Path,
    images: tuple[Path, ...],
    dataset: str,
    indices: tuple[int, ...],
    count: int,
    out: Path | None,
) -> None:
    """Rank the training images of --data by likeness to each IMAGE, as CHECKPOINT embeds them.

    CHECKPOINT is a .pt file or a cell's folder. Frames on the page have the colour of the finest level of labels at
    which a neighbour has the image's class.
    """
    if not images and not indices:
        raise InterplayError("name an image file, or a sample of the data set with --index")
    from interplay.atomic import write_text
    from interplay.galleries import open_gallery, rank_images, ranking_page

    gallery = open_gallery(checkpoint, dataset, ctx.obj["root"])
    rankings = rank_images(gallery, images, indices, count=count)
    if out is not None:
        write_text(out, ranking_page(gallery, rankings, title=f"Nearest training images: {gallery.recipe.name}"))
        click.echo(str(out))
        return
    for ranking in rankings:
        votes = ", ".join(f"{name} {100 * share:.1f} %" for name, share in ranking.votes)
        click.echo(f"{ranking.name}: neighbours vote {votes}")
        for rank, one in enumerate(ranking.neighbours, start=1):
            match = "" if one.level is None else f"  same class at level {one.level}"
            click.echo(f"{rank:5d}  {one.cosine:.4f}  sample {one.sample}  {' / '.join(one.labels)}{match}")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@_DATA
@click.option("--clusters", required=True, type=click.IntRange(2), help="15000 for ImageNet in the thesis.")
@click.option("--seed", default=0, show_default=True, help="Of the centres that k-means begins with.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="FILE.npy")
@click.pass_context
def cluster(ctx: click.Context, checkpoint: Path, dataset: str, clusters: int, seed: int, out: Path) -> None:
    """Label --data by clusters of CHECKPOINT's embeddings, to train on them (ClusterFit).

    Then: interplay train RECIPE -s data.clusters.kind=file -s data.clusters.file=FILE.npy
    """
    if out.suffix != ".npy":
        raise InterplayError(f"--out {out}: clusters are a .npy file; name it {out.with_suffix('.npy').name}")
    from interplay.galleries import open_gallery, write_clusters

    gallery = open_gallery(checkpoint, dataset, ctx.obj["root"])
    numbers = write_clusters(gallery, clusters, out, seed=seed)
    click.echo(f"{out}: {len(numbers)} samples in {len(set(numbers.tolist()))} clusters")
