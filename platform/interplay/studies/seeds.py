"""How many seeds each row of an ablation gets: as many as were given, or as many as it takes to decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from interplay.data import read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.rows import ablation_rows
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.cells import cell_of, locate_checked
from interplay.study.definition import StudyDefinition, read_definition, study_directory
from interplay.study.driving.execution import Execution
from interplay.study.evidence.looks import MAX_SEEDS, Counts, more_seeds, planned_looks
from interplay.study.evidence.stats import MARGIN
from interplay.study.foresight.preflight import check_rows
from interplay.tracking.store import CellStore

AUTO = "auto"


@dataclass(frozen=True)
class Repeats:
    """With which seeds the rows of an ablation are trained.

    Attributes:
        seeds: of every row; `auto` begins with 3 and adds some to the rows that are still undecided.
        max_seeds: of a row with `auto`; 10 if not given. It cannot be changed once the study has begun.
        max_cells: that the study may have with `auto`; as many as it takes if not given.
        margin: points of top-1 below which a difference does not matter; 0.2 if not given.
        every_stage: each seed has earlier stages of its own too. Without it the seeds of a row share one, which is
            cheaper, and the spread is that of the last stage: it holds for that one earlier stage only.
    """

    seeds: Sequence[int] | Literal["auto"]
    max_seeds: int | None = None
    max_cells: int | None = None
    margin: float | None = None
    every_stage: bool = False

    @property
    def auto(self) -> bool:
        return self.seeds == AUTO

    @property
    def count(self) -> int | None:
        """Seeds of each row; None if they are added where needed."""
        return None if isinstance(self.seeds, str) else len(self.seeds)

    def check(self, recipes: Iterable[Recipe]) -> None:
        """Refuses what contradicts itself, or the recipes of the rows.

        Raises:
            InterplayError: saying what to leave out.
        """
        if isinstance(self.seeds, str) and self.seeds != AUTO:
            raise InterplayError(f"seeds {self.seeds!r} must be a list of whole numbers, or {AUTO}")
        if not self.auto and (self.max_seeds is not None or self.max_cells is not None):
            raise InterplayError(f"--max-seeds and --max-cells belong to --seeds {AUTO}; leave them out")
        if self.every_stage and all(recipe.after is None for recipe in recipes):
            raise InterplayError("no row has an earlier stage; leave --seed-every-stage out")

    def of(self, recipe: Recipe, seeds: Iterable[int]) -> dict[int, Recipe]:
        """The recipe with each of `seeds`."""
        return {seed: recipe.with_seed(seed, every_stage=self.every_stage) for seed in seeds}

    def seeding(self, root: Path, name: str, recipe: Recipe) -> Seeding:
        """What the study's definition keeps of this, continued if it was begun before.

        Raises:
            InterplayError: if they are no seeds, or there is nothing for `auto` to decide by.
        """
        stored = _stored(root, name)
        margin = _margin(stored, self.margin)
        if isinstance(self.seeds, str):
            looks = _looks(stored, self.max_seeds, root, recipe)
            return Seeding(looks=looks, margin=margin, every_stage=self.every_stage)
        return Seeding(looked=_looked(stored, self.seeds), margin=margin, every_stage=self.every_stage)


@dataclass(frozen=True)
class Seeding:
    """What a study's definition keeps of its seeds, see `StudyDefinition`."""

    looks: list[int] = field(default_factory=list)
    looked: list[int] = field(default_factory=list)
    margin: float = MARGIN
    every_stage: bool = False


def _looked(stored: StudyDefinition | None, seeds: Sequence[int]) -> list[int]:
    """Numbers of seeds as a person chose them; that the study was run with fewer before is remembered."""
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise InterplayError(f"seeds {list(seeds)} must be different whole numbers from 0 on")
    looked = list(stored.looked) if stored is not None else []
    return looked if looked[-1:] == [len(seeds)] else [*looked, len(seeds)]


def _looks(stored: StudyDefinition | None, max_seeds: int | None, root: Path, recipe: Recipe) -> list[int]:
    """The looks at which seeds may be added: those the study was begun with, if it was."""
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
    return looks


