"""What MLflow's UI is given of a study: parameters, tags, notes, inputs, charts; rebuilt from nothing; models."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mlflow import MlflowClient, pyfunc
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from interplay.cli import main
from interplay.data.loader import beton_loaders
from interplay.recipe import Recipe
from interplay.studies import sync_study
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition, StudyRow, write_definition
from interplay.tracking.mlflow_view import MOST_AXES, MOST_COLUMNS, view_key, view_state
from interplay.tracking.store import CellStore
from interplay.training import fit
from interplay.training.checkpoint import save
from tests import studies

MLFLOW = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's and its libraries' own
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLAlchemy leaves connections to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def unpacked(state: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(state.removeprefix("deflate;"))))
    return found


def test_charts_are_of_what_varies() -> None:
    varies = {"augment.policy.kind": False, "model.drop_path": True, "optimiser.lr": True}
    state = unpacked(view_state("s'1", varies, ("val/top1", "test/top1")))
    charts = {chart["uuid"]: chart for chart in state["compareRunCharts"]}
    assert charts["interplay-parallel"]["selectedParams"] == list(varies)
    contour = charts["interplay-contour"]
    assert (contour["xaxis"]["key"], contour["yaxis"]["key"]) == ("model.drop_path", "optimiser.lr")
    assert contour["zaxis"] == {"key": "val/top1", "type": "METRIC"}
    assert {"interplay-scatter-model.drop_path", "interplay-scatter-optimiser.lr"} < set(charts)
    assert "params.`optimiser.lr`" in state["selectedColumns"]
    assert {chart["metricSectionId"] for chart in charts.values()} == {s["uuid"] for s in state["compareRunSections"]}
    some = unpacked(view_state("s1", varies, ("val/top1",), everywhere=["optimiser.lr", "seeds.init"]))
    assert some["compareRunCharts"][0]["selectedParams"] == ["optimiser.lr"]
    assert "params.`model.drop_path`" in some["selectedColumns"]
    alone = unpacked(view_state("s1", {"model.scale.kind": False}, ("memory/peak_mb",), maximise=False))
    assert (alone["orderByKey"], alone["orderByAsc"]) == ("metrics.`memory/peak_mb`", True)
    kinds = [chart["type"] for chart in alone["compareRunCharts"]]
    assert kinds == ["PARALLEL", "SCATTER", "LINE", "LINE"]
    nothing = unpacked(view_state("s1", {}, ("val/top1",)))
    assert [chart["type"] for chart in nothing["compareRunCharts"]] == ["LINE", "LINE"]


def test_a_view_fits_into_a_tag() -> None:
    """MLflow's limit for a tag of an experiment is 5,000 characters."""
    varies = {f"augment.policy.operation_{i}.probability_{i * 7919}": True for i in range(200)}
    state = view_state("x" * 100, varies, ("val/top1", "test/top1"))
    assert len(state) < 5000
    columns = unpacked(state)["selectedColumns"]
    assert sum(column.startswith("params") for column in columns) == MOST_COLUMNS
    assert len(unpacked(state)["compareRunCharts"][0]["selectedParams"]) == MOST_AXES


def runs_of(uri: str) -> dict[str, Run]:
    """Cell, or `study` -> run."""
    client = MlflowClient(uri)
    found = client.search_runs([client.get_experiment_by_name("interplay").experiment_id])
    return {run.data.tags.get("interplay.cell", "study"): run for run in found}


