"""Figures of a study: charts as data from what is stored of it, in groups; drawn as SVG or PNG."""

from __future__ import annotations

from dataclasses import dataclass

from interplay.report.figures.chart import Chart
from interplay.report.figures.contours import contours
from interplay.report.figures.curves import (
    cell_curves,
    early_and_final,
    order_of_cuts,
    row_curves,
    spread_along_epochs,
)
from interplay.report.figures.searches import (
    history,
    importance_figure,
    parallel_coordinates,
    pareto_fronts,
    slices,
)
from interplay.report.figures.seeds import seed_histograms, set_against_set
from interplay.report.figures.tradeoffs import accuracy_against_cost, drop_path_figures, published_tradeoffs
from interplay.report.story import Story
from interplay.study.evidence.audit import Cut

__all__ = ["EARLY", "Chart", "Group", "study_figures"]

EARLY = "early"


@dataclass(frozen=True)
class Group:
    """Figures that belong together, under an anchor and a title."""

    id: str
    title: str
    charts: tuple[Chart, ...]


def study_figures(story: Story, cuts: list[Cut]) -> list[Group]:
    """Every figure that the study has the data for.

    Args:
        story: what is stored of the study.
        cuts: what a cut after each epoch would have lost, see `interplay.study.evidence.audit.audit_cuts`.
    """
    mattered = importance_figure(story)
    order = [one.name for one in story.importance.of] if story.importance is not None else []
    search = bool(story.found)
    along = cell_curves(story) if search else row_curves(story)
    groups = [
        Group("search", "Search", (*history(story), *mattered, *parallel_coordinates(story)) if search else ()),
        Group("front", "Pareto front", tuple(pareto_fronts(story)) if search else ()),
        Group("slices", "Each parameter", tuple(slices(story)) if search else ()),
        Group("contours", "Any two parameters", tuple(contours(story, order)) if search else ()),
        Group("curves", "Learning curves", tuple(along)),
        Group("seeds", "Seeds", (*seed_histograms(story), *spread_along_epochs(story))),
        Group(EARLY, "Early and final", (*order_of_cuts(cuts, story.definition.metric), *early_and_final(story))),
        Group("sets", "Test sets against each other", tuple(set_against_set(story))),
        Group("cost", "Accuracy and its cost", (*accuracy_against_cost(story), *published_tradeoffs(story))),
        Group("drop-path", "Drop path", tuple(drop_path_figures(story))),
    ]
    return [group for group in groups if group.charts]
