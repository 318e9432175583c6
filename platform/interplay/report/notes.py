"""What stands under a table: how its numbers are meant, and how they agree with published ones."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from interplay.report.rows import SAME_CELLS, AblationRow
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition
from interplay.study.evidence.power import POWER
from interplay.study.evidence.stats import RankAgreement

WIDTH = 120


def ablation_notes(
    rows: Sequence[AblationRow], definition: StudyDefinition, agreement: Mapping[str, RankAgreement]
) -> list[str]:
    """Sentences; none where there is nothing to explain."""
    notes = _about_p(rows, definition) if any(row.p is not None for row in rows) else []
    if definition.scale:
        sizes = ", ".join(f"{name}={value:g}" for name, value in definition.scale.items())
        notes.append(f"At the declared scale {sizes} of the baseline; published numbers are of full size.")
    if definition.every_stage:
        notes.append("Each seed has earlier stages of its own: the spread is that of all stages.")
    elif definition.recipe.get("after"):
        notes.append("Seeds are of the last stage: they share one earlier stage, and the spread holds for that one.")
    left = sum(
        not row.decided and row.looks[-1:] != tuple(definition.looks[-1:])
        for row in rows
        if definition.looks and row.cells and row.label != BASELINE
    )
    if left:
        notes.append(f"Undecided rows with looks left: {left}. Run the study again to go on with them.")
    if len({row.test.seeds for row in rows if row.test.seeds}) > 1:
        notes.append("Seeds differ between rows: a difference is over those that the row shares with the baseline.")
    for row in rows:
        if row.not_run:
            notes.append(f"{row.label} was not run: {row.not_run.removesuffix('.')}.")
        if row.expects_failure and row.test.n and not row.missing:
            notes.append(f"{row.label} failed where it was published ({row.expects_failure}); it trains here.")
    for name, found in agreement.items():
        notes.append(
            f"Order of the rows against published {name}: Kendall's tau {found.tau:+.2f} "
            f"(p {found.p:.3f}, {found.rows} rows)."
        )
    return notes


def wrapped(notes: Sequence[str]) -> list[str]:
    """As lines of at most `WIDTH` columns."""
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]


def _about_p(rows: Sequence[AblationRow], definition: StudyDefinition) -> list[str]:
    compared = sum(bool(row.cells) and row.label != BASELINE and row.verdict != SAME_CELLS for row in rows)
    corrections = [f"for {compared} rows (Holm)"] if compared > 1 else []
    if definition.looks:
        looks = ", ".join(map(str, definition.looks))
        corrections.append(f"for looks at {looks} seeds, as are the intervals")
    corrected = f", corrected {' and '.join(corrections)}" if corrections else ""
    notes = [
        f"p: paired t test{corrected}. could show: the smallest true difference that a row's seeds find in "
        f"{100 * POWER:.0f} % of tables."
    ]
    if len(definition.looked) > 1:
        looked = ", then ".join(map(str, definition.looked))
        notes.append(f"Run with {looked} seeds: p is not corrected for looking in between; --seeds auto is.")
    return notes
