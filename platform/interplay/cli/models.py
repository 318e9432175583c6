"""Commands about models: evaluating checkpoints, measuring architectures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from interplay.errors import InterplayError

FUSION = click.Choice(["first", "second", "mean_of_logits", "sum_of_softmaxes"])


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--data", "datasets", required=True, multiple=True, help="digits, or a .beton; several are several rows."
)
@click.option("--split", default="test", show_default=True, type=click.Choice(["train", "val", "test"]))
@click.option(
    "--crop-ratio", "ratios", type=float, multiple=True, help="Instead of the recipe's; several are a sweep."
)
@click.option("--resolution", "sides", type=int, multiple=True, help="Not the recipe's; several are a sweep.")
@click.option("--fusion", type=FUSION, help="How two heads are made one answer.")
@click.option("--right-labels", type=click.Path(path_type=Path), help="JSON of several right labels (ImageNet Real).")
@click.option("--against", type=click.Path(path_type=Path), help="Another checkpoint: how often the two disagree.")
@click.option("--out", type=click.Path(path_type=Path), help="JSON with accuracy per class and the confusion matrix.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    checkpoint: Path,
    datasets: tuple[str, ...],
    split: str,
    ratios: tuple[float, ...],
    sides: tuple[int, ...],
    fusion: str | None,
    right_labels: Path | None,
    against: Path | None,
    out: Path | None,
) -> None:
    """Evaluate CHECKPOINT (a .pt file or a cell's folder) on one split, every sample once.

    Several data sets, crop ratios or resolutions give a table with a row for each combination.
    """
    from interplay.evaluation import answers_of, grid, read_right_labels
    from interplay.training.scores import confusion, disagreement, per_class, several_right, summary

    right = read_right_labels(right_labels) if right_labels is not None else None
    rows: list[dict[str, Any]] = []
    for dataset in datasets:
        for ratio, side in grid(ratios, sides):
            how: dict[str, Any] = {"split": split, "crop_ratio": ratio, "resolution": side}
            answers = answers_of(checkpoint, dataset, ctx.obj["root"], fusion=fusion, **how)
            scores = summary(answers) if right is None else several_right(answers, right)
            if against is not None:
                scores["disagreement"] = disagreement(answers, answers_of(against, dataset, ctx.obj["root"], **how))
            classes = answers.logits.shape[1]
            detail = {"per_class": per_class(answers, classes), "confusion": confusion(answers, classes)}
            rows.append({"data": dataset, **how, "scores": scores, **detail})
    if len(rows) == 1:
        for name, value in rows[0]["scores"].items():
            click.echo(f"{split}/{name}  {value:.4f}")
    else:
        _table(rows)
    if out is not None:
        from interplay.atomic import write_text

        write_text(out, json.dumps(rows, indent=1))


def _table(rows: list[dict[str, Any]]) -> None:
    names = list(rows[0]["scores"])
    lines = [["data", "resolution", "crop ratio", *names]]
    for row in rows:
        shown = (row["resolution"] or "recipe's", row["crop_ratio"] or "recipe's")
        lines.append([row["data"], *map(str, shown), *(f"{row['scores'][name]:.2f}" for name in names)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.option("--batch", type=int, help="Images at a time. Default: the largest that fits on a GPU, 16 on a CPU.")
@click.option("--resolution", default=224, show_default=True)
@click.option("--runs", default=30, show_default=True, help="Measured runs; as many as warm up, at most 10.")
@click.option("--precision", default="auto", type=click.Choice(["auto", "fp32", "bf16", "fp16"]))
@click.option("--training", is_flag=True, help="Measure a training step too.")
def measure(
    models: tuple[str, ...], batch: int | None, resolution: int, runs: int, precision: str, training: bool
) -> None:
    """Throughput, peak memory, parameters and multiply-adds of each MODEL.

    A MODEL is an architecture of the thesis (cait_s24), timm:NAME, or a recipe (deit3.large).
    """
    from interplay.measure import header, measure_model, row

    if runs < 3:
        raise InterplayError(f"--runs {runs} is too few for a median and its spread; use at least 3")
    click.echo(header())
    for name in models:
        measured = measure_model(
            name, batch=batch, resolution=resolution, runs=runs, precision=precision, training=training
        )
        click.echo(row(measured))
