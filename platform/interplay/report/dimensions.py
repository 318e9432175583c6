"""The table of which dimensions of a search mattered."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from interplay.errors import InterplayError
from interplay.report import draw
from interplay.report.study import objectives_of
from interplay.study.definition import SEARCH, read_definition, study_directory
from interplay.study.search.importance import FEW, Importances, importances
from interplay.study.search.records import open_study

_PAIRS = 5


@dataclass(frozen=True)
class ImportanceTable:
    """Importances of a search's dimensions, in every form they can be printed in."""

    study: str
    found: tuple[Importances, ...]

    def drawn(self, form: str) -> str:
        """As text, md, csv or json."""
        if form == "json":
            objectives = [{**asdict(one), "conditional": one.conditional} for one in self.found]
            return json.dumps({"study": self.study, "importance": objectives}, indent=1, ensure_ascii=False)
        if form == "csv":
            return draw.to_csv(self._table())
        drawn = draw.to_markdown(self._table()) if form == "md" else draw.to_text(self._table())
        return "\n".join([drawn, "", *self._notes()])

    def _table(self) -> draw.Table:
        several = len(self.found) > 1
        headers = [*(["objective"] if several else []), "parameter", "fANOVA", "PED-ANOVA", "cells"]
        lines = [
            [
                *([one.objective.name] if several else []),
                row.name,
                draw.DASH if row.fanova is None else f"{row.fanova:.3f}",
                f"{row.ped_anova:.3f}",
                str(row.cells),
            ]
            for one in self.found
            for row in one.of
        ]
        return headers, lines

    def _notes(self) -> list[str]:
        notes = []
        for one in self.found:
            name, cells = one.objective.name, one.cells
            few = f" Warning: {cells} are few; below {FEW} the order may be chance." if cells < FEW else ""
            notes.append(f"{name}: from {cells} finished cells.{few}")
            if not one.of:
                notes.append(f"{name} is the same for all of them: nothing mattered.")
            if one.conditional:
                left_out = ", ".join(one.conditional)
                notes.append(
                    f"Not every cell has {left_out}, or not within the same limits: fANOVA and pairs leave them out, "
                    "PED-ANOVA does not."
                )
            if pairs := one.interactions[:_PAIRS]:
                drawn = "; ".join(f"{' with '.join(pair.names)} {100 * pair.share:.1f} %" for pair in pairs)
                notes.append(f"Pairs, beyond what each explains alone: {drawn}.")
        return notes


def importance_table(root: Path, name: str) -> ImportanceTable:
    """What mattered in the search `name` under `root`, for each of its objectives.

    Raises:
        InterplayError: if there is no such search, or too few of its cells are finished.
    """
    definition = read_definition(root, name)
    if definition.kind != SEARCH:
        raise InterplayError(f"{name!r} is an ablation; importance is of the dimensions of a search")
    study, objectives = open_study(study_directory(root, name)), objectives_of(definition)
    return ImportanceTable(name, tuple(importances(study, objectives, by) for by in objectives))
