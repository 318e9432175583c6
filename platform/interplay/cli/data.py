"""`interplay data`: writing, verifying and looking at data sets. Thin over `interplay.data`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from interplay.errors import InterplayError


@click.group()
def data() -> None:
    """Write, verify and look at data sets."""


@contextmanager
def _counting(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, which moves by the number of samples that it is called with."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:,.0f} samples/s" if task.speed else "", style="progress.data.speed")

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.update(task, advance=count)


def _source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option(
            "--classes",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Names of classes that SOURCE only numbers, one a line; once for each label level.",
        ),
        click.option("--label-columns", metavar="A,B", help="Columns of the label levels (parquet, csv, JSON)."),
        click.option("--image-column", metavar="NAME", help="Column of the images (parquet) or paths (csv)."),
    ):
        command = option(command)
    return command


def _storing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--background", default="white", show_default=True, help="Behind transparent images."),
        click.option(
            "--tiles",
            type=int,
            metavar="PIXELS",
            help="Cut JPEGs into restart tiles, without loss, for faster crops; 32 suits training at 224.",
        ),
        click.option(
            "--quality",
            type=int,
            metavar="1-100",
            help="Store every image as a JPEG of this quality. Default: RGB JPEGs as they are, others as pixels.",
        ),
        click.option("--max-side", type=int, metavar="PIXELS", help="Shrink images whose longer side is longer."),
    ):
        command = option(command)
    return command


@data.command("write")
@click.argument("source")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT")
@click.option("--val", default=0.1, show_default=True, help="Share carved off train if SOURCE has no val split.")
@click.option("--test", default=0.0, show_default=True, help="Share carved off train if SOURCE has no test split.")
@click.option("--seed", default=0, show_default=True, help="Of the carving, which is stratified by class.")
@_storing_options
@_source_options
@click.option(
    "--on-error",
    default="fail",
    show_default=True,
    type=click.Choice(["fail", "skip", "report"]),
    help="At bad samples: stop, leave them out, or list all of them and write nothing.",
)
def data_write(
    source: str,
    path: Path,
    val: float,
    test: float,
    seed: int,
    max_side: int | None,
    quality: int | None,
    tiles: int | None,
    background: str,
    image_column: str | None,
    label_columns: str | None,
    classes: tuple[Path, ...],
    on_error: str,
) -> None:
    """Write SOURCE to OUT, a .beton file with a manifest beside it. Stopped? The same command continues.

    SOURCE is a folder of class folders (or of train/, val/ and test/ with class folders), cifar:FOLDER,
    a MedMNIST .npz file, a folder of parquet files as on the Hugging Face hub, WebDataset shards ('shards/*.tar'),
    a .csv file of path,label[,label1][,split], or digits. KIND:PATH says what it is if its name does not:
    folder:, cifar:, npz:, parquet:, webdataset:, csv:.
    """
    from interplay.data.sources import find_source, read_names
    from interplay.data.write import check_source, write_beton

    if path.suffix != ".beton":
        raise InterplayError(f"{path} must end in .beton")
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1):
        raise InterplayError(f"--val {val} and --test {test} must be shares that leave something to train on")
    columns = [name.strip() for name in label_columns.split(",")] if label_columns else None
    names = [read_names(file) for file in classes] or None
    found = find_source(source, image=image_column, labels=columns, classes=names)
    if on_error == "report":
        with _counting("checking", len(found)) as progress:
            bad = check_source(found, background=background, progress=progress)
        _report(bad, len(found))
        return
    try:
        with _counting(f"writing {path.name}", len(found)) as progress:
            manifest = write_beton(
                found,
                path,
                val=val,
                test=test,
                seed=seed,
                quality=quality,
                max_side=max_side,
                tiles=tiles,
                background=background,
                on_error="skip" if on_error == "skip" else "fail",
                progress=progress,
                say=lambda sentence: click.echo(sentence, err=True),
            )
    except KeyboardInterrupt:
        click.echo("stopped; run the same command to continue", err=True)
        sys.exit(130)
    from interplay.data.describe import summary

    click.echo("\n".join(summary(path, manifest)))


def _report(bad: list[tuple[str, str]], count: int) -> None:
    for place, reason in bad:
        click.echo(f"{place} {reason}")
    if bad:
        raise InterplayError(
            f"{len(bad):,} of {count:,} samples cannot be stored, nothing was written; "
            f"repair them, or leave them out with --on-error skip"
        )
    click.echo(f"all {count:,} samples can be stored; nothing was written")


@data.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
def data_verify(path: Path) -> None:
    """Read all of PATH and say what is damaged, if anything."""
    from interplay.data.verify import open_checked, verify

    total = sum(open_checked(path)[0].counts.values())
    with _counting(f"reading {path.name}", total) as progress:
        manifest = verify(path, progress)
    click.echo(f"{path} is sound: {total} samples, SHA-256 {manifest.digest}")


@data.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also draw samples to this .png file.")
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Draw only samples of this split.")
@click.option("--class", "name", help="Draw only samples of this class, a name or a number.")
@click.option("--count", default=48, show_default=True, type=click.IntRange(1, 1000), help="Samples to draw.")
def data_inspect(path: Path, out: Path | None, split: str | None, name: str | None, count: int) -> None:
    """Print what is known of PATH, and draw a sheet of its samples with their labels."""
    from interplay.data.describe import table
    from interplay.data.sheet import draw_sheet
    from interplay.data.stored import StoredSamples

    if out is None and (split is not None or name is not None):
        raise InterplayError("--split and --class choose what is drawn; name a picture with --out sheet.png")
    if out is not None and out.suffix.lower() != ".png":
        raise InterplayError(f"{out} must end in .png")
    samples = StoredSamples(path)
    drawn = draw_sheet(samples, out, split=split, name=name, count=count) if out is not None else 0
    click.echo("\n".join(table(path, samples.manifest)))
    if out is not None:
        click.echo(f"\n{out}: {drawn} samples")


@data.command("find")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("positions", type=int, nargs=-1, required=True, metavar="INDEX...")
def data_find(path: Path, positions: tuple[int, ...]) -> None:
    """Print where samples of PATH came from, with their labels and splits. INDEX counts from 0."""
    from interplay.data.stored import StoredSamples

    samples = StoredSamples(path)
    for position in positions:
        found = samples.find(position)
        labels = ", ".join(f"{name} ({number})" for name, number in found.labels)
        click.echo(f"{position}  {found.split}  {labels}  {found.place}")
