"""MLflow as a view of the journals: complete, the same however often it is sent, and never waited for."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from interplay.cluster.session import free_port
from interplay.recipe import Recipe, flatten, to_yaml
from interplay.studies import sync_study
from interplay.study.ablation import BASELINE
from interplay.study.definition import ABLATION, StudyDefinition, StudyRow, write_definition
from interplay.tracking.mlflow import Child, StudyRun, tracking_uri
from interplay.tracking.publisher import Publisher
from interplay.tracking.store import DIVERGED, FAILED, FINISHED, PRUNED, STOPPED, CellResult, write_result
from tests.mlflow_server import served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's and its libraries' own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLAlchemy leaves connections to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

START = 1_700_000_000.0
EPOCHS = 3


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def write_cell(root: Path, recipe: Recipe, name: str, status: str = "", seed: int = 0) -> Child:
    """A cell's folder as a worker leaves it; without a status it was stopped after `EPOCHS` epochs."""
    directory = root / "cells" / name
    directory.mkdir(parents=True)
    recipe = recipe.with_seed(seed)
    (directory / "recipe.yaml").write_text(to_yaml(recipe))
    records: list[dict[str, Any]] = [
        {"event": "start", "epoch": 0, "evidence": {"device": "CPU", "seeds": {"init": seed}, "code_revision": "abc"}}
    ]
    for epoch in range(1, EPOCHS + 1):
        metrics = {"epoch": epoch, "train/loss": 3.0 / epoch, "val/top1": 90.0 + epoch}
        records.append({"event": "epoch", "epoch": epoch, "metrics": metrics})
    if status:
        final = {"val/top1": 93.0, "test/top1": 92.5}
        end: dict[str, Any] = {"metrics": final} if status == FINISHED else {"message": "why"}
        records.append({"event": "end", "status": status, **end})
        if status in (FINISHED, DIVERGED):
            write_result(directory, CellResult(name, status, final if status == FINISHED else {}, {}))
    append(root, name, *({"at": START + i, **record} for i, record in enumerate(records)))
    return Child(name, f"{name} · seed {seed}", flatten(recipe), {"interplay.seed": str(seed)})


def append(root: Path, name: str, *records: dict[str, Any]) -> None:
    with (root / "cells" / name / "journal.jsonl").open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def view_of(root: Path) -> StudyRun:
    return StudyRun(root, "demo", description="Which?", kind=ABLATION)


def send(root: Path, *children: Child, status: str = "FINISHED") -> StudyRun:
    view = view_of(root)
    for child in children:
        view.push(child)
    view.open()
    view.stop_children()
    view.close(status, {"table.md": "| row |"})
    return view


def all_runs(uri: str) -> list[Run]:
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("interplay")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def points(uri: str) -> dict[str, Counter[tuple[int, int, float]]]:
    """Every metric point of every run: key -> (step, timestamp, value), run by run."""
    client = MlflowClient(uri)
    found: dict[str, Counter[tuple[int, int, float]]] = {}
    for run in all_runs(uri):
        for key in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, key)
            name = f"{run.data.tags['interplay.cell']} {key}"
            found[name] = found.get(name, Counter()) + Counter((m.step, m.timestamp, m.value) for m in history)
    return found


def test_what_mlflow_shows(root: Path, tiny: Recipe) -> None:
    children = [write_cell(root, tiny, name, FINISHED, seed) for seed, name in enumerate(["one", "two"])]
    view = send(root, *children)
    runs = {run.data.tags.get("interplay.cell", "parent"): run for run in all_runs(view.uri)}
    assert set(runs) == {"parent", "one", "two"}
    parent, one = runs["parent"], runs["one"]
    assert view.runs() == {name: runs[name].info.run_id for name in ("one", "two")}
    assert (parent.info.run_id, parent.info.run_name, parent.info.status) == (view.parent, "demo", "FINISHED")
    assert parent.data.tags["interplay.kind"] == ABLATION
    assert one.data.tags["mlflow.parentRunId"] == view.parent
    assert one.info.run_name == "one · seed 0"
    assert one.info.status == "FINISHED"
    assert one.info.end_time == int(1000 * (START + EPOCHS + 1))
    assert one.data.params["model.drop_path"] == "0.0"
    assert one.data.params["augment.crop.scale"] == "[0.7, 1.0]"
    assert one.data.tags["interplay.status"] == FINISHED
    assert one.data.tags["interplay.device"] == "CPU"
    assert runs["two"].data.tags["interplay.seed"] == "1"

    sent = points(view.uri)
    assert sent["one val/top1"] == Counter((e, int(1000 * (START + e)), 90.0 + e) for e in range(1, EPOCHS + 1))
    assert sent["one test/top1"] == Counter([(EPOCHS, int(1000 * (START + EPOCHS + 1)), 92.5)])
    assert not any(key.endswith(" epoch") for key in sent)

    artifacts = root / "mlartifacts"
    assert (artifacts / one.info.run_id / "artifacts" / "recipe.yaml").read_text() == to_yaml(tiny)
    assert (artifacts / view.parent / "artifacts" / "table.md").read_text() == "| row |"


