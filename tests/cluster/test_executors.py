"""Both executors run the same loop: the same cell gives the same numbers, whoever trains it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from interplay.recipe import Recipe
from interplay.studies import Repeats, Wanted, run_ablation, run_search, run_training
from interplay.study.ablation import Ablation, Row
from interplay.study.driving.execution import Execution
from interplay.study.search.proposals import open_study
from interplay.tracking.store import CellResult, CellStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def cell(tiny: Recipe, digits_beton: Path) -> Recipe:
    return tiny.with_({"data.dataset": str(digits_beton), "augment.mixup": 0.2, "augment.policy": "rand_augment"})


def train(recipe: Recipe, root: Path, execution: Execution) -> CellResult:
    outcome = run_training(recipe, root=root, name="one", execution=execution)
    assert outcome.complete
    assert outcome.mlflow_sent
    store = CellStore(root)
    (fingerprint,) = outcome.runs
    result = store.result(fingerprint)
    assert result is not None
    return result


def numbers(result: CellResult) -> dict[str, float]:
    """The metrics that must not depend on the machine's mood."""
    return {k: v for k, v in result.metrics.items() if k.split("/")[0] in ("train", "val", "test")}


def test_same_cell_same_numbers(cell: Recipe, tmp_path: Path) -> None:
    here = train(cell, tmp_path / "here", Execution())
    again = train(cell, tmp_path / "again", Execution())
    ray_train = train(cell, tmp_path / "train", Execution("train"))
    assert numbers(here) == numbers(again) == numbers(ray_train)
    assert ray_train.evidence["executor"] == "train"


def test_two_workers_see_the_same_samples(cell: Recipe, tmp_path: Path) -> None:
    cell = cell.with_({"model.drop_path": 0.0})
    one = train(cell, tmp_path / "one", Execution())
    two = train(cell, tmp_path / "two", Execution("train", workers=2))
    assert two.evidence["workers"] == 2
    assert two.evidence["samples_seen"] == one.evidence["samples_seen"] == 2 * (1151 // 32) * 32
    # the same global batches: gradients differ by the rounding of a sum in another order
    assert two.metrics["train/loss"] == pytest.approx(one.metrics["train/loss"], rel=1e-3)


def test_inline_in_tune_equals_here(cell: Recipe, tmp_path: Path) -> None:
    ablation = Ablation("?", [Row("no policy", {"augment.policy": "none"})])
    outcome = run_ablation(cell, ablation, Repeats([0, 1]), name="pair", root=tmp_path / "tune")
    assert outcome.complete
    assert len(outcome.runs) == 4
    store = CellStore(tmp_path / "tune")
    here = train(cell.with_seed(1), tmp_path / "here", Execution())
    assert numbers(store.result(here.fingerprint)) == numbers(here)  # type: ignore[arg-type]


def space(trial: Any) -> dict[str, Any]:
    return {"model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.3)}


def test_search_extends_and_shares_cells(cell: Recipe, tmp_path: Path) -> None:
    def search(name: str, trials: int, execution: Execution | None = None) -> None:
        outcome = run_search(cell, space, Wanted(trials, "here"), name=name, root=tmp_path, execution=execution)
        assert outcome.complete

    sequential = Execution(concurrency=1)
    search("first", 2, sequential)
    finished = {p: p.stat().st_mtime for p in tmp_path.glob("cells/*/result.json")}
    search("first", 3, sequential)
    assert len(list(tmp_path.glob("cells/*"))) == 3
    assert {p: p.stat().st_mtime for p in finished} == finished

    search("second", 3, sequential)  # the same seed proposes the same cells: all are there already
    assert len(list(tmp_path.glob("cells/*"))) == 3
    first, second = (open_study(tmp_path / "studies" / name).get_trials() for name in ("first", "second"))
    assert [t.params for t in first] == [t.params for t in second]
    assert [t.value for t in first] == [t.value for t in second]


def test_diverged_cells_are_results(cell: Recipe, tmp_path: Path) -> None:
    ablation = Ablation("?", [Row("absurd rate", {"optimiser.lr": 1e12, "schedule.min_lr": 1e12})])
    outcome = run_ablation(cell, ablation, Repeats([0]), name="wild", root=tmp_path)
    assert outcome.complete
    statuses = {json.loads(p.read_text())["status"] for p in tmp_path.glob("cells/*/result.json")}
    assert statuses == {"finished", "diverged"}


def test_a_failing_cell_does_not_end_the_study(cell: Recipe, tmp_path: Path) -> None:
    # an own model that fails when it is called: in the trial, not before
    file = tmp_path / "broken.py"
    file.write_text(
        "import torch\n\n\ndef net(classes, image_size):\n    return torch.nn.Linear(image_size + 1, classes)\n"
    )
    broken = {"model": {"family": "own", "source": f"{file}:net"}}
    outcome = run_ablation(cell, Ablation("?", [Row("broken", broken)]), Repeats([0]), name="half", root=tmp_path)
    assert not outcome.complete
    assert len(list(tmp_path.glob("cells/*/result.json"))) == 1
