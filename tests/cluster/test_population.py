"""A population on a real cluster: generations one after the other, each from the weights it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch

from interplay.recipe import Recipe, read_recipe
from interplay.studies import Wanted, run_search, run_training
from interplay.study.driving.execution import Execution
from interplay.study.search.proposals import CELL, open_study
from interplay.study.search.records import PARENT
from interplay.tracking.journal import read
from interplay.tracking.store import CellStore
from interplay.training import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.usefixtures("ray_session")]


def space(trial: Any) -> dict[str, Any]:
    """From rates that learn to rates that do not."""
    return {
        "optimiser.lr": trial.suggest_float("optimiser.lr", 1e-5, 1e-2, log=True),
        "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.2),
    }


def search(base: Recipe, root: Path, trials: int, concurrency: int) -> Any:
    wanted = Wanted(trials=trials, sampler="random", seed=1, population=4)
    return run_search(base, space, wanted, name="p", root=root, execution=Execution(concurrency=concurrency))


def parents(root: Path) -> dict[str, str]:
    """Cell -> the cell it started from."""
    trials = open_study(root / "studies" / "p").get_trials()
    return {str(trial.user_attrs[CELL]): str(trial.user_attrs.get(PARENT, "")) for trial in trials}


def test_generations_hand_their_weights_on(tiny: Recipe, digits_beton: Path, tmp_path: Path) -> None:
    changes = {"data.dataset": str(digits_beton), "schedule.epochs": 1, "schedule.warmup_epochs": 0}
    base, root = tiny.with_(changes), tmp_path / "at_once"
    outcome = search(base, root, 8, concurrency=2)
    assert outcome.complete
    lines = parents(root)
    assert [bool(parent) for parent in lines.values()] == [False] * 4 + [True] * 4
    store = CellStore(root)
    for cell, parent in lines.items():
        recipe = read_recipe(store.directory(cell) / "recipe.yaml")
        assert (recipe.after is not None) == bool(parent)
        if parent:
            assert recipe.after == read_recipe(store.directory(parent) / "recipe.yaml").model_copy(
                update={"name": recipe.after.name if recipe.after else ""}
            )

    # more trials are another generation; what is there is kept, and so are MLflow's runs, one for each cell
    assert search(base, root, 12, concurrency=2).complete
    assert list(lines.items()) == list(parents(root).items())[:8]
    assert all([record["event"] for record in read(store.journal(cell))[0]].count("start") == 1 for cell in lines)
    client = mlflow.MlflowClient(outcome.mlflow_uri)
    runs = client.search_runs([client.get_run(outcome.parent_run).info.experiment_id])
    tagged = [run.data.tags["interplay.generation"] for run in runs if "interplay.generation" in run.data.tags]
    assert sorted(tagged) == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    assert all(run.info.status == "FINISHED" for run in runs)

    # one at a time comes to the same cells, whichever was faster before
    other = tmp_path / "in_turn"
    assert search(base, other, 12, concurrency=1).complete
    assert parents(other) == parents(root)

    # and a line is a recipe, which any other study trains to the same weights, with its earlier stages
    last = list(parents(root))[-1]
    alone = run_training(read_recipe(store.directory(last) / "recipe.yaml"), root=tmp_path / "alone")
    assert alone.complete
    one, same = (load(CellStore(r).checkpoint(last))["model"] for r in (root, tmp_path / "alone"))
    assert all(torch.equal(one[name], same[name]) for name in one)
