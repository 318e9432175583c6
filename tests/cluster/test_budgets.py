"""A budget ends a study with one sentence, and with a larger one the same study goes on."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from interplay.cli import main
from interplay.recipe import Recipe
from interplay.report.study import study_table
from interplay.studies import Repeats, StudyOutcome, run_ablation, run_training
from interplay.study.ablation import Ablation, Row
from interplay.study.driving.budget import Budget, Prices
from interplay.study.driving.execution import Execution
from interplay.study.driving.ledger import Ledger, use_of_study
from interplay.tracking.journal import read
from interplay.tracking.store import STOPPED, CellStore
from interplay.training import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECOND = 1 / 3600


@pytest.fixture
def cell(tiny: Recipe, digits_beton: Path) -> Recipe:
    return tiny.with_({"data.dataset": str(digits_beton)})


@pytest.mark.usefixtures("ray_session")
def test_no_cell_is_begun_without_money(cell: Recipe, tmp_path: Path) -> None:
    prices = Prices(cpu=1.0)

    def run(cost: float | None) -> StudyOutcome:
        execution = Execution(concurrency=1, budget=Budget(cost=cost, prices=prices))
        rows = [Row("policy", {"augment.policy": "rand_augment"}), Row("mixup", {"augment.mixup": 0.2})]
        return run_ablation(cell, Ablation("?", rows), Repeats([0, 1]), name="a", root=tmp_path, execution=execution)

    def results() -> int:
        return len(list(tmp_path.glob("cells/*/result.json")))

    outcome = run(0.5 * SECOND)  # half a CPU-second: the first cell is begun, and ends
    assert not outcome.complete
    assert not outcome.interrupted
    assert "raise --max-cost to go on" in outcome.stopped
    assert results() == 1
    budget = json.loads(study_table(tmp_path, "a").json)["budget"]
    assert budget["left"] == {"cost": 0.0}
    assert budget["used"]["attempts"] == 1
    assert budget["used"]["cost"] == pytest.approx(budget["used"]["cpu_hours"])

    assert "raise --max-cost" in run(0.5 * SECOND).stopped  # the ledger remembers
    assert results() == 1
    outcome = run(None)
    assert outcome.complete
    assert not outcome.stopped
    assert json.loads(study_table(tmp_path, "a").json)["budget"]["used"]["attempts"] == results() == 6

    # a study that shares all cells pays for none
    rows = [Row("policy", {"augment.policy": "rand_augment"})]
    run_ablation(cell, Ablation("?", rows), Repeats([0]), name="b", root=tmp_path)
    assert (tmp_path / "studies" / "a" / "ledger.jsonl").is_file()
    assert "budget" not in json.loads(study_table(tmp_path, "b").json)


def test_a_hard_limit_stops_at_a_checkpoint(cell: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interplay.cluster.orders.LOOK_S", 0.1)
    monkeypatch.setattr("interplay.studies.running.Ledger", partial(Ledger, beat_s=0.1))
    recipe = cell.with_({"schedule.epochs": 300})

    def run(hours: float) -> StudyOutcome:
        execution = Execution(budget=Budget(hours=hours, hard=True))
        return run_training(recipe, root=tmp_path, name="one", execution=execution)

    began = time.monotonic()
    outcome = run(3 * SECOND)
    assert time.monotonic() - began < 60
    assert not outcome.complete
    assert not outcome.interrupted
    (journal,) = tmp_path.glob("cells/*/journal.jsonl")
    assert read(journal)[0][-1]["status"] == STOPPED
    assert not (journal.parent / "lease.json").exists()
    checkpoint = CellStore(tmp_path).checkpoint(journal.parent.name)
    first = load(checkpoint)
    assert first["epoch"] + first.get("step", 0) > 0
    used = use_of_study(tmp_path / "studies" / "one")
    assert used is not None
    run(used["used"]["hours"] + 6 * SECOND)  # goes on from there
    starts = [r["epoch"] for r in read(journal)[0] if r["event"] == "start"]
    assert starts == [0, first["epoch"]]
    later = load(checkpoint)
    assert (later["epoch"], later.get("step", 0)) > (first["epoch"], first.get("step", 0))


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-cost", "1"], "--max-cost needs prices"),
        (["--max-gpu-hours", "1"], "cells use no GPU"),
        (["--threads", "4096"], "can never give a worker of 4096 CPUs"),
        (["--scheduler", "asha"], "the cells of an ablation are never cut"),
    ],
)
def test_what_cannot_work_is_one_sentence(tmp_path: Path, options: list[str], message: str) -> None:
    command = ["--storage", str(tmp_path), "ablate", "digits.deit_small_patch4", "digits.leave_one_out_demo"]
    done = CliRunner().invoke(main, [*command, "--name", "a", *options])
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "studies").exists()
