"""A search with a scheduler: cells that are behind are cut, their CPU is free at once, others go on with them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from interplay.recipe import Recipe, read_recipe
from interplay.studies import Wanted, run_search, run_training
from interplay.study.driving.execution import Execution
from interplay.study.search.proposals import CELL, open_study
from interplay.tracking.journal import epochs, read
from interplay.tracking.store import FINISHED, PRUNED, CellStore
from interplay.training import load

EPOCHS = 4

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def base(tiny: Recipe, digits_beton: Path) -> Recipe:
    return tiny.with_({"data.dataset": str(digits_beton), "schedule.epochs": EPOCHS})


def space(trial: Any) -> dict[str, Any]:
    """Cells that learn, and cells that cannot."""
    rate = trial.suggest_categorical("optimiser.lr", [3e-3, 1e-9])
    floor = {"schedule.min_lr": min(rate, 1e-5), "schedule.warmup_lr": min(rate, 1e-6)}
    return {"optimiser.lr": rate, **floor, "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.1)}


def search(base: Recipe, root: Path, rates: list[float], name: str = "cut", **settings: Any) -> Any:
    """One cell for each of `rates`, in this order."""
    execution = Execution(**{"scheduler": "asha", "grace": 1, "concurrency": 1, **settings})
    points = [{"optimiser.lr": rate, "model.drop_path": 0.01 * n} for n, rate in enumerate(rates)]
    return run_search(
        base, space, Wanted(trials=len(rates), start_from=points), name=name, root=root, execution=execution
    )


def ends(root: Path) -> dict[str, str]:
    """Cell -> how its journal ends, in the order in which they ended."""
    last = {p.parent.name: read(p)[0][-1] for p in root.glob("cells/*/journal.jsonl")}
    return {cell: r.get("status", r["event"]) for cell, r in sorted(last.items(), key=lambda item: item[1]["at"])}


def states(root: Path, name: str = "cut") -> dict[str, str]:
    return {r.user_attrs[CELL]: r.state.name for r in open_study(root / "studies" / name).get_trials()}


GOOD, DEAD = 3e-3, 1e-9


def test_cut_freed_and_gone_on_with(base: Recipe, tmp_path: Path) -> None:
    outcome = search(base, tmp_path, [GOOD, DEAD, DEAD])
    assert outcome.complete
    found = ends(tmp_path)
    assert list(found.values()) == [FINISHED, PRUNED, PRUNED]
    assert list(states(tmp_path).values()) == ["COMPLETE", "PRUNED", "PRUNED"]
    store = CellStore(tmp_path)
    _, first, second = found
    journals = {cell: read(store.journal(cell))[0] for cell in found}
    for cell in (first, second):
        assert store.result(cell) is None
        assert max(epochs(journals[cell])) == load(store.checkpoint(cell))["epoch"] == 1
        assert not (store.directory(cell) / "lease.json").exists()
    assert [len(journals[cell]) for cell in found] == [EPOCHS + 2, 3, 3]
    # the process that trained the cut cell has begun the next one within seconds, on a busy machine too
    assert journals[second][0]["at"] - journals[first][-1]["at"] < 5.0

    # the same search again trains nothing; more trials go on with the rungs as they were
    assert search(base, tmp_path, [GOOD, DEAD, DEAD]).complete
    assert search(base, tmp_path, [GOOD, DEAD, DEAD, DEAD]).complete
    assert list(ends(tmp_path).values()) == [FINISHED, PRUNED, PRUNED, PRUNED]
    assert [r["event"] for cell in found for r in read(store.journal(cell))[0]].count("start") == 3

    # who needs the whole cell goes on from where it was cut
    recipe = read_recipe(store.directory(first) / "recipe.yaml")
    assert run_training(recipe, root=tmp_path, name="whole").complete
    starts = [r["epoch"] for r in read(store.journal(first))[0] if r["event"] == "start"]
    assert starts == [0, 1]
    assert ends(tmp_path)[first] == FINISHED
    assert states(tmp_path)[first] == "PRUNED"  # and what the search decided stands
    assert search(base, tmp_path, [GOOD, DEAD, DEAD, DEAD]).complete


def test_what_mlflow_shows_of_a_cut_cell(base: Recipe, tmp_path: Path) -> None:
    outcome = search(base, tmp_path, [GOOD, DEAD], scheduler="hyperband")
    from mlflow import MlflowClient

    client = MlflowClient(outcome.mlflow_uri)
    shown = {cell: client.get_run(run) for cell, run in outcome.runs.items()}
    assert outcome.mlflow_sent
    found = ends(tmp_path)
    for cell, status in found.items():
        assert shown[cell].data.tags["interplay.status"] == status
        assert shown[cell].info.status == {FINISHED: "FINISHED", PRUNED: "KILLED"}[status]
    one = shown[next(cell for cell, status in found.items() if status == FINISHED)]
    names = {"val/top1", "test/top1", "train/loss", "throughput/images_per_s", "memory/peak_mb"}
    assert names <= one.data.metrics.keys()


def test_a_ray_train_job_is_cut(base: Recipe, tmp_path: Path) -> None:
    began = time.monotonic()
    assert search(base, tmp_path, [GOOD, DEAD], executor="train", workers=2).complete
    found = ends(tmp_path)
    assert list(found.values()) == [FINISHED, PRUNED]
    assert list(states(tmp_path).values()) == ["COMPLETE", "PRUNED"]
    cut = list(found)[1]
    assert load(CellStore(tmp_path).checkpoint(cut))["epoch"] == 1
    assert time.monotonic() - began < 150
