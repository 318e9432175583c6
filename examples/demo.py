"""The main job on real input: a search, an ablation of its winner, and the winner on two Ray Train workers.

The same with the command line:

    interplay search digits.deit_small_patch4 digits.demo --name demo-search --trials 16
    interplay ablate best:demo-search digits.leave_one_out_demo --name demo-ablation --seeds 3
    interplay --storage runs/two-workers train runs/cells/CELL/recipe.yaml --executor train --workers 2

Running it again trains nothing that is finished.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from interplay.cluster.session import session
from interplay.console import ConsoleProgress, print_study
from interplay.recipe import find_function, find_recipe
from interplay.report.study import study_table
from interplay.studies import Repeats, Wanted, best_recipe, run_ablation, run_search, run_training
from interplay.study.driving.execution import Execution
from interplay.tracking.store import CellStore


def main(root: Path) -> int:
    started = time.monotonic()
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{root / 'mlflow.db'}")  # one for both stores
    recipe = find_recipe("digits.deit_small_patch4")
    with session():
        say("1. A search of 16 trials: drop path, LayerScale, heads, augmentation policy (inline executor)")
        space = find_function("digits.demo", "search_spaces")
        with ConsoleProgress(root) as progress:
            search = run_search(
                recipe,
                space,
                Wanted(trials=16, space_name="digits.demo"),
                name="demo-search",
                root=root,
                progress=progress,
            )
        if not search.complete:
            return 1
        winner = best_recipe(root, "demo-search")

        say("2. A leave-one-out ablation of the winner, 3 seeds (inline executor)")
        ablation = find_function("digits.leave_one_out_demo", "search_spaces.ablations")()
        with ConsoleProgress(root) as progress:
            table = run_ablation(
                winner, ablation, Repeats(range(3)), name="demo-ablation", root=root, progress=progress
            )

        # drop path is drawn by each worker for its own images, so the result is close, not identical
        say("3. The winner once more, on two Ray Train workers: the same global batches, another executor")
        again = root / "two-workers"  # a store of its own: in the first one the cell is finished
        dataset = root / "datasets" / "digits.beton"
        twice = winner.with_({"data.dataset": str(dataset)})
        with ConsoleProgress(again) as progress:
            pair = run_training(
                twice, root=again, name="winner", execution=Execution("train", workers=2), progress=progress
            )
        compare(root, again)
    for outcome in (search, table):
        print_study(root, outcome)
    print(f"\n{time.monotonic() - started:.0f} s")
    return 0 if pair.complete and table.complete else 1


def compare(root: Path, again: Path) -> None:
    """The winner's accuracy by each executor."""
    cell = study_table(root, "demo-search").cells[0]
    for store in (CellStore(root), CellStore(again)):
        result = store.result(cell)
        if result is not None:
            values = "  ".join(f"{name} {result.metrics[name]:.2f}" for name in ("val/top1", "test/top1"))
            print(f"   {result.evidence['executor']} executor, {result.evidence['workers']} worker(s): {values}")


def say(text: str) -> None:
    print(f"\n{text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(Path("runs/demo").resolve()))
