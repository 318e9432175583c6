"""Which cell next: one record for each cell, told truthfully, and the same proposals however often it is stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.search.proposals import CELL, CHANGES, MESSAGE, ListedCells, OptunaProposals, Search, open_study
from interplay.study.search.spaces import Space, changes_of, random_draws
from interplay.tracking.store import DIVERGED, FINISHED, Cell, CellResult, CellStore, write_result

METRIC = "val/top1"
Make = Callable[..., OptunaProposals]


def space(trial: Any) -> Mapping[str, Any]:
    changes = {
        "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.5),
        "augment.policy": trial.suggest_categorical("augment.policy", ["three_augment", "rand_augment"]),
    }
    if changes["augment.policy"] == "rand_augment":
        changes["augment.policy.magnitude"] = trial.suggest_float("augment.policy.magnitude", 0.5, 9.0)
    return changes


def two_values(trial: Any) -> Mapping[str, Any]:
    return {"augment.policy": trial.suggest_categorical("augment.policy", ["three_augment", "none"])}


def half_feasible(trial: Any) -> Mapping[str, Any]:
    """Width 16 does not divide by 3, 5 or 7; there are few feasible points, so duplicates come too."""
    return {
        "model.heads": trial.suggest_categorical("model.heads", [1, 2, 3, 4, 5, 7, 8, 16]),
        "data.batch_size": trial.suggest_int("data.batch_size", 16, 48, step=16),
    }


@pytest.fixture
def make(tmp_path: Path, dataset: Path, store: CellStore, tiny: Recipe) -> Make:
    def made(name: str = "study", space: Space = space, target: int = 6, **options: Any) -> OptunaProposals:
        directory = tmp_path / "studies" / name
        return OptunaProposals(directory, space, tiny, dataset, store, Search(target=target, **options))

    return made


def score(recipe: Recipe) -> float:
    return 90.0 - 100.0 * abs(recipe.model.drop_path - 0.1) - recipe.data.batch_size / 100


def finish(store: CellStore, cell: Cell, value: float | None = None, status: str = FINISHED) -> None:
    metrics = {METRIC: score(cell.recipe) if value is None else value, "test/top1": 1.0}
    write_result(store.prepare(cell), CellResult(cell.fingerprint, status, metrics, {}))


def run(proposals: OptunaProposals, store: CellStore) -> list[str]:
    """Trains everything; the fingerprints in the order they were handed out."""
    handed = []
    while (cell := proposals.next()) is not None:
        finish(store, cell)
        proposals.settle(cell.fingerprint)
        handed.append(cell.fingerprint)
    return handed


def cells_of(directory: Path) -> list[str]:
    return [t.user_attrs[CELL] for t in open_study(directory).get_trials()]


def test_one_record_for_each_cell(make: Make, store: CellStore, tmp_path: Path, tiny: Recipe) -> None:
    handed = run(make(), store)
    records = open_study(tmp_path / "studies" / "study").get_trials()
    assert [r.user_attrs[CELL] for r in records] == handed
    assert len(set(handed)) == 6
    assert {r.state for r in records} == {TrialState.COMPLETE}
    for record in records:
        recipe = tiny.with_(json.loads(record.user_attrs[CHANGES]))
        assert record.value == pytest.approx(score(recipe))
        assert record.params["model.drop_path"] == recipe.model.drop_path


def test_extending_keeps_what_is_there(make: Make, store: CellStore) -> None:
    first = run(make(target=3), store)
    assert make(target=3).next() is None
    more = make(target=5)
    assert [cell.fingerprint for cell in more.known()] == first
    assert len(run(more, store)) == 2
    assert [cell.fingerprint for cell in make().known()][:3] == first


def test_unfinished_records_come_first_after_a_restart(make: Make, store: CellStore, tmp_path: Path) -> None:
    killed = make()
    cells = [killed.next() for _ in range(3)]
    assert cells[1] is not None
    finish(store, cells[1])  # its result was written, but the driver died before it was told
    restarted = make()
    again = [restarted.next() for _ in range(2)]
    assert again == [cells[0], cells[2]]
    assert [c.fingerprint for c in again if c] == [c.fingerprint for c in (cells[0], cells[2]) if c]
    records = open_study(tmp_path / "studies" / "study").get_trials()
    assert [r.state for r in records] == [TrialState.RUNNING, TrialState.COMPLETE, TrialState.RUNNING]
    new = restarted.next()
    assert new is not None
    assert new not in cells


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize(("proposes", "target"), [(space, 16), (half_feasible, 14)])
def test_a_sequential_search_is_reproducible(
    make: Make, tmp_path: Path, tiny: Recipe, dataset: Path, sampler: str, proposes: Space, target: int
) -> None:
    """More than the ten random trials TPE starts with; stores of their own, so that nothing is shared."""

    def once(name: str, seed: int, rebuild: bool) -> list[str]:
        store = CellStore(tmp_path / name)
        handed = []

        def new() -> OptunaProposals:
            directory = tmp_path / name / "studies" / "same"
            search = Search(target=target, sampler=sampler, seed=seed)
            return OptunaProposals(directory, proposes, tiny, dataset, store, search)

        proposals = new()
        while (cell := proposals.next()) is not None:
            finish(store, cell)
            proposals.settle(cell.fingerprint)
            handed.append(cell.fingerprint)
            proposals = new() if rebuild else proposals
        return handed

    straight = once("straight", 0, rebuild=False)
    assert len(straight) == target
    assert once("again", 0, rebuild=False) == straight
    assert once("rebuilt", 0, rebuild=True) == straight
    assert once("other", 1, rebuild=False) != straight


def test_a_small_space_ends_without_duplicates(make: Make, store: CellStore, tmp_path: Path) -> None:
    proposals = make(space=two_values, target=10)
    assert len(run(proposals, store)) == 2
    assert proposals.next() is None
    assert len(set(cells_of(tmp_path / "studies" / "study"))) == 2


def test_infeasible_proposals_are_skipped(make: Make, store: CellStore, tmp_path: Path) -> None:
    handed = run(make(space=half_feasible, target=15), store)
    assert len(handed) == len(set(handed)) == 15  # 5 feasible numbers of heads, 3 batch sizes
    assert {t.params["model.heads"] for t in open_study(tmp_path / "studies" / "study").get_trials()} == {
        1, 2, 4, 8, 16,
    }  # fmt: skip


def test_nothing_feasible_is_one_sentence(make: Make) -> None:
    proposals = make(space=lambda trial: {"model.heads": trial.suggest_categorical("model.heads", [3, 5])})
    with pytest.raises(InterplayError, match=r"proposes nothing the recipe accepts: model\.heads=\d does not divide"):
        proposals.next()


def test_cached_cells_are_told_at_once(make: Make, store: CellStore, tmp_path: Path) -> None:
    first = run(make("first"), store)
    second = make("second", target=7)
    new = second.next()
    assert new is not None  # the seventh; six were trained by another study
    assert new.fingerprint not in first
    records = open_study(tmp_path / "studies" / "second").get_trials()
    assert [r.user_attrs[CELL] for r in records] == [*first, new.fingerprint]
    assert [r.state for r in records] == [TrialState.COMPLETE] * 6 + [TrialState.RUNNING]


@pytest.mark.parametrize(
    ("status", "value", "told", "expected"),
    [
        (DIVERGED, 50.0, None, "diverged"),
        (FINISHED, float("nan"), None, "val/top1 is not a finite number"),
        (FINISHED, float("inf"), None, "val/top1 is not a finite number"),
        (None, None, "OutOfMemory: 3 GB of 2", "OutOfMemory: 3 GB of 2"),
        (None, None, None, "no result"),
    ],
)
def test_what_did_not_work_is_told_as_failed(
    make: Make, store: CellStore, tmp_path: Path, status: str | None, value: float | None, told: str, expected: str
) -> None:
    proposals = make(target=2)
    cell = proposals.next()
    assert cell is not None
    if status is not None:
        finish(store, cell, value, status)
    proposals.settle(cell.fingerprint, told)
    proposals.settle(cell.fingerprint, "told twice")  # changes nothing
    other = proposals.next()
    assert other is not None
    finish(store, other)
    proposals.settle(other.fingerprint)
    failed, finished = open_study(tmp_path / "studies" / "study").get_trials()
    assert (failed.state, failed.user_attrs[MESSAGE]) == (TrialState.FAIL, expected)
    assert finished.state == TrialState.COMPLETE
    assert MESSAGE not in finished.user_attrs
    assert make(target=2).next() is None  # a restart does not take it up again


def test_an_unknown_sampler_is_refused_before_anything_is_written(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match="no sampler 'tp'; did you mean 'tpe'"):
        make(sampler="tp")
    assert not (tmp_path / "studies").exists()


def test_a_search_that_was_never_started(tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match="'nothing' has not been started"):
        open_study(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())


def test_draws_and_changes_agree() -> None:
    draws = random_draws(space, 8)
    assert draws == random_draws(space, 8)
    for draw in draws:
        assert changes_of(space, draw).items() >= draw.items()


def test_listed_cells(tiny: Recipe, dataset: Path) -> None:
    cells = [Cell(tiny.with_seed(seed), dataset) for seed in range(3)]
    listed = ListedCells(cells)
    handed = []
    while (cell := listed.next()) is not None:
        handed.append(cell)
        listed.settle(cell.fingerprint, "whatever")
    assert handed == cells
    assert listed.next() is None
