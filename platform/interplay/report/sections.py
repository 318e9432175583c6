"""The parts of a study's page, in their order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from interplay.report.account import Account, commands, ledger_grid, materials_grid, retried_grid
from interplay.report.audit import StudyAudit
from interplay.report.explained import explained_section
from interplay.report.figures import EARLY, Chart, Group, study_figures
from interplay.report.story import Story
from interplay.report.tables import ablation_grid, cells_grid, search_grid
from interplay.report.view import Column, Grid, Row, Section, Value, drawn
from interplay.study.definition import SEARCH
from interplay.study.evidence.audit import ETA, FEWEST, audit_cuts, audit_selection, fit_line
from interplay.tracking.mlflow import tracking_uri
from interplay.tracking.store import FINISHED, PRUNED

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where `mlflow ui` is unless it is told otherwise."""


def page_sections(story: Story, account: Account, runs: Mapping[str, str], linked: Collection[str]) -> list[Section]:
    """Every section that has something in it.

    Args:
        story: what is stored of the study.
        account: its ledger.
        runs: cell -> MLflow run.
        linked: cells that the page lists.
    """
    audit = audit_of(story)
    sections = [_results(story, linked)]
    for group in study_figures(story, [] if audit is None else audit.cuts):
        section = _figures(group, linked)
        sections.append(_with_audit(section, story, audit) if group.id == EARLY else section)
    if audit is not None and not any(section.id == EARLY for section in sections):
        sections.append(_with_audit(Section(EARLY, "Early and final"), story, audit))
    if (explained := explained_section(story)) is not None:
        sections.append(explained)
    sections += [_cells(story, runs), _cost(story, account), _materials(story)]
    sections.append(Section("again", "How to reproduce it", commands=tuple(commands(story, account))))
    return [section for section in sections if not section.empty]


def figures_of(story: Story) -> list[Chart]:
    """Every figure of the page, in its order."""
    audit = audit_of(story)
    groups = study_figures(story, [] if audit is None else audit.cuts)
    return [chart for group in groups for chart in group.charts]


def audit_of(story: Story, against: str = "test/top1") -> StudyAudit | None:
    """The audits of the study, see `interplay.report.audit`; None if too few cells have finished."""
    metric = story.definition.metric
    finished = {key: cell for key, cell in story.cells.items() if cell.status == FINISHED}
    ended = {key: cell.curves[metric] for key, cell in finished.items() if cell.curves[metric]}
    if len(ended) < FEWEST:
        return None
    both = {key: (c.metric(metric), c.metric(against)) for key, c in finished.items()}
    pairs = {key: (a, b) for key, (a, b) in both.items() if a is not None and b is not None}
    return StudyAudit(
        study=story.definition.name,
        metric=metric,
        against=against,
        cells=len(ended),
        unfinished=len(story.cells) - len(ended),
        eta=ETA,
        cuts=audit_cuts(ended, ETA),
        line=fit_line(list(pairs.values())),
        selection=audit_selection(pairs),
        searched=story.definition.kind == SEARCH,
    )


def _results(story: Story, linked: Collection[str]) -> Section:
    if story.definition.kind != SEARCH:
        return Section("results", "Results", tables=(ablation_grid(story, linked),), notes=story.table.notes)
    grid = search_grid(story, linked)
    about = ["No cell has been proposed yet; run the search."] if not grid.rows else []
    if story.definition.constraints:
        about.append(f"Only cells within {', '.join(story.definition.constraints)} are trained.")
    if story.definition.population:
        about.append(
            f"A population of {story.definition.population}: cells of later generations start from the weights of "
            "the trial that is named, so their accuracy is that of a whole line of stages. Importance is that of the "
            "first generation alone."
        )
    return Section("results", "Best configurations", tuple(about), tables=(grid,) if grid.rows else ())


def _figures(group: Group, linked: Collection[str]) -> Section:
    single = told_once([chart for chart in group.charts if not chart.choice])
    choices = [chart for chart in group.charts if chart.choice]
    return Section(group.id, group.title, figures=drawn(single, linked), choices=drawn(choices, linked))


def told_once(charts: Sequence[Chart]) -> list[Chart]:
    """A sentence that stands under several figures is kept under the first of them."""
    told: set[str] = set()
    found = []
    for chart in charts:
        found.append(replace(chart, about="") if chart.about in told else chart)
        told.add(chart.about)
    return found


def _with_audit(section: Section, story: Story, audit: StudyAudit | None) -> Section:
    cut = [cell for cell in story.cells.values() if cell.status == PRUNED]
    about = []
    if cut:
        epochs = [max(curve, default=0) for cell in cut for curve in [cell.curves[story.definition.metric]]]
        about.append(
            f"Early stopping cut {len(cut)} of {len(story.cells)} cells, after epoch {min(epochs)}"
            + (f" to {max(epochs)}" if max(epochs) > min(epochs) else "")
            + ". What they would have reached is not known."
        )
    if audit is not None:
        about += audit.lines
    grid = () if audit is None or not audit.cuts else (_audit_grid(audit),)
    return replace(section, about=tuple(about), tables=grid)


def _audit_grid(audit: StudyAudit) -> Grid:
    headers, lines = audit.table
    columns = (Column(headers[0]), *(Column(name, number=True) for name in headers[1:]))
    shown = lines if len(lines) <= 12 else [lines[round(i * (len(lines) - 1) / 11)] for i in range(12)]
    rows = tuple(Row(tuple(Value(text) for text in line)) for line in shown)
    caption = "Cells that a cut would have kept, and how many of the final top quarter it would have stopped."
    if len(shown) < len(lines):
        caption += f" {len(shown)} of {len(lines)} epochs; report --audit has all."
    return Grid(caption, columns, rows, sortable=False)


def _cells(story: Story, runs: Mapping[str, str]) -> Section:
    if not story.cells:
        return Section("cells", "Cells")
    uri = _without_password(tracking_uri(story.root))
    server, notes = (uri, []) if uri.startswith("http") else (LOCAL_SERVER, [])
    shown = {cell: run for cell, run in runs.items() if cell in story.cells}
    if shown and server == LOCAL_SERVER:
        notes.append(f"Links to MLflow work while this runs: mlflow ui --backend-store-uri {uri}")
    grid = cells_grid(story, shown, server.rstrip("/"))
    return Section("cells", "Cells", tables=(grid,), notes=tuple(notes))


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]))


def _cost(story: Story, account: Account) -> Section:
    tables = [ledger_grid(account)] if account.use is not None else []
    retried = retried_grid(story, account)
    if retried is not None:
        tables.append(retried)
    return Section("ledger", "What it used", tables=tuple(tables))


def _materials(story: Story) -> Section:
    if not any(cell.evidence for cell in story.cells.values()):
        return Section("materials", "What it is made of")
    grid, notes = materials_grid(story)
    return Section("materials", "What it is made of", tables=(grid,), notes=tuple(notes))