class AutoSeeds:
    """Adds seeds to the baseline and to the rows that are still undecided, up to a number of cells.

    What it adds follows from the stored results alone, so a study that is run again goes on where it was.

    Args:
        root: the storage root.
        name: of the study.
        looks: planned numbers of seeds.
        rows: with their recipes, the baseline among them.
        repeats: how many cells the study may have, and what a seed means.

    Raises:
        InterplayError: if `repeats.max_cells` does not suffice for the first look.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        looks: Sequence[int],
        rows: Sequence[tuple[Row, Recipe]],
        repeats: Repeats,
    ) -> None:
        self._root, self._name, self._looks, self._repeats = root, name, looks, repeats
        self._recipes = {row.label: recipe for row, recipe in rows}
        self._fingerprints: dict[tuple[str, int], str] = {}
        first = {label: looks[0] for label in self._recipes}
        if not self._affordable(first):
            raise InterplayError(
                f"the first look needs {self._cells(first)} cells ({looks[0]} seeds of each row); "
                f"raise --max-cells {repeats.max_cells} to that at least"
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
        most = self._repeats.max_cells
        return most is None or self._cells(counts) <= most

    def _cells(self, counts: Counts) -> int:
        """Different cells: rows may share them."""
        return len({self._fingerprint(label, seed) for label, count in counts.items() for seed in range(count)})

    def _fingerprint(self, label: str, seed: int) -> str:
        if (label, seed) not in self._fingerprints:
            recipe = self._repeats.of(self._recipes[label], [seed])[seed]
            self._fingerprints[label, seed] = cell_of(recipe, self._root).fingerprint
        return self._fingerprints[label, seed]


@dataclass(frozen=True)
class SeededRows:
    """The rows of an ablation, and which seeds each has now.

    Attributes:
        ablation: whose.
        resolved: rows that are trained, with their recipes.
        repeats: the seeds that were asked for.
        seeding: what the study's definition keeps of them.
        growing: adds seeds to rows; None if they were given.
    """

    ablation: Ablation
    resolved: Sequence[tuple[Row, Recipe]]
    repeats: Repeats
    seeding: Seeding
    growing: AutoSeeds | None

    def rows(self) -> list[tuple[Row, dict[int, Recipe]]]:
        """Every line of the table with its recipes by seed; those that are only published have none."""
        trained = {row.label: self.repeats.of(recipe, self._seeds(row)) for row, recipe in self.resolved}
        return [(row, trained.get(row.label, {})) for row in self.ablation.lines()]

    def grow(self) -> bool:
        """Adds seeds by what is stored now; False if no row needs, or may have, more."""
        return self.growing is not None and self.growing.grow()

    def _seeds(self, row: Row) -> Sequence[int]:
        if self.growing is not None:
            return range(self.growing.counts[row.label])
        return [int(seed) for seed in self.repeats.seeds]


def seeded_rows(
    recipe: Recipe, ablation: Ablation, repeats: Repeats, *, name: str, root: Path, execution: Execution
) -> SeededRows:
    """The rows of an ablation with the seeds of its first look, or of the one that the study `name` has come to.

    Raises:
        InterplayError: as `run_ablation`.
    """
    execution.refuse_cuts("an ablation")
    resolved = ablation.resolve(recipe)
    check_rows(ablation, recipe)
    repeats.check(r for _, r in resolved)
    seeding = repeats.seeding(root, name, recipe)
    growing = AutoSeeds(root, name, seeding.looks, resolved, repeats) if repeats.auto else None
    return SeededRows(ablation, resolved, repeats, seeding, growing)


def _stored(root: Path, name: str) -> StudyDefinition | None:
    there = (study_directory(root, name) / "study.yaml").is_file()
    return read_definition(root, name) if there else None


def _margin(stored: StudyDefinition | None, margin: float | None) -> float:
    if margin is None:
        return MARGIN if stored is None else stored.margin
    if not 0 < margin < float("inf"):
        raise InterplayError(f"--margin {margin:g} must be a number over 0: the difference in top-1 that matters")
    return margin
