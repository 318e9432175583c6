"""What a search is asked for, looked through before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from interplay.data.manifest import read_manifest
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.definition import study_directory
from interplay.study.search.objectives import parse_constraints, parse_objectives, violations
from interplay.study.search.points import Start, start_points, warm_cells
from interplay.study.search.proposals import Search
from interplay.study.search.records import check_storage
from interplay.study.search.samplers import GRID, check_sampler
from interplay.study.search.spaces import SpaceFunction, bind, check_feasible, grid
from interplay.tracking.store import Cell

TRIALS, MOST_OF_A_GRID = 16, 10_000


@dataclass(frozen=True)
class Wanted:
    """What a person asks of a search.

    Attributes:
        trials: cells the study shall have; None is 16, or the whole of a grid.
        space_name: what the study calls the space.
        sampler: tpe, gp, cmaes, nsga2, nsga3, random, qmc or grid.
        seed: of the sampler.
        objectives: what is optimised (`parameters:min`), `val/top1` if empty; the first one selects.
        constraints: what must hold of a cell to be trained (`parameters<=6e6`).
        start_from: points that are tried first.
        published_first: try the space's published points first.
        warm_start: studies whose finished cells the sampler is told of, as far as this search could propose them.
        retry_failed: try cells that failed once more.
        optuna_storage: address of a data base for the Optuna study instead of a file in the study's folder.
        population: cells of a generation of population-based training, see `interplay.study.search.population`; 0 is
            a search without generations.
    """

    trials: int | None = None
    space_name: str = "space"
    sampler: str = "tpe"
    seed: int = 0
    objectives: Sequence[str] = ()
    constraints: Sequence[str] = ()
    start_from: Sequence[Start] = ()
    published_first: bool = False
    warm_start: Sequence[str] = ()
    retry_failed: bool = False
    optuna_storage: str = ""
    population: int = 0

    def check(self, space: SpaceFunction, recipe: Recipe) -> None:
        """Refuses what can be seen without the data set.

        Raises:
            InterplayError: saying what to change.
        """
        if self.trials is not None and self.trials < 1:
            raise InterplayError(f"a search needs at least one trial, not {self.trials}")
        check_sampler(self.sampler, len(parse_objectives(self.objectives)))
        parse_constraints(self.constraints)
        self._check_population()
        check_feasible(bind(space, recipe), recipe)

    def _check_population(self) -> None:
        size = self.population
        if not size:
            return
        if size < 2:
            raise InterplayError(f"--population {size} has nothing to take over from; use at least 2, better 8")
        if size > (self.trials or TRIALS):
            raise InterplayError(
                f"--population {size} is more than the {self.trials or TRIALS} cells of --trials; a generation takes "
                "that many cells"
            )
        if len(self.objectives) > 1:
            raise InterplayError(f"a population is ranked by one objective, not by {', '.join(self.objectives)}")
        if self.sampler == GRID:
            raise InterplayError("a population changes parameters as it goes, a grid has them all; leave out one")

    def plan(
        self, space: SpaceFunction, recipe: Recipe, dataset: Path, earlier: Cell | None, *, root: Path, name: str
    ) -> tuple[Search, list[str]]:
        """The search, complete, and what a person should know of it.

        Raises:
            InterplayError: if constraints, points, earlier studies or the place of the Optuna study cannot work.
        """
        bound, limits = bind(space, recipe), parse_constraints(self.constraints)
        manifest = read_manifest(dataset)

        def refuse(changed: Recipe) -> str:
            broken = violations(limits, changed, manifest)
            return "; ".join(f"{limit} is exceeded by {100 * excess:.0f} %" for limit, excess in broken.items())

        def fingerprint_of(changes: Mapping[str, Any]) -> str:
            return Cell(recipe.with_(dict(changes)), dataset, earlier).fingerprint

        if limits:
            check_feasible(bound, recipe, refuse)
        points = start_points(self.start_from, space, recipe, published_first=self.published_first, refuse=refuse)
        warm, taken = warm_cells(root, self.warm_start, bound, fingerprint_of)
        check_storage(study_directory(root, name), self.optuna_storage)
        search = Search(
            target=self._target(bound),
            sampler=self.sampler,
            seed=self.seed,
            objectives=parse_objectives(self.objectives),
            constraints=limits,
            points=points,
            warm=warm,
            retry_failed=self.retry_failed,
            storage=self.optuna_storage,
            population=self.population,
        )
        if self.population and len(points) > self.population:
            raise InterplayError(
                f"{len(points)} points to start from are more than the first generation, of {self.population}; use a "
                "larger --population"
            )
        return search, [f"the sampler is told of {taken}"] if warm else []

    def _target(self, space: Any) -> int:
        if self.trials is not None or self.sampler != GRID:
            if self.sampler == GRID:
                next(grid(space))  # a continuous dimension is refused
            return self.trials or TRIALS
        cells = sum(1 for _ in islice(grid(space), MOST_OF_A_GRID + 1))
        if cells > MOST_OF_A_GRID:
            raise InterplayError(f"the grid has more than {MOST_OF_A_GRID} cells; say how many with --trials")
        return cells
