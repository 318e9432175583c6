"""Which cell is trained now: what others train is waited for, what was cut stays cut, a budget ends it."""

from __future__ import annotations

from pathlib import Path

import pytest

from interplay.data.manifest import Manifest, write_manifest
from interplay.recipe import Recipe
from interplay.study.driving.budget import Budget
from interplay.study.driving.dispatch import CUT, NO_START, Dispatch
from interplay.study.driving.execution import Execution
from interplay.study.driving.ledger import Ledger, read_ledger
from interplay.study.driving.schedulers import METRIC, Rungs
from interplay.study.search.proposals import Later, ListedCells
from interplay.tracking.journal import Journal, read
from interplay.tracking.lease import Leases, is_held
from interplay.tracking.store import (
    DIVERGED,
    EARLIER_DIVERGED,
    FINISHED,
    PRUNED,
    Cell,
    CellResult,
    CellStore,
    write_result,
)

EPOCHS = 9


class Listed(ListedCells):
    """Remembers what it is told."""

    def __init__(self, cells: list[Cell]) -> None:
        super().__init__(cells)
        self.settled: list[tuple[str, str | None, bool]] = []

    def settle(self, fingerprint: str, message: str | None = None, *, pruned: bool = False) -> None:
        self.settled.append((fingerprint, message, pruned))


@pytest.fixture
def cells(tmp_path: Path, tiny: Recipe) -> list[Cell]:
    beton = tmp_path / "none.beton"
    write_manifest(beton, Manifest("none", [["a"]], {"train": 1}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))
    recipe = tiny.with_({"schedule.epochs": EPOCHS})
    return [Cell(recipe.with_seed(seed), beton) for seed in range(4)]


def finish(store: CellStore, cell: Cell) -> None:
    write_result(store.prepare(cell), CellResult(cell.fingerprint, FINISHED, {METRIC: 90.0}, {}))


def names(*cells: Cell) -> list[str]:
    return [cell.fingerprint for cell in cells]


