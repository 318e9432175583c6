"""What the driver itself costs for each cell, and whether that grows: cells whose training returns at once.

    python tests/bench/driver_cost.py [--cells 1000] [--search]

Everything else is real: Ray Tune, leases, ledger, journals and MLflow; with --search also Optuna's proposals. A short
study runs before and after the long one, because machines drift: read the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from interplay.cluster import trainables
from interplay.cluster.revision import code_revision
from interplay.cluster.session import session
from interplay.data import locate
from interplay.recipe import Recipe, find_recipe
from interplay.studies import Progress, Repeats, Wanted, run_ablation, run_search
from interplay.study.ablation import Ablation
from interplay.study.driving.execution import Execution
from interplay.tracking.store import Cell, CellResult


def at_once(config: dict[str, str]) -> dict[str, str]:
    """In place of a training: what a cell of two epochs leaves behind."""
    from pathlib import Path

    from interplay.cluster.job import job_of
    from interplay.tracking.journal import Journal
    from interplay.tracking.store import FINISHED, CellResult, write_result

    job = job_of(config)
    directory = Path(job.directory)
    journal = Journal(directory / "journal.jsonl")
    evidence = {"device": "none", "code_revision": job.code_revision}
    metrics = {"val/top1": 50.0 + int(config["fingerprint"][:6], 16) % 4000 / 100, "train/loss": 1.0}
    journal.append("start", epoch=0, evidence=evidence)
    for epoch in (1, 2):
        journal.append("epoch", epoch=epoch, metrics={"epoch": epoch, **metrics})
    final = metrics | {"test/top1": metrics["val/top1"]}
    journal.append("end", status=FINISHED, metrics=final)
    write_result(directory, CellResult(config["fingerprint"], FINISHED, final, evidence))
    return {"message": "", "stopped": ""}


class Clock(Progress):
    """When each cell ended, and the driver's memory then."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.memory_mb: list[float] = []

    def ended(self, cell: Cell, name: str, result: CellResult | None, message: str) -> None:
        assert result is not None, message
        self.at.append(time.perf_counter())
        self.memory_mb.append(psutil.Process().memory_info().rss / 2**20)

    def per_cell(self, begin: int, end: int) -> float:
        """Seconds."""
        return (self.at[end - 1] - self.at[begin]) / (end - 1 - begin)


def space(trial: Any) -> dict[str, Any]:
    return {
        "optimiser.lr": trial.suggest_float("optimiser.lr", 1e-4, 1e-2, log=True),
        "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.3),
    }


def run(name: str, cells: int, recipe: Recipe, root: Path, sampler: str) -> tuple[float, Clock]:
    """Wall seconds of the whole study, and when its cells ended."""
    clock, began = Clock(), time.perf_counter()
    common: dict[str, Any] = {"name": name, "root": root, "execution": Execution("inline"), "progress": clock}
    if sampler:
        outcome = run_search(recipe, space, Wanted(trials=cells, sampler=sampler, seed=cells), **common)
    else:
        first = 10_000 * len(list((root / "studies").glob("*")))  # no two studies share cells
        outcome = run_ablation(recipe, Ablation("?", []), Repeats(range(first, first + cells)), **common)
    assert outcome.complete
    assert outcome.mlflow_sent
    return time.perf_counter() - began, clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--search", metavar="SAMPLER", default="", help="random or tpe; an ablation without it")
    options = parser.parse_args()
    repository = Path(__file__).parents[2]
    os.environ["PYTHONPATH"] = f"{repository / 'platform'}{os.pathsep}{repository}"
    trainables.inline = at_once  # type: ignore[assignment]
    few = options.cells // 10
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, session():
        root = Path(folder)
        locate("digits", root / "datasets")
        recipe = find_recipe("digits.deit_small_patch4")
        run("warm", 20, recipe, root, options.search)
        runs = [
            (f"{n} cells", n, *run(f"s{i}", n, recipe, root, options.search))
            for i, n in enumerate((few, options.cells, few))
        ]
    print(f"\ncode {code_revision()}, {os.cpu_count()} CPUs, {options.search or 'ablation'}")
    for name, n, wall, clock in runs:
        blocks = [f"{clock.per_cell(at, at + few):.3f}" for at in range(0, n - few + 1, few)]
        ends = f"in blocks of {few}: {' '.join(blocks)}"
        memory = f"{clock.memory_mb[0]:.0f} to {clock.memory_mb[-1]:.0f} MB"
        print(f"{name:12} {wall:7.1f} s, {wall / n:.4f} s a cell; between cells {ends}; driver {memory}")
    long, short = runs[1], [runs[0], runs[2]]
    inner = long[3].per_cell(0, long[1]) / statistics.fmean(r[3].per_cell(0, r[1]) for r in short)
    whole = long[2] / long[1] / statistics.fmean(r[2] / r[1] for r in short)
    print(f"seconds a cell, {long[1]} against {few}: ratio {whole:.2f}; between two cells {inner:.2f}")


if __name__ == "__main__":
    main()