@pytest.mark.parametrize("state", ["kept", "lost"])
def test_sending_again_adds_nothing(root: Path, tiny: Recipe, state: str) -> None:
    children = [write_cell(root, tiny, name, FINISHED, seed) for seed, name in enumerate(["one", "two"])]
    view = send(root, *children)
    runs, sent = {r.info.run_id for r in all_runs(view.uri)}, points(view.uri)
    if state == "lost":
        for path in (root / "studies" / "demo").glob("mlflow-*.jsonl"):
            path.unlink()
    again = send(root, *children)
    assert again.parent == view.parent
    assert {r.info.run_id for r in all_runs(view.uri)} == runs
    assert points(view.uri) == sent


def test_an_epoch_trained_again_is_sent_once(root: Path, tiny: Recipe) -> None:
    """Killed after epoch 3 with a checkpoint of epoch 2: the resumed run writes epoch 3 again."""
    child = write_cell(root, tiny, "one")
    view = send(root, child, status="KILLED")
    assert {r.info.status for r in all_runs(view.uri)} == {"KILLED"}
    later = START + 100
    start = {"at": later, "event": "start", "epoch": 2, "evidence": {"device": "GPU", "code_revision": "abd"}}
    epochs = [
        {"at": later + e, "event": "epoch", "epoch": e, "metrics": {"epoch": e, "val/top1": 90.0 + e}} for e in (3, 4)
    ]
    append(root, "one", start, *epochs)
    for path in (None, *(root / "studies" / "demo").glob("mlflow-*.jsonl")):
        if path is not None:
            path.unlink()  # and it is the same for a sender that knows nothing of the first time
        assert view_of(root).push(child)
        assert {step: t for step, t, _ in points(view.uri)["one val/top1"]} == {
            1: int(1000 * (START + 1)),
            2: int(1000 * (START + 2)),
            3: int(1000 * (START + 3)),
            4: int(1000 * (later + 4)),
        }
    (one,) = (r for r in all_runs(view.uri) if "interplay.cell" in r.data.tags)
    assert (one.info.status, one.data.tags["interplay.device"]) == ("RUNNING", "GPU")


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (FINISHED, "FINISHED"),
        (DIVERGED, "FAILED"),
        (FAILED, "FAILED"),
        (PRUNED, "KILLED"),
        (STOPPED, "KILLED"),
        ("", "KILLED"),
    ],
)
def test_how_a_cell_ended(root: Path, tiny: Recipe, status: str, shown: str) -> None:
    view = send(root, write_cell(root, tiny, "one", status))
    (one,) = (r for r in all_runs(view.uri) if "interplay.cell" in r.data.tags)
    assert one.info.status == shown
    assert one.data.tags.get("interplay.status", "") == status


