"""What a study costs over its bare trainings, and how long a trial takes to its first optimiser step.

    python tests/bench/search_overhead.py [--trials 16] [--train-trials 3] [--epochs 18]

Each executor trains the same cells; then the same trainings run as plain loops in one process. All in turn in
one run, because machines differ and drift: read the ratios. What a study costs over its bare trainings is the ratio
of one cell at a time; --epochs 90 makes cells of about 30 s, --train-trials 0 leaves Ray Train out.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from interplay.augment import policy_in_loader
from interplay.cluster.revision import code_revision
from interplay.cluster.session import session
from interplay.data import locate
from interplay.data.loader import beton_loaders
from interplay.recipe import find_function, find_recipe
from interplay.study.driving.dispatch import Dispatch
from interplay.study.driving.execution import Execution
from interplay.study.driving.tuning import run_cells
from interplay.study.search.proposals import ListedCells
from interplay.study.search.spaces import changes_of, random_draws
from interplay.tracking.store import Cell, CellStore
from interplay.training import fit


def study(cells: list[Cell], root: Path, execution: Execution) -> tuple[float, list[float], dict[str, float]]:
    """Wall seconds, seconds from the start of each trial to its first step, and test top-1 by cell."""
    store = CellStore(root)
    begun: dict[str, float] = {}
    started = time.perf_counter()
    dispatch = Dispatch(
        ListedCells(cells), store, on_start=lambda cell: begun.update({cell.fingerprint: time.time()})
    )
    with dispatch:
        run_cells(dispatch, execution, root / "tune")
    wall = time.perf_counter() - started
    results = {cell.fingerprint: store.result(cell.fingerprint) for cell in cells}
    assert all(results.values()), "a cell failed"
    first = [r.evidence["first_step_at"] - begun[f] for f, r in results.items() if r is not None]
    return wall, first, {f: r.metrics["test/top1"] for f, r in results.items() if r is not None}


def plain_loops(cells: list[Cell]) -> tuple[float, dict[str, float]]:
    """Wall seconds and test top-1 of the same trainings, one after the other, here."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    found = {}
    for cell in cells:
        policy = policy_in_loader(cell.recipe.augment, cell.recipe.seeds.augment)  # as a trial on a CPU has it
        outcome = fit(cell.recipe, beton_loaders(cell.dataset, cell.recipe, policy=policy))
        found[cell.fingerprint] = outcome.metrics["test/top1"]
    return time.perf_counter() - started, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--train-trials", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each cell; the recipe's if not given")
    options = parser.parse_args()
    repository = Path(__file__).parents[2]
    os.environ["PYTHONPATH"] = f"{repository / 'platform'}{os.pathsep}{repository}"
    base, space = find_recipe("digits.deit_small_patch4"), find_function("digits.demo", "search_spaces")
    base = base.with_({"schedule.epochs": options.epochs}) if options.epochs else base
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = locate("digits", root / "datasets")
        cells = [Cell(base.with_(changes_of(space, p)), dataset) for p in random_draws(space, options.trials)]
        few = cells[: options.train_trials]
        with session():
            study(cells[:2], root / "warm", Execution("inline"))  # file caches, as on a cluster in use
            inline_wall, inline_first, inline_top1 = study(cells, root / "inline", Execution("inline"))
            one_wall, _, one_top1 = study(cells, root / "one", Execution("inline", concurrency=1))
            train_wall, train_first, train_top1 = study(few, root / "train", Execution("train", concurrency=1))
        bare_wall, bare_top1 = plain_loops(cells)
        few_wall, _ = plain_loops(few)
    assert inline_top1 == one_top1 == bare_top1, "the executors do not train the same thing"
    assert {f: bare_top1[f] for f in train_top1} == train_top1

    warm = sorted(inline_first)[: len(inline_first) - 2]  # all but the first trial of each of the two actors
    print(f"\n{options.trials} cells of {base.name}; {os.cpu_count()} CPUs, {platform.processor() or 'CPU'}")
    print(f"torch {torch.__version__}, code {code_revision()}, every cell's test top-1 equal in all executors\n")
    print(f"{'':44}{'wall s':>8}{'ratio to plain loops':>22}")
    print(f"{'plain loops, one process':44}{bare_wall:8.1f}{1.0:22.2f}")
    print(f"{'inline, two at a time':44}{inline_wall:8.1f}{inline_wall / bare_wall:22.2f}")
    print(f"{'inline, one at a time':44}{one_wall:8.1f}{one_wall / bare_wall:22.2f}")
    if few:
        label = f"train, one at a time ({len(few)} cells)"
        print(f"{label:44}{train_wall:8.1f}{train_wall / few_wall:22.2f}")
    print("\nseconds from the start of a trial to its first optimiser step: median (min to max)")
    for name, values in (
        ("inline, reused actor", warm),
        ("inline, first trial of an actor", sorted(inline_first)[-2:]),
        *([("train", train_first)] if few else []),
    ):
        print(
            f"  {name:34}{statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f}), n={len(values)}"
        )


if __name__ == "__main__":
    main()