def everything(uri: str) -> dict[str, Any]:
    """All that MLflow has of the experiment but its own numbers and the study's times."""
    client = MlflowClient(uri)
    found: dict[str, Any] = {}
    for cell, run in runs_of(uri).items():
        points = Counter(
            (m.key, m.step, m.timestamp, m.value)
            for key in run.data.metrics
            for m in client.get_metric_history(run.info.run_id, key)
        )
        tags = {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"}
        inputs = [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs]
        files = sorted(file.path for file in client.list_artifacts(run.info.run_id))
        times = (run.info.start_time, run.info.end_time) if cell != "study" else ()
        found[cell] = (run.info.run_name, run.info.status, times, run.data.params, tags, points, inputs, files)
    experiment = client.get_experiment_by_name("interplay")
    return found | {"views": {k: v for k, v in experiment.tags.items() if "View" in k}}


def small_table(root: Path) -> StudyDefinition:
    """Three rows of one seed, one of which diverges; the question names a table of the thesis."""
    rows = [row for row in studies.TABLE if row.label in (BASELINE, "no LayerScale", studies.SCRIPT)]
    question = "Which part matters? (thesis T3.8)"
    definition = studies.write_ablation(root, studies.small_recipe(), rows, seeds=[0], question=question)
    trained = replace(definition, rows=definition.rows[:2])
    studies.train_ablation(root, trained, studies.MEANS, epochs=3)
    last = definition.rows[2]
    recipe = definition.base().with_(last.changes).with_seed(0)
    studies.write_cell(root, last.cells[0], 10.0, epochs=1, status="diverged", recipe=recipe)
    (root / "cells" / definition.rows[0].cells[0] / "checkpoint").mkdir()
    CellStore(root).checkpoint(definition.rows[0].cells[0]).write_bytes(b"")
    return definition


@pytest.mark.usefixtures("root")
class TestStudy:
    pytestmark = MLFLOW

    def test_everything_a_person_looks_for(self, root: Path) -> None:
        definition = small_table(root)
        cells = {row.label: row.cells[0] for row in definition.rows}
        sent, view = sync_study(root, "a1")
        assert sent
        found = runs_of(view.uri)
        base, plain, diverged, study = (found[c] for c in (*cells.values(), "study"))
        assert plain.info.run_name == "no LayerScale · seed 0"
        assert plain.data.tags["interplay.varies"] == "model.scale"
        assert plain.data.params["model.scale.kind"] == "none"
        assert (base.data.tags["interplay.varies"], base.data.tags["interplay.status"]) == ("nothing", "finished")
        assert base.data.tags["interplay.checkpoint"].startswith("file:///")
        assert base.data.tags["interplay.checkpoint"] in base.data.tags["mlflow.note.content"]
        assert "interplay.checkpoint" not in plain.data.tags
        assert "- `model.scale`: none" in plain.data.tags["mlflow.note.content"]
        assert diverged.data.tags["interplay.status"] == "diverged"
        assert "<script>" not in diverged.data.tags["mlflow.note.content"].replace(r"\<script\>", "")
        for run in (base, plain, diverged):
            assert run.data.tags["interplay.thesis_table"] == "T3.8"
            assert run.data.tags["interplay.dataset_digest"] == "790f37df5e685749"
            ((name, digest),) = [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs]
            assert (name, digest) == ("digits", "790f37df5e685749")
        metrics = {"train/loss", "val/top1", "test/top1", "v2/top1", "throughput/images_per_s", "memory/peak_mb"}
        assert metrics <= base.data.metrics.keys() == plain.data.metrics.keys()
        assert len(MlflowClient(view.uri).get_metric_history(base.info.run_id, "v2/top1")) == 1
        assert len(MlflowClient(view.uri).get_metric_history(base.info.run_id, "val/top1")) == 3

        tags = study.data.tags
        assert tags["interplay.varies"] == "model.scale.kind, optimiser.lr"
        assert (tags["interplay.recipe"], tags["interplay.thesis_table"]) == ("tiny", "T3.8")
        assert tags["interplay.code_revision"] == tags["mlflow.source.git.commit"] == "47655de"
        note = tags["mlflow.note.content"]
        assert note.startswith("# a1\n\nWhich part matters? (thesis T3.8)\n\n| row |")
        assert "| no LayerScale |" in note
        experiment = MlflowClient(view.uri).get_experiment_by_name("interplay")
        key = view_key("a1")
        assert view.page().startswith(f"/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey={key}")
        charts = unpacked(experiment.tags[f"mlflow.sharedViewState.{key}"])["compareRunCharts"]
        assert charts[0]["selectedParams"] == ["model.scale.kind", "optimiser.lr"]

    def test_a_lost_store_is_rebuilt(self, root: Path, empty_store: Path) -> None:
        """The same view from the journals, though the notes of what was sent are still there."""
        small_table(root)
        sent, view = sync_study(root, "a1")
        before = everything(view.uri)
        assert sent
        assert len(before) == 5
        shutil.copy(empty_store, root / "mlflow.db")
        assert MlflowClient(view.uri).get_experiment_by_name("interplay") is None
        assert list((root / "studies" / "a1").glob("mlflow-*.jsonl"))
        for _ in range(2):
            sent, _ = sync_study(root, "a1")
            assert sent
            assert everything(view.uri) == before


def trained_study(root: Path, beton: Path, recipe: Recipe) -> str:
    """A study of one cell with the checkpoint of a short training; the cell."""
    few = recipe.with_({"schedule.epochs": 1, "schedule.warmup_epochs": 0, "data.batch_size": 512})
    definition = studies.write_ablation(root, few, [StudyRow(BASELINE, {}, {})], name="one", seeds=[0])
    write_definition(root, replace(definition, dataset=str(beton)))
    studies.train_ablation(root, definition, {BASELINE: 90.0}, epochs=1)
    (cell,) = definition.rows[0].cells.values()
    save(fit(few, beton_loaders(beton, few)).state, CellStore(root).checkpoint(cell))
    return cell


@pytest.mark.usefixtures("root")
class TestExport:
    pytestmark = MLFLOW

    def test_a_model_is_loaded_with_its_signature(
        self, root: Path, digits_beton: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cell = trained_study(root, digits_beton, tiny)

        def export(*options: str) -> tuple[int, str]:
            done = CliRunner().invoke(main, ["--storage", str(root), "export", *options])
            return done.exit_code, done.output.strip()

        code, said = export("one")
        assert (code, "interplay sync one" in said) == (2, True)
        sent, view = sync_study(root, "one")
        assert sent
        code, address = export("one")
        assert code == 0, address
        assert export("one", "--cell", cell[:6]) == (0, address)  # it is logged once
        run = runs_of(view.uri)[cell]
        assert address == f"models:/{run.data.tags['interplay.model']}"
        assert [model.model_id for model in run.outputs.model_outputs] == [run.data.tags["interplay.model"]]
        assert run.info.status == "FINISHED"

        monkeypatch.setenv("MLFLOW_TRACKING_URI", view.uri)
        model = pyfunc.load_model(address)
        images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
        shares = model.predict(images)
        assert (shares.shape, shares.dtype) == ((4, 10), np.dtype(np.float32))
        torch.testing.assert_close(torch.from_numpy(shares).sum(dim=1), torch.ones(4))
        assert model.metadata.metadata["classes"] == list("0123456789")
        with pytest.raises(MlflowException):
            model.predict(images[:, :8])

        code, folder = export("one", "--out", str(root / "model"))
        assert code == 0
        np.testing.assert_array_equal(pyfunc.load_model(folder).predict(images), shares)
        assert export("one", "--out", str(root / "model"))[0] == 2

    def test_what_cannot_be_exported(self, root: Path) -> None:
        definition = small_table(root)
        for options, why in [
            (["a1"], "say which with --cell"),
            (["a1", "--cell", "zz"], "no cell"),
            (["a1", "--cell", definition.rows[1].cells[0]], "no checkpoint"),
            (["none"], "none"),
        ]:
            done = CliRunner().invoke(main, ["--storage", str(root), "export", *options])
            assert (done.exit_code, why in done.output) == (2, True), done.output
