"""`interplay report STUDY --audit`: a study's audits from what is stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from interplay.errors import InterplayError
from interplay.report import draw
from interplay.report.notes import wrapped
from interplay.report.study import study_table
from interplay.study.definition import SEARCH
from interplay.study.evidence.audit import (
    ETA,
    FEWEST,
    Cut,
    Line,
    Selection,
    audit_cuts,
    audit_selection,
    finished_curves,
    fit_line,
)
from interplay.tracking.journal import read
from interplay.tracking.store import CellStore


@dataclass(frozen=True)
class StudyAudit:
    """The audits of one study, see `interplay.study.evidence.audit`.

    Attributes:
        study: its name.
        metric: by which it selects.
        against: the metric that did not steer.
        cells: finished ones.
        unfinished: cells without a final number: they are in no audit.
        eta: a cut keeps the best 1 / eta.
        cuts: after each epoch.
        line: `against` over `metric`.
        selection: what the selected cell owes to its selection.
        searched: whether there was a selection at all; an ablation makes none.
    """

    study: str
    metric: str
    against: str
    cells: int
    unfinished: int
    eta: float
    cuts: list[Cut]
    line: Line | None
    selection: Selection | None
    searched: bool

    @property
    def table(self) -> draw.Table:
        headers = ["cut after epoch", "cells", "Kendall's tau with the end", "p", "kept", "top quarter", "lost"]
        rows = [
            [
                str(cut.epoch),
                str(cut.cells),
                draw.DASH if cut.tau is None else f"{cut.tau:+.2f}",
                draw.DASH if cut.p is None else f"{cut.p:.3f}",
                str(cut.kept),
                str(cut.top),
                str(cut.lost),
            ]
            for cut in self.cuts
        ]
        return headers, rows

    @property
    def lines(self) -> list[str]:
        """What the table leaves out, in sentences."""
        found = [f"{self.cells} finished cells; a cut keeps the best 1/{self.eta:g} by {self.metric}."]
        if not self.cuts:
            found.append(f"No cut to audit: {self.metric} was measured at the end only (see evaluation.every).")
        if self.unfinished:
            every = self.cells + self.unfinished
            found.append(
                f"{self.unfinished} of {every} cells did not finish: it is not known what they would have reached."
            )
        found.append(self._line_text())
        if self.selection is not None:
            found.append(self._selection_text(self.selection))
        return found

    def _line_text(self) -> str:
        if self.line is None:
            return f"No line of {self.against} against {self.metric}: it takes {FEWEST} cells with both that differ."
        line = self.line
        return (
            f"{self.against} = {line.intercept:.2f} + {line.slope:.2f} (± {line.slope_error:.2f}) x {self.metric} "
            f"over {line.cells} cells; they lie {line.residual_std:.2f} off it (standard deviation), "
            f"r {line.correlation:+.2f}."
        )

    def _selection_text(self, found: Selection) -> str:
        who = "the selected cell" if self.searched else f"the cell that is best by {self.metric}"
        return (
            f"{self.metric} - {self.against}: {found.gap:+.2f} for {who} ({found.cell[:8]}), {found.mean_gap:+.2f} "
            f"± {found.gap_std:.2f} for all {found.cells}; selecting it accounts for {found.overfit:+.2f}."
        )

    def drawn(self, form: str) -> str:
        """As `text`, `md`, `csv` or `json`."""
        if form == "json":
            return json.dumps(asdict(self), indent=1, ensure_ascii=False)
        if form == "csv":
            return draw.to_csv(self.table)
        if form == "md":
            return "\n\n".join([*([draw.to_markdown(self.table)] if self.cuts else []), *self.lines])
        return "\n".join([*([draw.to_text(self.table), ""] if self.cuts else []), *wrapped(self.lines)])


def study_audit(root: Path, name: str, against: str = "test/top1", eta: float = ETA) -> StudyAudit:
    """The audits of the study `name` under `root`.

    Args:
        root: the storage root.
        name: of the study.
        against: the metric to set against the one that selects; one of the results.
        eta: a cut keeps the best 1 / `eta`.

    Raises:
        InterplayError: if there is no such study or metric, or too few cells have finished.
    """
    if not eta > 1:
        raise InterplayError(f"--eta {eta:g} must be over 1: a cut keeps the best 1/eta of the cells")
    table = study_table(root, name)
    definition = table.definition
    store = CellStore(root)
    cells = list(dict.fromkeys(table.cells))
    curves = finished_curves({cell: read(store.journal(cell))[0] for cell in cells}, definition.metric)
    if len(curves) < FEWEST:
        raise InterplayError(
            f"study {name!r} has {len(curves)} finished cells; an audit takes {FEWEST} at least, run it first"
        )
    pairs = {}
    for cell in cells:
        result = store.result(cell)
        x, y = (None, None) if result is None else (result.metric(definition.metric), result.metric(against))
        if x is not None and y is not None:
            pairs[cell] = (x, y)
    if not pairs:
        raise InterplayError(f"no cell of {name!r} has {against!r}; there is {_measured(store, cells)}")
    return StudyAudit(
        study=name,
        metric=definition.metric,
        against=against,
        cells=len(curves),
        unfinished=len(cells) - len(curves),
        eta=eta,
        cuts=audit_cuts(curves, eta),
        line=fit_line(list(pairs.values())),
        selection=audit_selection(pairs),
        searched=definition.kind == SEARCH,
    )


def _measured(store: CellStore, cells: Sequence[str]) -> str:
    results = [result for cell in cells if (result := store.result(cell)) is not None]
    names = sorted({name for result in results for name in result.metrics if name.endswith("/top1")})
    return ", ".join(names) or "none"
