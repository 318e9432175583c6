"""Every sampler proposes real cells, reproducibly, however often the search is stopped and built up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.search.objectives import parse_constraints, parse_objectives
from interplay.study.search.proposals import OptunaProposals, Search, open_study
from interplay.study.search.samplers import SAMPLERS, make_sampler
from interplay.tracking.store import FINISHED, Cell, CellResult, CellStore, write_result

Once = Callable[..., list[str]]


def continuous(trial: Any) -> Mapping[str, Any]:
    return {
        "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.5),
        "optimiser.weight_decay": trial.suggest_float("optimiser.weight_decay", 1e-3, 0.3, log=True),
        "model.width": trial.suggest_int("model.width", 8, 32, step=8),
    }


def conditional(trial: Any) -> Mapping[str, Any]:
    changes = {
        "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.5),
        "model.width": trial.suggest_int("model.width", 8, 36, step=4),
        "model.heads": trial.suggest_categorical("model.heads", [1, 2, 4, 8]),  # does not always divide the width
        "augment.policy": trial.suggest_categorical("augment.policy", ["none", "rand_augment"]),
    }
    if changes["augment.policy"] == "rand_augment":
        changes["augment.policy.magnitude"] = trial.suggest_float("augment.policy.magnitude", 0.5, 9.0)
    return changes


def discrete(trial: Any) -> Mapping[str, Any]:
    changes = {"model.heads": trial.suggest_categorical("model.heads", [1, 2, 3])}
    if changes["model.heads"] == 1:
        changes["model.depth"] = trial.suggest_int("model.depth", 1, 2)
    changes["model.drop_path"] = trial.suggest_float("model.drop_path", 0.05, 0.15, step=0.05)
    return changes


def finish(store: CellStore, cell: Cell) -> None:
    """A result at once, of a function with a best point; no training."""
    recipe = cell.recipe
    top1 = 90.0 - 100.0 * abs(recipe.model.drop_path - 0.1) - 10.0 * recipe.optimiser.weight_decay
    metrics = {"val/top1": top1, "throughput/images_per_s": 1e5 / recipe.model.width}
    write_result(store.prepare(cell), CellResult(cell.fingerprint, FINISHED, metrics, {}))


@pytest.fixture
def once(tmp_path: Path, tiny: Recipe, dataset: Path) -> Once:
    """A whole search in a store of its own, built up again before each of the cells in `rebuilt`."""

    def run(name: str, space: Any, search: Search, rebuilt: range = range(0)) -> list[str]:
        store, handed = CellStore(tmp_path / name), []

        def new() -> OptunaProposals:
            return OptunaProposals(tmp_path / name / "studies" / "same", space, tiny, dataset, store, search)

        proposals = new()
        while (cell := proposals.next()) is not None:
            finish(store, cell)
            proposals.settle(cell.fingerprint)
            handed.append(cell.fingerprint)
            proposals = new() if len(handed) in rebuilt else proposals
        return handed

    return run


TARGETS = {"gp": 12, "nsga2": 43, "nsga3": 43}
"""Past the random cells that samplers begin with, and two generations."""

GP_TAKES_SECONDS = pytest.param("gp", marks=pytest.mark.slow)
PROPOSING = [GP_TAKES_SECONDS if name == "gp" else name for name in SAMPLERS if name != "grid"]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", PROPOSING)
@pytest.mark.parametrize("space", [continuous, conditional])
def test_a_search_that_was_stopped_goes_on_as_it_would_have(once: Once, sampler: str, space: Any) -> None:
    search = Search(target=TARGETS.get(sampler, 20), sampler=sampler, seed=1)
    straight = once("straight", space, search)
    assert len(set(straight)) == search.target
    assert once("rebuilt", space, search, range(1, 99, 9)) == straight
    if sampler != "gp":
        assert once("other", space, Search(target=5, sampler=sampler, seed=2)) != straight[:5]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", GP_TAKES_SECONDS, "nsga2", "nsga3", "random", "qmc"])
def test_several_objectives_within_constraints(once: Once, tmp_path: Path, sampler: str) -> None:
    search = Search(
        target=TARGETS.get(sampler, 16),
        sampler=sampler,
        objectives=parse_objectives(["val/top1", "parameters", "throughput/images_per_s"]),
        constraints=parse_constraints(["parameters<=15e3", "macs>=1e4"]),
    )
    straight = once("straight", conditional, search)
    assert once("rebuilt", conditional, search, range(3, 99, 9)) == straight
    records = open_study(tmp_path / "straight" / "studies" / "same").get_trials()
    assert len(records) == len(straight) == search.target
    assert all(0 < record.values[1] <= 15e3 for record in records)
    assert all(record.params["model.width"] % record.params["model.heads"] == 0 for record in records)


def test_tpe_learns_from_what_it_may_not_train(once: Once, tmp_path: Path) -> None:
    """With a limit that most draws break, fewer are turned down as it goes on."""
    search = Search(target=30, constraints=parse_constraints(["parameters<=7e3"]))
    once("one", continuous, search)
    records = open_study(tmp_path / "one" / "studies" / "same").get_trials()
    turned_down = [len(record.user_attrs.get("rejected", [])) for record in records]
    assert sum(turned_down[15:]) < sum(turned_down[:15])


def test_a_grid_is_every_cell_in_order(once: Once, tmp_path: Path) -> None:
    search = Search(target=99, sampler="grid")
    cells = once("grid", discrete, search, range(1, 9))
    params = [record.params for record in open_study(tmp_path / "grid" / "studies" / "same").get_trials()]
    expected = [{"model.heads": 1, "model.depth": depth} for depth in (1, 2)] + [{"model.heads": 2}]  # 3 divides not
    assert params == [e | {"model.drop_path": rate} for e in expected for rate in (0.05, 0.1, 0.15)]
    assert len(set(cells)) == 9
    assert once("few", discrete, Search(target=2, sampler="grid")) == cells[:2]


def test_a_grid_of_a_continuous_space_is_refused(once: Once, tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match=r"no end for model\.drop_path, which is continuous; give it a step"):
        once("grid", continuous, Search(target=3, sampler="grid"))


def test_samplers_that_cannot_work() -> None:
    with pytest.raises(InterplayError, match="cmaes optimises one objective, not 2; use --sampler tpe"):
        OptunaProposals(
            Path("nowhere"),
            continuous,
            Recipe(),
            Path("nowhere"),
            CellStore(Path("nowhere")),
            Search(target=1, sampler="cmaes", objectives=parse_objectives(["val/top1", "macs"])),
        )
    assert not Path("nowhere").exists()
    with pytest.raises(InterplayError, match="no sampler 'nsga'; did you mean 'nsga3' or 'nsga2'"):
        make_sampler("nsga", 0)
