"""How many seeds each row of an ablation gets: as many as were given, or as many as it takes to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interplay.data import read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.rows import ablation_rows
from interplay.study.ablation import BASELINE, Row
from interplay.study.cells import cell_of, locate_checked
from interplay.study.definition import StudyDefinition, read_definition, study_directory
from interplay.study.looks import MAX_SEEDS, Counts, more_seeds, planned_looks
from interplay.study.stats import MARGIN
from interplay.tracking.store import CellStore

AUTO = "auto"


@dataclass(frozen=True)
class Seeding:
    """What a study's definition keeps of its seeds, see `StudyDefinition`."""

    looks: list[int] = field(default_factory=list)
    looked: list[int] = field(default_factory=list)
    margin: float = MARGIN


def given_seeds(root: Path, name: str, seeds: Sequence[int], margin: float | None) -> Seeding:
    """Seeds as a person chose them; that the study was run with fewer before is remembered.

    Raises:
        InterplayError: if they are no seeds.
    """
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InterplayError(f"seeds {list(seeds)} must be different whole numbers from 0 on")
    stored = _stored(root, name)
    looked = list(stored.looked) if stored is not None else []
    if looked[-1:] != [len(seeds)]:
        looked.append(len(seeds))
    return Seeding(looked=looked, margin=_margin(stored, margin))


def auto_seeds(root: Path, name: str, recipe: Recipe, max_seeds: int | None, margin: float | None) -> Seeding:
    """The looks at which seeds may be added: those the study was begun with, if it was.

    Raises:
        InterplayError: if there is nothing to decide by, or too little room for a first look.
    """
    stored = _stored(root, name)
    if max_seeds is None and stored is not None and stored.looks:
        looks = list(stored.looks)
    else:
        looks = planned_looks(MAX_SEEDS if max_seeds is None else max_seeds)
    dataset = locate_checked(recipe, root)
    if not read_manifest(dataset).counts.get("test"):
        raise InterplayError(
            f"{dataset.name} has no test split for --seeds auto to decide by; write it with "
            "interplay data write ... --test 0.1, or give --seeds a number"
        )
    return Seeding(looks=looks, margin=_margin(stored, margin))


class AutoSeeds:
    """Adds seeds to the baseline and to the rows that are still undecided, up to a number of cells.

    What it adds follows from the stored results alone, so a study that is run again goes on where it was.

    Args:
        root: the storage root.
        name: of the study.
        looks: planned numbers of seeds.
        rows: with their recipes, the baseline among them.
        max_cells: that the study may have; None for as many as it takes.

    Raises:
        InterplayError: if `max_cells` does not suffice for the first look.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        looks: Sequence[int],
        rows: Sequence[tuple[Row, Recipe]],
        max_cells: int | None,
    ) -> None:
        self._root, self._name, self._looks, self._max_cells = root, name, looks, max_cells
        self._recipes = {row.label: recipe for row, recipe in rows}
        self._fingerprints: dict[tuple[str, int], str] = {}
        first = {label: looks[0] for label in self._recipes}
        if not self._affordable(first):
            raise InterplayError(
                f"the first look needs {self._cells(first)} cells ({looks[0]} seeds of each row); "
                f"raise --max-cells {max_cells} to that at least"
            )
        stored = _stored(root, name)
        had = {row.label: len(row.cells) for row in stored.rows} if stored is not None else {}
        self.counts: Counts = {label: max(count, had.get(label, 0)) for label, count in first.items()}

    def grow(self) -> bool:
        """Adds seeds by what is stored now; False if no row needs, or may have, more."""
        definition = read_definition(self._root, self._name)
        store = CellStore(self._root)
        results = {f: store.result(f) for row in definition.rows for f in row.cells.values()}
        undecided = [
            row.label
            for row in ablation_rows(definition, results)
            # a look that lacks a number is no look: a cell failed, or the baseline's did
            if row.label != BASELINE and not row.decided and row.looks[-1:] == (self.counts.get(row.label),)
        ]
        grown = more_seeds(undecided, self.counts, self._looks, self._affordable)
        changed = grown != self.counts
        self.counts = grown
        return changed

    def _affordable(self, counts: Counts) -> bool:
        return self._max_cells is None or self._cells(counts) <= self._max_cells

    def _cells(self, counts: Counts) -> int:
        """Different cells: rows may share them."""
        return len({self._fingerprint(label, seed) for label, count in counts.items() for seed in range(count)})

    def _fingerprint(self, label: str, seed: int) -> str:
        if (label, seed) not in self._fingerprints:
            cell = cell_of(self._recipes[label].with_seed(seed), self._root)
            self._fingerprints[label, seed] = cell.fingerprint
        return self._fingerprints[label, seed]


def _stored(root: Path, name: str) -> StudyDefinition | None:
    there = (study_directory(root, name) / "study.yaml").is_file()
    return read_definition(root, name) if there else None


def _margin(stored: StudyDefinition | None, margin: float | None) -> float:
    if margin is None:
        return MARGIN if stored is None else stored.margin
    if not 0 < margin < float("inf"):
        raise InterplayError(f"--margin {margin:g} must be a number over 0: the difference in top-1 that matters")
    return margin
