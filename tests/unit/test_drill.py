"""What a drill counts: everything that can go wrong is seen, and wrong input is refused before anything starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from interplay.drill import Outcome, drill, failing
from interplay.drill.outcome import numbers, trained_again, wrong_runs, wrong_trials
from interplay.drill.victim import Victim
from interplay.errors import InterplayError
from interplay.recipe import find_function
from interplay.study.definition import SEARCH, StudyDefinition, write_definition
from interplay.study.search.objectives import TOP1
from interplay.study.search.records import CELL, CHANGES, Records
from interplay.tracking.journal import Journal
from interplay.tracking.store import CellStore
from tests.studies import evidence, made_up, write_cell

ONE, TWO = made_up("one"), made_up("two")


@pytest.fixture
def victim(tmp_path: Path) -> Victim:
    root = tmp_path / "driver"
    for cell in (ONE, TWO):
        write_cell(root, cell, 90.0, epochs=3)
    return Victim(root, [], 2, {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"})


def test_progress_counts_each_epoch_once(victim: Victim) -> None:
    assert victim.progress() == 6
    Journal(CellStore(victim.root).journal(ONE)).append("epoch", epoch=3, metrics={"val/top1": 1.0})
    assert victim.progress() == 6


def test_a_cell_that_lost_its_process_twice_is_spared(victim: Victim) -> None:
    """It is found by the attempts that Tune made, or by those that its workers tell of."""
    ledger = Journal(victim.directory / "ledger.jsonl")
    for _ in range(3):
        assert not victim._worn()
        ledger.append("begin", cell=ONE)
    assert not victim._worn()  # it has a result
    (CellStore(victim.root).directory(ONE) / "result.json").unlink()
    assert victim._worn()
    (victim.directory / "ledger.jsonl").unlink()
    journal = Journal(CellStore(victim.root).journal(ONE))
    for epoch in (1, 2):
        assert not victim._worn()
        journal.append("start", epoch=epoch, evidence=evidence())
    assert victim._worn()


def test_cells_trained_again_are_seen(victim: Victim) -> None:
    before = victim.finished()
    assert trained_again(victim, [before]) == set()
    Journal(CellStore(victim.root).journal(ONE)).append("start", epoch=0, evidence=evidence())
    assert trained_again(victim, [before]) == {ONE}
    result = CellStore(victim.root).directory(TWO) / "result.json"
    result.write_text(result.read_text())
    assert trained_again(victim, [before]) == {ONE, TWO}


def test_other_numbers_are_seen(victim: Victim) -> None:
    before = numbers(victim)
    assert before[ONE]["status"] == "finished"
    write_cell(victim.root, TWO, 91.0, epochs=3)
    after = numbers(victim)
    assert after[ONE] == before[ONE]
    assert after[TWO] != before[TWO]


def test_doubled_and_unfinished_trials_are_seen(victim: Victim, tmp_path: Path) -> None:
    write_definition(
        victim.root, StudyDefinition(victim.name, SEARCH, "?", {}, str(tmp_path / "none.beton"), "val/top1", [])
    )
    records = Records(victim.directory, (TOP1,))
    like = create_trial(value=1.0, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)})

    def add(cell: str) -> int:
        return records.add(like, {CELL: cell, CHANGES: "{}"}, {}).number

    numbers_of = [add(ONE), add(TWO)]
    assert wrong_trials(victim) == 2  # both running
    for number in numbers_of:
        records.end(number, TrialState.COMPLETE, [90.0])
    assert wrong_trials(victim) == 0
    records.end(add(ONE), TrialState.COMPLETE, [90.0])
    assert wrong_trials(victim) == 1
    assert wrong_trials(replace(victim, cells=3)) == 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_doubled_missing_and_running_runs_are_seen(victim: Victim) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(victim.environment["MLFLOW_TRACKING_URI"])
    experiment = client.create_experiment("interplay")

    def run(role: str, cell: str = "", status: str = "FINISHED") -> None:
        tags = {"interplay.study": victim.name, "interplay.role": role, "interplay.cell": cell}
        client.set_terminated(client.create_run(experiment, tags=tags).info.run_id, status)

    both = {ONE: "FINISHED", TWO: "FINISHED"}
    run("study")
    run("cell", ONE)
    assert wrong_runs(victim, both) == 1  # one is missing
    run("cell", TWO, "KILLED")
    assert wrong_runs(victim, both) == 1
    assert wrong_runs(victim, {ONE: "FINISHED", TWO: "KILLED"}) == 0
    run("cell", ONE)
    assert wrong_runs(victim, both) == 2
    client.create_run(experiment, tags={"interplay.study": victim.name, "interplay.role": "study"})
    assert wrong_runs(victim, both) == 4  # a second parent, and it is RUNNING


@pytest.mark.parametrize("fault", ["nan", "memory"])
def test_cells_break_at_their_step(tmp_path: Path, fault: str) -> None:
    file = failing.write_rows(tmp_path / "rows", fault, [3, 5])
    rows = find_function(f"{file}:rows", "search_spaces.ablations")().rows
    assert [row.label for row in rows] == ["step_3", "step_5"]
    assert find_function(f"{file}:sound", "search_spaces.ablations")().rows == []
    images = torch.zeros(2, 3, 12, 12)
    for row, step in zip(rows, (3, 5), strict=True):
        model = find_function(row.changes["model"]["source"], "recipes")(classes=10, image_size=12).train()
        for _ in range(step - 1):
            assert model(images).isfinite().all()
        assert model.eval()(images).isfinite().all()  # evaluation is no step
        if fault == "nan":
            assert model.train()(images).isnan().all()
        else:
            with pytest.raises(torch.OutOfMemoryError):
                model.train()(images)


def test_a_process_that_is_left_is_ended(victim: Victim) -> None:
    with victim:
        process = victim.start("--help")
        assert victim.finish(process) == 0
        assert "interplay" in victim.log.read_text()
        left = victim.start("--help")
    assert left.poll() is not None


@pytest.mark.parametrize("wrong", ["missed", "lost", "twice", "runs", "trials"])
def test_any_loss_is_not_survived(wrong: str) -> None:
    sound = Outcome("driver", ("1 epoch",), 0, "", 0, 0, 0, 0, True, 1.0)
    assert sound.survived
    assert replace(sound, trials=None).survived
    assert not replace(sound, equal=False).survived
    assert not replace(sound, **{wrong: 1}).survived


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match="no fault 'drivr'"):
        drill(tmp_path / "new", ["drivr"])
    with pytest.raises(InterplayError, match="at least 2 cells"):
        drill(tmp_path / "new", ["driver"], cells=1)
    with pytest.raises(InterplayError, match="is there already"):
        drill(tmp_path, ["driver"])
    assert not (tmp_path / "new").exists()
