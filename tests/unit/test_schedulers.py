"""Rungs decide as Ray Tune's own, and the same again when they are rebuilt from what was recorded."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler

from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.study.driving.execution import Execution, grace_of
from interplay.study.driving.schedulers import METRIC, CellScheduler, Rungs
from interplay.tracking.store import Cell

EPOCHS, CELLS = 27, 40

History = list[tuple[str, int, float]]


def curves(seed: int = 0) -> dict[str, list[float]]:
    """Accuracy after each epoch of cells that end at different heights."""
    rng = np.random.default_rng(seed)
    tops = rng.uniform(50, 95, CELLS)
    return {
        f"cell{n}": [float(top * (1 - 0.8**epoch) + rng.normal(0, 0.5)) for epoch in range(1, EPOCHS + 1)]
        for n, top in enumerate(tops)
    }


def interleaved(seed: int = 0) -> History:
    """Reports in an order in which four workers could have made them."""
    found = curves(seed)
    order, rng = [], random.Random(seed)
    waiting, running = list(found), {}
    while waiting or running:
        while waiting and len(running) < 4:
            running[waiting.pop(0)] = 0
        cell = rng.choice(list(running))
        running[cell] += 1
        order.append((cell, running[cell], found[cell][running[cell] - 1]))
        if running[cell] == EPOCHS:
            running.pop(cell)
    return order


def play(rungs: Rungs, history: History) -> dict[str, int]:
    """Cell -> epoch of its cut."""
    cut: dict[str, int] = {}
    for cell, epoch, value in history:
        if cell not in cut and rungs.report(cell, epoch, value):
            cut[cell] = epoch
    return cut


def test_decisions_are_rays_own() -> None:
    theirs = AsyncHyperBandScheduler(
        "epoch", METRIC, "max", max_t=EPOCHS, grace_period=3, reduction_factor=3, stop_last_trials=False
    )
    expected: dict[str, int] = {}
    entered: set[str] = set()
    history = interleaved()
    for cell, epoch, value in history:
        if cell in expected or epoch == EPOCHS:
            continue
        trial = SimpleNamespace(trial_id=cell)
        if cell not in entered:
            entered.add(cell)
            theirs.on_trial_add(None, trial)
        if theirs.on_trial_result(None, trial, {"epoch": epoch, METRIC: value}) == "STOP":
            expected[cell] = epoch
    found = play(Rungs(Execution(scheduler="asha", grace=3), EPOCHS), history)
    assert found == expected
    assert set(found.values()) == {3, 9}
    assert 15 < len(found) < CELLS


@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
@pytest.mark.parametrize("stopped_after", [1, 40, 150, 300])
def test_rebuilt_rungs_decide_the_same(scheduler: Any, stopped_after: int) -> None:
    execution = Execution(scheduler=scheduler, grace=3)
    whole = play(Rungs(execution, EPOCHS), interleaved())
    history = [step for step in interleaved() if step[1] <= whole.get(step[0], EPOCHS)]
    before = history[:stopped_after]
    journals: dict[str, list[dict[str, Any]]] = {}
    for at, (cell, epoch, value) in enumerate(before):
        journals.setdefault(cell, [{"at": 0.0, "event": "start"}]).append(
            {"at": float(at), "event": "epoch", "epoch": epoch, "metrics": {METRIC: value}}
        )
    np.random.seed(stopped_after)  # whatever the next driver's generator stands at
    rungs = Rungs(execution, EPOCHS)
    rungs.replay(dict(reversed(journals.items())))  # in whatever order files are found
    already = {cell for cell, epoch, _ in before if rungs.report(cell, epoch, 0.0)}
    assert already == {cell for cell, epoch, _ in before if whole.get(cell) == epoch}
    rest = play(rungs, history[stopped_after:])
    assert {cell: epoch for cell, epoch in rest.items() if cell not in already} == {
        cell: epoch for cell, epoch in whole.items() if cell not in already
    }


def test_hyperband_has_brackets_that_cut_later() -> None:
    asha = play(Rungs(Execution(scheduler="asha", grace=3), EPOCHS), interleaved())
    hyperband = play(Rungs(Execution(scheduler="hyperband", grace=3), EPOCHS), interleaved())
    assert 0 < len(hyperband) < len(asha)
    np.random.seed(5)
    before = np.random.get_state()[1].copy()
    Rungs(Execution(scheduler="hyperband"), EPOCHS).report("a", 9, 50.0)
    assert (np.random.get_state()[1] == before).all()


def test_the_last_epoch_and_what_is_no_number_cut_nothing() -> None:
    rungs = Rungs(Execution(scheduler="asha", grace=3), EPOCHS)
    assert not rungs.report("a", 3, 90.0)
    assert not rungs.report("b", 3, float("nan"))
    assert not rungs.report("c", EPOCHS, 0.0)
    assert rungs.report("d", 3, 10.0)


def test_a_cell_of_another_length_is_not_compared(tiny: Recipe) -> None:
    rungs = Rungs(Execution(scheduler="asha", grace=1), 4)
    assert rungs.follows(Cell(tiny.with_({"schedule.epochs": 4}), Path("d")))
    assert not rungs.follows(Cell(tiny.with_({"schedule.epochs": 8}), Path("d")))


def test_tune_never_ends_a_trial_itself() -> None:
    answers: list[tuple[str, int, bool]] = []
    scheduler = CellScheduler(Rungs(Execution(scheduler="asha", grace=3), EPOCHS), lambda *a: answers.append(a))
    for cell, value in (("a", 90.0), ("b", 10.0)):
        trial = SimpleNamespace(trial_id=f"tune {cell}", config={"fingerprint": cell})
        assert scheduler.on_trial_result(None, trial, {"epoch": 3, METRIC: value}) == "CONTINUE"
        assert scheduler.on_trial_result(None, trial, {"message": ""}) == "CONTINUE"
    assert answers == [("a", 3, False), ("b", 3, True)]


def test_grace() -> None:
    assert [grace_of(Execution(), epochs) for epochs in (2, 4, 18, 300)] == [1, 1, 5, 75]
    assert grace_of(Execution(grace=7), 18) == 7


@pytest.mark.parametrize(
    ("execution", "changes", "match"),
    [
        (Execution(scheduler="asha", grace=4), {}, "--grace 4 is not less than"),
        (Execution(scheduler="asha"), {"evaluation.every": 4}, "sees no accuracy"),
        (Execution(scheduler="asha", grace=3), {"evaluation.every": 2}, "sees no accuracy"),
    ],
)
def test_a_scheduler_that_could_cut_nothing_is_refused(
    tiny: Recipe, execution: Execution, changes: dict[str, Any], match: str
) -> None:
    recipe = tiny.with_({"schedule.epochs": 4})
    execution.whole().check_cuts(recipe.with_(changes))
    with pytest.raises(InterplayError, match=match):
        execution.check_cuts(recipe.with_(changes))


def test_what_execution_refuses() -> None:
    with pytest.raises(InterplayError, match="never cut"):
        Execution(scheduler="asha").refuse_cuts("an ablation")
    with pytest.raises(InterplayError, match="no scheduler 'pbt'; use none, asha, hyperband"):
        Execution(scheduler="pbt").chosen()  # type: ignore[arg-type]
    for wrong in (Execution(grace=-1), Execution(eta=1.0), Execution(eta=float("nan"))):
        with pytest.raises(InterplayError, match="--grace is"):
            wrong.chosen()