def test_others_cells_come_last(tmp_path: Path, cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interplay.study.driving.dispatch.LOOK_S", 0.0)
    store, listed = CellStore(tmp_path), Listed(cells[:3])
    a, b, c = cells[:3]
    started: list[str] = []
    with Leases(tmp_path / "cells", "other") as other:
        assert other.take(a.fingerprint)
        assert other.take(b.fingerprint)
        with Dispatch(listed, store, on_start=lambda cell: started.append(cell.fingerprint)) as dispatch:
            assert dispatch.next() == c
            assert dispatch.next() is Later.WAIT
            finish(store, c)
            dispatch.ended(c.fingerprint)
            finish(store, a)  # the other driver has trained it
            other.release(a.fingerprint)
            assert dispatch.next() is Later.WAIT
            other.release(b.fingerprint)  # and has failed with this one
            assert dispatch.next() == b
            dispatch.ended(b.fingerprint, "failed too")
            assert dispatch.next() is None
    assert listed.settled == [(c.fingerprint, None, False), (a.fingerprint, None, False),
                              (b.fingerprint, "failed too", False)]  # fmt: skip
    assert started == names(c, b)


def test_a_lost_cell_is_waited_for_and_taken_again(
    tmp_path: Path, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interplay.study.driving.dispatch.LOOK_S", 0.0)
    listed, a = Listed(cells[:1]), cells[0]
    with Dispatch(listed, CellStore(tmp_path)) as dispatch:
        assert dispatch.next() == a
        dispatch.ended(a.fingerprint, stopped="lost")
        assert not listed.settled
        assert dispatch.next() == a
        dispatch.interrupted(a.fingerprint)
        assert not is_held(tmp_path / "cells" / a.fingerprint, dispatch.leases.holder)
    assert not listed.settled


def test_a_cell_that_is_given_up_between_two_processes_is_offered_again(
    tmp_path: Path, cells: list[Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune may hear of one death twice: it was seen to give up a cell after two of four allowed ones."""
    monkeypatch.setattr("interplay.study.driving.dispatch.LOOK_S", 0.0)
    listed, a, b = Listed(cells[:2]), cells[0], cells[1]
    with Dispatch(listed, CellStore(tmp_path)) as dispatch:
        assert [dispatch.next(), dispatch.next(), dispatch.next()] == [a, b, None]
        dispatch.begun(a.fingerprint, 1.0, 0.0)
        dispatch.broken(a.fingerprint)
        dispatch.given_up(a.fingerprint, "it died")
        assert dispatch.left
        assert dispatch.next() == a
        assert not dispatch.left
        dispatch.begun(a.fingerprint, 1.0, 0.0)
        dispatch.given_up(a.fingerprint, "it died")  # with a process: after the last one that was allowed
        dispatch.given_up(b.fingerprint, "no process")  # none could be started
    assert listed.settled == [(a.fingerprint, "it died", False), (b.fingerprint, "no process", False)]


def reached(store: CellStore, cell: Cell, at: float, *values: float) -> None:
    """The journal of a cell whose driver was killed."""
    store.prepare(cell)
    for epoch, value in enumerate(values, start=1):
        Journal(store.journal(cell.fingerprint)).write(
            {"at": at + epoch, "event": "epoch", "epoch": epoch, "metrics": {METRIC: value}}
        )


def test_a_decision_that_a_killed_driver_took_with_it_is_taken_again(tmp_path: Path, cells: list[Cell]) -> None:
    store = CellStore(tmp_path)
    good, cut, on, elsewhere = cells
    reached(store, good, 0.0, *([90.0] * EPOCHS))
    finish(store, good)
    reached(store, cut, 100.0, 10.0, 20.0, 30.0)  # its driver decided at epoch 3, and died before it could tell
    reached(store, on, 200.0, 10.0, 20.0)  # this one had not come so far
    reached(store, elsewhere, 300.0, 30.0, 40.0, 50.0)  # behind too, of another study: unknown to the rungs
    rungs = Rungs(Execution(scheduler="asha", grace=3), EPOCHS)
    rungs.replay({cell.fingerprint: read(store.journal(cell.fingerprint))[0] for cell in (good, cut, on)})
    ended: list[tuple[Cell, str]] = []
    listed = Listed(cells)
    with Dispatch(listed, store, cuts=rungs, on_end=lambda *told: ended.append(told)) as dispatch:
        assert dispatch.next() == on
        assert dispatch.next() is None
    assert listed.settled == [
        (good.fingerprint, None, False), (cut.fingerprint, CUT, True), (elsewhere.fingerprint, CUT, True)
    ]  # fmt: skip
    assert ended == [(good, ""), (cut, CUT), (elsewhere, CUT)]
    for cell in (cut, elsewhere):
        assert read(store.journal(cell.fingerprint))[0][-1]["status"] == PRUNED
        assert store.result(cell.fingerprint) is None
    # without a scheduler they are whole cells to be trained
    with Dispatch(Listed([cut]), store) as dispatch:
        assert dispatch.next() == cut


@pytest.mark.parametrize(
    ("earlier", "message", "status"), [(DIVERGED, "", EARLIER_DIVERGED), (None, NO_START, None), (FINISHED, "", None)]
)
def test_a_cell_whose_earlier_stage_did_not_finish(
    tmp_path: Path, cells: list[Cell], earlier: str | None, message: str, status: str | None
) -> None:
    store, first = CellStore(tmp_path), cells[0]
    later = Cell(first.recipe.with_({"after": first.recipe.model_dump(mode="json")}), first.dataset, first)
    if earlier is not None:
        write_result(store.prepare(first), CellResult(first.fingerprint, earlier, {METRIC: 90.0}, {}))
    ended: list[tuple[Cell, str]] = []
    listed = Listed([later, cells[2]])
    with Dispatch(listed, store, on_end=lambda *told: ended.append(told)) as dispatch:
        assert dispatch.next() == (later if earlier == FINISHED else cells[2])
    if earlier == FINISHED:
        assert not ended
        return
    assert ended == [(later, message)]
    assert listed.settled == [(later.fingerprint, message or None, False)]
    result = store.result(later.fingerprint)
    assert (result.status if result else None) == status
    assert result is None or result.evidence["earlier_stage"] == first.fingerprint


def test_a_budget_ends_it(tmp_path: Path, cells: list[Cell]) -> None:
    store, folder = CellStore(tmp_path), tmp_path / "studies" / "s"
    listed = Listed(cells)
    ledger = Ledger(folder, Budget(hours=1e-9))
    with Dispatch(listed, store, ledger=ledger) as dispatch:
        assert dispatch.next() is None
        assert "raise --max-hours" in dispatch.stopped
    ledger = Ledger(folder, Budget())
    with Dispatch(listed, store, ledger=ledger) as dispatch:
        (one, two) = (dispatch.next(), dispatch.next())
        assert [one, two] == cells[:2]
        dispatch.begun(names(*cells)[0], 2.0, 0.0)
        dispatch.broken(names(*cells)[0])  # its process died, another one goes on
        dispatch.begun(names(*cells)[0], 2.0, 0.0)
        dispatch.ended(names(*cells)[0], stopped="stopped")
    assert not listed.settled  # a stopped cell is neither cut nor failed: the next run goes on with it
    use = read_ledger(folder).use(None)
    assert (use.attempts, use.lost) == (2, 1)