@pytest.mark.parametrize(
    ("method", "call"),
    [("create_run", 0), ("create_run", 1), ("log_batch", 0), ("log_text", 0), ("set_terminated", 0),
     ("search_runs", 0), ("search_runs", 1), ("update_run", 0)],
)  # fmt: skip
def test_a_call_that_fails_is_made_again(
    root: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    """The server goes away in the middle of a push; the same publisher tries again."""
    child, calls = write_cell(root, tiny, "one", FINISHED), 0
    real = getattr(MlflowClient, method)

    def away(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call + 1:
            raise ConnectionError("away")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, method, away)
    view = view_of(root)
    with pytest.raises(ConnectionError):
        view.push(child)
    assert view.push(child)
    assert not view.push(child)
    view.close("FINISHED")
    parent, one = sorted(all_runs(view.uri), key=lambda r: "interplay.cell" in r.data.tags)
    assert (parent.info.status, one.info.status) == ("FINISHED", "FINISHED")
    assert one.data.params.keys() == child.params.keys()
    assert one.data.tags["interplay.device"] == "CPU"
    assert sum(points(view.uri)["one val/top1"].values()) == EPOCHS
    assert (root / "mlartifacts" / one.info.run_id / "artifacts" / "recipe.yaml").is_file()


def test_a_publisher_follows_a_journal_that_grows(root: Path, tiny: Recipe) -> None:
    child = write_cell(root, tiny, "one")
    view = view_of(root)
    publisher = Publisher(view, every_s=0.1, first_s=0.0)
    publisher.add(child)
    publisher.start()
    deadline = time.monotonic() + 60
    while not view.runs():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    metrics = {"epoch": 4, "val/top1": 94.0}
    append(root, "one", {"at": START + 9, "event": "epoch", "epoch": 4, "metrics": metrics})
    assert publisher.finish("KILLED")
    assert max(points(view.uri)["one val/top1"]) == (4, int(1000 * (START + 9)), 94.0)
    assert {r.info.status for r in all_runs(view.uri)} == {"KILLED"}


def test_a_publisher_looks_only_at_cells_that_may_still_grow(root: Path, tiny: Recipe) -> None:
    """Also at one that another study cut, and that is gone on with."""
    cut, running = write_cell(root, tiny, "cut", PRUNED), write_cell(root, tiny, "running", seed=1)
    view = view_of(root)
    looked: list[str] = []
    push = view.push
    view.push = lambda child: looked.append(child.fingerprint) or push(child)  # type: ignore[method-assign]
    publisher = Publisher(view, every_s=0.05, first_s=0.0)
    publisher.add(cut)
    publisher.add(running)
    publisher.start()
    deadline = time.monotonic() + 60
    while looked.count("running") < 5:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert looked.count("cut") == 1
    start = {"at": START + 50, "event": "start", "epoch": 3, "evidence": {"device": "CPU", "code_revision": "abc"}}
    publisher.started(cut)
    seen = looked.count("running")
    while looked.count("running") < seen + 5:  # it says still that it has ended
        assert time.monotonic() < deadline
        time.sleep(0.05)
    append(root, "cut", start)
    final = {"val/top1": 93.0, "test/top1": 92.5}
    append(root, "cut", {"at": START + 60, "event": "end", "status": FINISHED, "metrics": final})
    publisher.ended(cut)
    publisher.ended(write_cell(root, tiny, "elsewhere", FINISHED, seed=2))  # another driver trained it
    assert publisher.finish("KILLED")
    shown = {r.data.tags.get("interplay.cell"): r for r in all_runs(view.uri)}
    assert (shown["cut"].info.status, shown["cut"].data.tags["interplay.status"]) == ("FINISHED", FINISHED)
    assert shown["elsewhere"].info.status == "FINISHED"
    assert shown["running"].info.status == "KILLED"


@pytest.fixture
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server with a store of its own."""
    home = tmp_path_factory.mktemp("server")
    shutil.copy(root / "mlflow.db", home / "mlflow.db")
    with served(home) as uri:
        yield uri


def test_a_server_that_is_away_holds_nothing_up(
    root: Path, tiny: Recipe, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = {seed: f"cell{seed}" for seed in (0, 1)}
    children = [write_cell(root, tiny, name, FINISHED, seed) for seed, name in cells.items()]
    recipe = tiny.model_dump(mode="json")
    rows = [StudyRow(BASELINE, {}, cells)]
    write_definition(root, StudyDefinition("demo", ABLATION, "Which?", recipe, "d.beton", "val/top1", rows))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    publisher = Publisher(view_of(root), first_s=0.0)
    publisher.start()
    for child in children:
        publisher.add(child)
    assert time.monotonic() - began < 1
    assert not publisher.finish("FINISHED", timeout_s=10)
    assert time.monotonic() - began < 60
    assert not list((root / "studies" / "demo").glob("mlflow-*.jsonl"))

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert tracking_uri(root) == server
    for _ in range(2):  # the second time changes nothing
        sent, view = sync_study(root, "demo")
        assert sent
        runs = all_runs(server)
        assert sorted(r.info.status for r in runs) == ["FINISHED"] * 3
        assert sum(r.data.tags.get("mlflow.parentRunId") == view.parent for r in runs) == 2
        found = points(server)
        assert {key: sum(count.values()) for key, count in found.items() if key.endswith("val/top1")} == {
            "cell0 val/top1": EPOCHS,
            "cell1 val/top1": EPOCHS,
        }
        names = {a.path for a in MlflowClient(server).list_artifacts(view.parent)}
        assert {"table.md", "table.json"} <= names
