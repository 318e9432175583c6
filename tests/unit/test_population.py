"""Populations: who starts from whom, the same however often the search is stopped, and lines that are recipes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from interplay.cli import main
from interplay.recipe import Recipe
from interplay.report.page import study_page
from interplay.report.study import study_table
from interplay.studies.naming import child_of
from interplay.study.definition import SEARCH, StudyDefinition, write_definition
from interplay.study.search.importance import importances
from interplay.study.search.objectives import parse_objectives
from interplay.study.search.population import Member, generation_of, heir
from interplay.study.search.proposals import Later, OptunaProposals, Search, open_study
from interplay.study.search.records import PARENT
from interplay.tracking.store import DIVERGED, FINISHED, Cell, CellResult, CellStore, write_result
from tests.unit.refusals import check_refused

SIZE = 4
WITHIN: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "drop": FloatDistribution(0.0, 0.5, step=0.1),
    "crops": IntDistribution(1, 9),
    "policy": CategoricalDistribution(("a", "b")),
}
PARAMS = {"rate": 0.01, "drop": 0.2, "crops": 5, "policy": "a"}


def space(trial: Any) -> Mapping[str, Any]:
    """A limit that depends on another parameter: a value that is taken over may not be allowed any more."""
    policy = trial.suggest_categorical("augment.policy", ["three_augment", "rand_augment"])
    most = 0.5 if policy == "rand_augment" else 0.3
    drop = trial.suggest_float("model.drop_path", 0.0, most)
    changes = {"augment.policy": policy, "model.drop_path": drop}
    if policy == "rand_augment":
        changes["augment.policy.magnitude"] = trial.suggest_float("augment.policy.magnitude", 0.5, 9.0)
    return changes


def proposals(tiny: Recipe, dataset: Path, store: CellStore, name: str = "p", target: int = 12) -> OptunaProposals:
    search = Search(target=target, sampler="random", population=SIZE)
    return OptunaProposals(store.root / "studies" / name, space, tiny, dataset, store, search)


def end(store: CellStore, cell: Cell, *, diverged: bool = False) -> None:
    """What training the cell would leave: the better, the nearer its drop path is to 0.1, and the longer its line."""
    top1 = 80.0 - 100.0 * abs(cell.recipe.model.drop_path - 0.1) + depth(cell)
    status, metrics = (DIVERGED, {}) if diverged else (FINISHED, {"val/top1": top1})
    write_result(store.prepare(cell), CellResult(cell.fingerprint, status, metrics, {}))


def depth(cell: Cell) -> int:
    return 0 if cell.earlier is None else 1 + depth(cell.earlier)


def run(found: OptunaProposals, store: CellStore, most: int = 100) -> list[Cell]:
    """All cells that it proposes, one after the other."""
    cells: list[Cell] = []
    while len(cells) < most and (cell := found.next()) is not None:
        assert not isinstance(cell, Later)
        end(store, cell)
        found.settle(cell.fingerprint)
        cells.append(cell)
    return cells


# ------------------------------------------------------------------------------------------ who starts from whom
def generation(tiny: Recipe, values: list[float | None]) -> list[Member]:
    cells = (Cell(tiny.with_({"seed": seed}), Path("none")) for seed in range(len(values)))
    return [Member(cell, PARAMS, WITHIN, value) for cell, value in zip(cells, values, strict=True)]


def test_the_worst_quarter_takes_over_from_the_best(tiny: Recipe) -> None:
    before = generation(tiny, [70.0, 90.0, None, 80.0, 60.0, 85.0, 75.0, 72.0])
    found = [heir(before, place, seed=3) for place in range(8)]
    parents = [before.index(next(m for m in before if m.cell is one[0])) for one in found if one is not None]
    assert [parents[place] for place in (0, 1, 3, 5, 6, 7)] == [0, 1, 3, 5, 6, 7], "the others go on as they are"
    assert all(one is not None and one[1] == PARAMS for place, one in enumerate(found) if place not in (2, 4))
    assert {parents[2], parents[4]} <= {1, 5}, "the best two"
    assert all(found[place][1] != PARAMS for place in (2, 4))  # type: ignore[index]


def test_who_has_no_value_takes_over_even_if_many_have_none(tiny: Recipe) -> None:
    before = generation(tiny, [None, None, 50.0, None])
    assert all(one is not None and one[0] is before[2].cell for one in (heir(before, place, 0) for place in range(4)))
    assert heir(generation(tiny, [None] * 4), 0, 0) is None


def test_parameters_stay_within_their_limits_and_change(tiny: Recipe) -> None:
    before = generation(tiny, [90.0, 10.0])
    changed: dict[str, set[Any]] = {name: set() for name in PARAMS}
    for seed in range(300):
        found = heir(before, 1, seed)
        assert found is not None
        optuna.trial.create_trial(params=dict(found[1]), distributions={n: WITHIN[n] for n in found[1]}, value=0.0)
        for name in PARAMS:
            changed[name].add(found[1].get(name))
    # None: left open, to be drawn anew
    assert changed["rate"] == {None, 0.008, 0.012}
    assert changed["policy"] == {None, "a"}
    assert changed["drop"] == {None, 0.1, 0.3}
    assert changed["crops"] == {None, 4, 6}


def test_values_at_a_limit_stay_there() -> None:
    within = {"drop": FloatDistribution(0.0, 0.5, step=0.1), "crops": IntDistribution(1, 9)}
    recipe = Recipe()
    top = [
        Member(Cell(recipe, Path("none")), {"drop": 0.5, "crops": 9}, within, 1.0),
        Member(Cell(recipe, Path("none")), {"drop": 0.0, "crops": 1}, within, 0.0),
    ]
    found = [heir(top, 1, seed) for seed in range(60)]
    assert {one[1].get("drop") for one in found if one} <= {None, 0.5, 0.4}
    assert {one[1].get("crops") for one in found if one} <= {None, 9, 7}


# -------------------------------------------------------------------------------------------- as a search has it
def test_generations_wait_for_each_other_and_are_lines(tiny: Recipe, dataset: Path, store: CellStore) -> None:
    found = proposals(tiny, dataset, store)
    first = [found.next() for _ in range(SIZE)]
    assert found.next() is Later.WAIT, "the whole generation is compared"
    for cell in first:
        assert isinstance(cell, Cell)
        end(store, cell)
        found.settle(cell.fingerprint)
    second = run(found, store, most=SIZE)
    assert all(cell.earlier in first for cell in second)
    assert [cell.recipe.after for cell in second] == [cell.earlier and cell.earlier.recipe for cell in second]
    assert {(cell.recipe.seeds.init, cell.recipe.seeds.order, cell.recipe.seeds.augment) for cell in second} == {
        (tiny.seeds.init, tiny.seeds.order + 1, tiny.seeds.augment + 1)
    }
    third = run(found, store)
    assert [generation_of(cell.recipe, tiny) for cell in (*first, *second, *third)] == [0] * 4 + [1] * 4 + [2] * 4  # type: ignore[union-attr]
    assert len({cell.fingerprint for cell in (*first, *second, *third)}) == 12  # type: ignore[union-attr]


def test_a_population_is_the_same_however_it_is_stopped(tiny: Recipe, dataset: Path, store: CellStore) -> None:
    whole = [cell.fingerprint for cell in run(proposals(tiny, dataset, store, "whole"), store)]
    for path in (store.root / "cells").iterdir():  # so that none is known before
        (path / "result.json").unlink()
    pieces: list[str] = []
    while len(pieces) < 12:
        found = proposals(tiny, dataset, store, "pieces", target=12)  # a new driver every three cells
        pieces += [cell.fingerprint for cell in run(found, store, most=3)]
        if isinstance(left := found.next(), Cell):  # killed with a cell handed out
            assert left.fingerprint not in pieces
    assert pieces == whole
    more = run(proposals(tiny, dataset, store, "pieces", target=16), store)
    assert [generation_of(cell.recipe, tiny) for cell in more] == [3] * 4, "more trials are more generations"


def test_members_that_diverge_are_replaced(tiny: Recipe, dataset: Path, store: CellStore) -> None:
    found = proposals(tiny, dataset, store, target=8)
    first = [found.next() for _ in range(SIZE)]
    for place, cell in enumerate(first):
        assert isinstance(cell, Cell)
        end(store, cell, diverged=place != 2)
        found.settle(cell.fingerprint)
    assert {cell.earlier for cell in run(found, store)} == {first[2]}


def test_a_population_that_died_out_ends(tiny: Recipe, dataset: Path, store: CellStore) -> None:
    found = proposals(tiny, dataset, store)
    for _ in range(SIZE):
        cell = found.next()
        assert isinstance(cell, Cell)
        found.settle(cell.fingerprint, "its process died")
    assert found.next() is None


def test_a_failed_member_of_a_later_generation_is_tried_again(tiny: Recipe, dataset: Path, store: CellStore) -> None:
    found = proposals(tiny, dataset, store, target=5)
    run(found, store, most=SIZE)
    cell = found.next()
    assert isinstance(cell, Cell)
    found.settle(cell.fingerprint, "its process died")
    search = Search(target=5, sampler="random", population=SIZE, retry_failed=True)
    again = OptunaProposals(store.root / "studies" / "p", space, tiny, dataset, store, search)
    assert again.next() == cell
    states = [trial.state for trial in open_study(store.root / "studies" / "p").get_trials()]
    assert states == [TrialState.COMPLETE] * 4 + [TrialState.FAIL, TrialState.RUNNING]
    end(store, cell)
    again.settle(cell.fingerprint)
    assert len(again.known()) == 5


# ------------------------------------------------------------------------------------------------- what is shown
def test_what_people_see(tiny: Recipe, dataset: Path, store: CellStore) -> None:
    definition = StudyDefinition(
        "p", SEARCH, "which?", tiny.model_dump(mode="json"), str(dataset), "val/top1", space="space", population=SIZE
    )
    write_definition(store.root, definition)
    cells = run(proposals(tiny, dataset, store), store)
    table = study_table(store.root, "p")
    numbers = {cell.fingerprint: number for number, cell in enumerate(cells)}
    parents = {row.fingerprint: row.parent for row in table.found}
    assert parents == {c.fingerprint: None if c.earlier is None else numbers[c.earlier.fingerprint] for c in cells}
    assert "from trial" in table.text
    page = study_page(store.root, "p")
    assert "from trial" in page
    assert "A population of 4" in page
    child = child_of(definition, cells[-1].fingerprint, cells[-1].recipe)
    assert child.name.endswith(" · generation 2")
    assert child.tags["interplay.generation"] == "2"
    assert "after" not in child.tags["interplay.varies"]
    assert not any(p.startswith("after.") for p in child.params)
    study = open_study(store.root / "studies" / "p")
    assert sum(PARENT in trial.user_attrs for trial in study.get_trials()) == 8
    found = importances(study, (objective := parse_objectives(["val/top1"])), objective[0])
    assert found.cells == SIZE, "later generations have more behind them than their parameters"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--population", "1"], "--population 1 has nothing to take over from"),
        (["--population", "20"], "--population 20 is more than the 16 cells of --trials"),
        (["--population", "4", "--sampler", "grid"], "a grid has them all"),
        (["--population", "4", "--objective", "val/top1", "--objective", "macs"], "a population is ranked by one"),
        (["--population", "4", "--scheduler", "asha"], "the cells of a population are never cut"),
    ],
)
def test_what_cannot_work_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    command = ["--storage", str(tmp_path), "search", "digits.deit_small_patch4", "digits.demo", "--name", "p"]
    check_refused(CliRunner().invoke(main, [*command, *options]), message)
    assert not list(tmp_path.iterdir())


def test_a_space_that_changes_the_weights_is_refused(tmp_path: Path) -> None:
    spaces = tmp_path / "mine.py"
    spaces.write_text("def depth(trial):\n    return {'model.depth': trial.suggest_int('model.depth', 2, 5)}\n")
    command = ["--storage", str(tmp_path / "runs"), "search", "digits.deit_small_patch4", f"{spaces}:depth"]
    result = CliRunner().invoke(main, [*command, "--name", "p", "--population", "4"])
    check_refused(result, "a population's cells start from each other's weights, and")
    assert "(blocks." in result.output
