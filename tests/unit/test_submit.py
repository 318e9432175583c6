"""What a submitted job is told, and what is read from jobs, however they were submitted."""

from __future__ import annotations

from pathlib import Path

import pytest

from interplay.cluster.jobs import StudyCommand, study_command
from interplay.cluster.submit import EXCLUDES, OWN_EXCLUDES, runtime_environment, submit_job
from interplay.errors import InterplayError

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("entrypoint", "before", "study"),
    [
        ("python -m interplay search a b --name s1", ("python", "-m", "interplay"), "s1"),
        ("interplay --storage /mnt/r ablate a b --name=a1 -s x=1", ("interplay", "--storage", "/mnt/r"), "a1"),
        ("/opt/venv/bin/interplay -v train r --name 'my run'", ("/opt/venv/bin/interplay", "-v"), "my run"),
        ("python -m interplay train r", ("python", "-m", "interplay"), ""),
    ],
)
def test_the_study_of_a_job(entrypoint: str, before: tuple[str, ...], study: str) -> None:
    assert study_command(entrypoint) == StudyCommand(before, study)


@pytest.mark.parametrize(
    "entrypoint", ["python train.py --name s1", "interplay status s1", "echo 'unfinished", "", "interplay check x"]
)
def test_other_jobs_are_no_studies(entrypoint: str) -> None:
    assert study_command(entrypoint) is None


def test_a_job_has_time_to_end(tmp_path: Path) -> None:
    environment = runtime_environment(tmp_path, Path("/mnt/runs"))
    assert int(environment["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) >= 60
    assert environment["env_vars"]["INTERPLAY_STORAGE"] == "/mnt/runs"
    assert environment["env_vars"]["PYTHONPATH"] == "."
    assert environment["excludes"] == EXCLUDES


def test_a_checkout_takes_its_package_along_and_little_else() -> None:
    environment = runtime_environment(ROOT, None)
    assert environment["env_vars"]["PYTHONPATH"] == "platform:."
    assert set(OWN_EXCLUDES) <= set(environment["excludes"])


def test_no_password_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://head:5000")
    assert runtime_environment(tmp_path, None)["env_vars"]["MLFLOW_TRACKING_URI"] == "http://head:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@head/mlflow")
    with pytest.raises(InterplayError, match="holds a password") as refused:
        runtime_environment(tmp_path, None)
    assert "secret" not in str(refused.value)
    command = ["search", "a", "b", "--optuna-storage", "postgresql://me:secret@db/optuna"]
    with pytest.raises(InterplayError, match="the command holds a password"):
        submit_job(command, address="http://127.0.0.1:9", storage=None)
