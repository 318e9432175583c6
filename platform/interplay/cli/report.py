"""`interplay report`: a study's table, page and figures, also while it runs."""

from __future__ import annotations

from pathlib import Path

import click

from interplay.errors import InterplayError

AUDITED = ("text", "md", "csv", "json")


@click.command()
@click.argument("study")
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "md", "latex", "csv", "json", "html", "png"]),
    help="html: one page with every figure. png: the figures.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="File, of png a folder. Default: print it; html and png go to the study's folder.",
)
@click.option("--explain", is_flag=True, help="With html: what the best cell looks at, computed once.")
@click.option("--best", type=click.IntRange(min=1), help="Only the best BEST cells of a search.")
@click.option("--metric", default="test/top1", show_default=True, help="Of an ablation's table.")
@click.option(
    "--audit", is_flag=True, help="Instead: what stopping early would have lost, what selecting has gained."
)
@click.option(
    "--importance", is_flag=True, help="Instead: which dimensions of a search mattered, alone and in pairs."
)
@click.option("--against", default="test/top1", show_default=True, help="With --audit: metric that did not select.")
@click.option("--eta", default=3.0, show_default=True, help="With --audit: a cut keeps the best 1/ETA of the cells.")
@click.pass_context
def report(
    ctx: click.Context,
    study: str,
    form: str,
    out: Path | None,
    explain: bool,
    best: int | None,
    metric: str,
    audit: bool,
    importance: bool,
    against: str,
    eta: float,
) -> None:
    """Report STUDY, also while it runs: print its table, or write its page or its figures."""
    root: Path = ctx.obj["root"]
    if best is not None and form in ("html", "png"):
        raise InterplayError(f"--best shortens a table; leave it out with --format {form}")
    if explain and (form != "html" or audit or importance):
        raise InterplayError("--explain puts pictures into the page; give it with --format html alone")
    if audit and importance:
        raise InterplayError("--audit and --importance are two tables; give one of them")
    if metric != "test/top1" and (audit or importance or form in ("html", "png")):
        raise InterplayError("--metric is of an ablation's table: --format text, md, latex, csv or json alone")
    if (audit or importance) and form not in AUDITED:
        raise InterplayError(f"--audit and --importance are {', '.join(AUDITED)}; the page of --format html has both")
    if audit:
        from interplay.report.audit import study_audit

        _give(study_audit(root, study, against, eta).drawn(form), out)
    elif importance:
        from interplay.report.dimensions import importance_table

        _give(importance_table(root, study).drawn(form), out)
    elif form == "png":
        _figures(root, study, out)
    elif form == "html":
        from interplay.report.page import study_page
        from interplay.study.definition import study_directory

        _give(study_page(root, study, explain=explain), out or study_directory(root, study) / "report.html")
    else:
        _give(_table(root, study, form, best, metric), out)


def _table(root: Path, study: str, form: str, best: int | None, metric: str) -> str:
    from interplay.report.draw import to_csv
    from interplay.report.latex import to_latex
    from interplay.report.study import study_table

    table = study_table(root, study, best, metric)
    drawn = {
        "text": lambda: table.text,
        "md": lambda: table.markdown,
        "json": lambda: table.json,
        "csv": lambda: to_csv(table.table),
        "latex": lambda: to_latex(table.table),
    }
    return drawn[form]()


def _figures(root: Path, study: str, out: Path | None) -> None:
    from interplay.report.figures.png import chart_png
    from interplay.report.sections import figures_of
    from interplay.report.story import read_story
    from interplay.study.definition import study_directory

    charts = figures_of(read_story(root, study))
    if not charts:
        raise InterplayError(f"study {study!r} has nothing to draw yet; run it first")
    folder = out or study_directory(root, study) / "figures"
    for chart in charts:
        _write(folder / f"{chart.key}.png", chart_png(chart))


def _give(text: str, out: Path | None) -> None:
    if out is None:
        click.echo(text)
    else:
        _write(out, (text if text.endswith("\n") else text + "\n").encode())


def _write(path: Path, data: bytes) -> None:
    from interplay.atomic import replacing

    if path.is_dir():
        raise InterplayError(f"--out {path} is a folder; name a file in it")
    try:
        with replacing(path) as file:
            file.write(data)
    except OSError as error:
        raise InterplayError(f"{path} cannot be written ({error.strerror}); choose another --out") from None
    click.echo(str(path))
