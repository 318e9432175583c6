"""A study as one HTML page that needs no other file and no network."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from interplay import __version__
from interplay.report.account import Account, read_account
from interplay.report.explained import explain_best
from interplay.report.sections import page_sections
from interplay.report.story import UNFINISHED, WAITING, Story, read_story
from interplay.report.tables import shown_cells
from interplay.study.definition import SEARCH
from interplay.tracking.mlflow import StudyRun
from interplay.tracking.store import FINISHED


@dataclass(frozen=True)
class _State:
    """How far the study is, in a sentence; `mark` is bad if nothing came of it."""

    text: str
    mark: str = ""


def study_page(root: Path, name: str, *, explain: bool = False) -> str:
    """The page of the study `name` under `root`, also while it runs.

    With `explain` it shows what the best cell looks at; that is kept, and from then on part of the page.

    Raises:
        InterplayError: if there is no such study, it is a search that has not been started, or nothing can be
            explained.
    """
    story = read_story(root, name)
    if explain:
        explain_best(story)
    return render(story, read_account(root, name), known_runs(root, name), time.time())


def known_runs(root: Path, name: str) -> dict[str, str]:
    """Cell -> id of its MLflow run, of those that were sent; MLflow is not asked."""
    return StudyRun(root, name, description="", kind="").runs()


def render(story: Story, account: Account, runs: Mapping[str, str], now: float) -> str:
    """The page as HTML.

    Args:
        story: what is stored of the study.
        account: its ledger.
        runs: cell -> MLflow run.
        now: Unix time.
    """
    linked = {cell.fingerprint for cell in shown_cells(story)}
    search = story.definition.kind == SEARCH
    return (
        _environment()
        .get_template("study.html.j2")
        .render(
            version=__version__,
            title=story.definition.name,
            kind="Search" if search else "Ablation",
            question=story.definition.question,
            state=_state(story, account.running(now)),
            facts=_facts(story),
            sections=page_sections(story, account, runs, linked),
            style=_asset("study.css"),
            script=_asset("study.js"),
            made=datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d at %H:%M UTC"),
        )
    )


@cache
def _environment() -> Environment:
    loader = PackageLoader("interplay.report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _asset(name: str) -> Markup:
    """A file of ours that goes into the page as it is."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _state(story: Story, running: bool) -> _State:
    states = Counter(cell.status for cell in story.cells.values())
    total, finished = len(story.cells), states[FINISHED]
    open_ = states[WAITING] + states[UNFINISHED]
    if not total:
        return _State("Empty: there are no cells yet.")
    others = {name: n for name, n in sorted(states.items()) if name not in (FINISHED, WAITING, UNFINISHED)}
    counts = "".join(f", {count} {name.replace('_', ' ')}" for name, count in others.items())
    if open_:
        way = "It is running." if running else "Run the study again to go on with it."
        return _State(f"Not complete: {finished} of {total} cells finished{counts}, {open_} to go. {way}")
    if not finished:
        return _State(f"No cell finished{counts}: there are no numbers.", "bad")
    return _State(f"Complete: {finished} of {total} cells finished{counts}.")


def _facts(story: Story) -> list[tuple[str, str]]:
    definition = story.definition
    facts = [("recipe", str(definition.recipe.get("name", ""))), ("data set", Path(definition.dataset).name)]
    if definition.kind == SEARCH:
        facts += [("space", definition.space), ("optimises", ", ".join(map(str, story.objectives)))]
    else:
        seeds = sorted({cell.seed for cell in story.cells.values() if cell.seed is not None})
        facts += [("rows", str(len(story.rows))), ("seeds", _range(seeds))]
    facts.append(("cells", f"{len(story.cells):,}"))
    devices = sorted({str(cell.evidence["device"]) for cell in story.cells.values() if cell.evidence.get("device")})
    if devices:
        facts.append(("trained on", ", ".join(devices[:3]) + (", ..." if len(devices) > 3 else "")))
    facts += [(name, f"{value:g}") for name, value in definition.scale.items()]
    return [(name, value) for name, value in facts if value]


def _range(seeds: list[int]) -> str:
    """`0 to 9`, or all of them."""
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds[:10]))
