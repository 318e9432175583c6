"""PostgreSQL behind MLflow and Optuna: eight cells log at the same time, and nothing is lost."""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from interplay.recipe import Recipe, to_yaml
from interplay.study.search.objectives import parse_objectives
from interplay.study.search.records import CELL, Records, open_study
from interplay.tracking.mlflow import Child, StudyRun
from interplay.tracking.publisher import Publisher
from interplay.tracking.store import CellStore
from tests.cluster.postgres import PASSWORD, create, programs, running_postgres
from tests.studies import evidence

CELLS, STEPS = 8, 200
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(programs() is None, reason="needs Debian's package postgresql"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's and its libraries' own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # SQLAlchemy leaves connections to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TRIAL = """
import json, sys, time
from pathlib import Path
from interplay.tracking.journal import Journal

journal, steps, took = Journal(Path(sys.argv[1])), int(sys.argv[2]), []
journal.append("start", epoch=0, evidence=json.loads(sys.argv[3]))
for step in range(1, steps + 1):
    metrics = {"epoch": float(step), "train/loss": 1 / step, "val/top1": step / 4, "train/lr": 1e-3}
    began = time.perf_counter()
    journal.append("epoch", epoch=step, metrics=metrics)
    took.append(time.perf_counter() - began)
    time.sleep(0.01)
journal.append("end", status="finished", metrics=metrics)
print(json.dumps(took))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with running_postgres() as address:
        yield address
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()  # connections of stores that nothing holds any more


def test_mlflow_on_postgresql_loses_nothing(
    server: str, tmp_path: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("PGPASSWORD", PASSWORD)  # of libpq: no address holds it
    uri = create(server, "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")  # MLflow keeps its stores to the end
    MlflowClient(uri).create_experiment("interplay", artifact_location=(tmp_path / "artifacts").as_uri())
    store = CellStore(tmp_path)
    view = StudyRun(tmp_path, "s1", description="?", kind="search")
    pushes: list[float] = []
    push = view.push

    def timed(child: Child) -> bool:
        began = time.perf_counter()
        sent = push(child)
        if sent:
            pushes.append(time.perf_counter() - began)
        return sent

    monkeypatch.setattr(view, "push", timed)
    publisher = Publisher(view, every_s=0.5, first_s=0.0)
    publisher.start()
    trials = []
    for i in range(CELLS):
        cell = f"{i:016x}"
        store.directory(cell).mkdir(parents=True)
        (store.directory(cell) / "recipe.yaml").write_text(to_yaml(tiny))
        publisher.add(Child(cell, f"trial {i}", {"optimiser.lr": 1e-3 * (i + 1)}))
        command = [sys.executable, "-c", TRIAL, str(store.journal(cell)), str(STEPS), json.dumps(evidence(i))]
        trials.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(ROOT / "platform")})
        )
    calls = sorted(took for trial in trials for took in json.loads(trial.communicate(timeout=200)[0]))
    assert [trial.returncode for trial in trials] == [0] * CELLS
    assert publisher.finish("FINISHED", timeout_s=120)

    client = MlflowClient(uri)
    runs = {child: view.runs()[child] for child in view.runs()}
    assert len(runs) == CELLS
    for run in runs.values():
        assert client.get_run(run).info.status == "FINISHED"
        for metric in ("train/loss", "val/top1", "train/lr"):
            points = client.get_metric_history(run, metric)
            assert sorted(point.step for point in points) == list(range(1, STEPS + 1))
    p95 = 1e3 * statistics.quantiles(calls, n=20)[-1]
    print(f"\na cell's logging call: p95 {p95:.2f} ms of {len(calls)}; a push to MLflow: {_spread(pushes)}")
    assert p95 < 250.0, "a cell must not wait for a data base"


def _spread(seconds: list[float]) -> str:
    middle, p95 = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    return f"median {1e3 * middle:.0f} ms, p95 {1e3 * p95:.0f} ms of {len(seconds)}"


def test_optuna_on_postgresql(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.distributions import FloatDistribution
    from optuna.trial import TrialState, create_trial

    monkeypatch.setenv("INTERPLAY_OPTUNA_PASSWORD", PASSWORD)
    url = create(server, "optuna")
    directory = tmp_path / "studies" / "s1"
    records = Records(directory, parse_objectives([]), url)
    for i in range(CELLS):
        like = create_trial(
            state=TrialState.RUNNING,
            params={"model.drop_path": i / 10},
            distributions={"model.drop_path": FloatDistribution(0.0, 1.0)},
        )
        added = records.add(like, {CELL: f"{i:016x}"}, {})
        records.end(added.number, TrialState.COMPLETE, [float(i)])
    again = open_study(directory).get_trials()  # the address is in the study's folder, the password is not
    assert [trial.user_attrs[CELL] for trial in again] == [f"{i:016x}" for i in range(CELLS)]
    assert [trial.value for trial in again] == list(map(float, range(CELLS)))
    stored = "".join(path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file())
    assert PASSWORD not in stored
