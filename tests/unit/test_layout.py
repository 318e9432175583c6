"""The house's rules: which room may import what, and that `platform` stays the standard library's."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "platform" / "interplay"
FILES = sorted(PACKAGE.rglob("*.py"))

ONLY_IMPORTERS = {
    "ffcv": ["data/ffcv_engine.py"],
    "mlflow": ["tracking/mlflow.py", "tracking/mlflow_model.py"],
    "optuna": [
        f"study/search/{name}.py"
        for name in ("importance", "points", "population", "proposals", "records", "samplers", "sampling", "spaces")
    ],
    "ray.tune": [
        "cluster/ray_train.py",
        "cluster/trainables.py",
        "study/driving/schedulers.py",
        "study/driving/tuning.py",
    ],
    "ray.train": ["cluster/ray_train.py"],
}

# A room may import itself and what stands before it; `interplay.errors` and `counter_rng` are the ground.
ORDER = [
    "recipe",
    "models",
    "data",
    "augment",
    "retrieval",
    "training",
    "explain",
    "tracking",
    "cluster",
    "study",
    "report",
]
CORE = ["recipe", "models", "augment", "retrieval", "training"]


@cache
def imports(file: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize(("library", "allowed"), ONLY_IMPORTERS.items())
def test_one_importer(library: str, allowed: list[str]) -> None:
    importers = [
        str(f.relative_to(PACKAGE))
        for f in FILES
        if any(name == library or name.startswith(f"{library}.") for name in imports(f))
    ]
    assert sorted(importers) == sorted(allowed)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_arrows_point_down(file: Path) -> None:
    if room(file) not in ORDER:
        return  # the modules on top: command line, studies, console
    later = ORDER[ORDER.index(room(file)) + 1 :]
    own = {name.split(".")[1] for name in imports(file) if name.startswith("interplay.")}
    assert not own & {*later, "cli", "studies", "console", "checks", "evaluation"}


@pytest.mark.parametrize("file", [f for f in FILES if room(f) in CORE], ids=lambda f: str(f.relative_to(PACKAGE)))
def test_core_needs_no_platform(file: Path) -> None:
    top = {name.split(".")[0] for name in imports(file)}
    assert not top & {"ray", "mlflow", "optuna", "ffcv", "numba", "scipy", "sklearn", "click", "rich"}


def test_no_standard_library_names_inside() -> None:
    assert not {f.stem for f in FILES} & (sys.stdlib_module_names - {"__init__", "__main__"})


def test_platform_is_the_standard_library() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert platform.python_version()
    code = "import platform, uuid; print(platform.__file__, platform.python_version())"
    for path in ("platform:.", str(ROOT)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert str(ROOT) not in done.stdout.split()[0]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_files_stay_small(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= 400


def test_constraints_name_no_host() -> None:
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text
    assert "@" not in text
