"""The main job on real input: a search, its winner on two Ray Train workers, and an ablation of the winner.

The same with the command line:

    interplay search digits.deit_small_patch4 digits.demo --name demo-search --trials 16
    interplay ablate best:demo-search digits.leave_one_out_demo --name demo-ablation --seeds 3
    interplay --storage runs/demo/two-workers train best:demo-search --executor train --workers 2

Running it again trains nothing that is finished.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from interplay.cluster.session import session
from interplay.console import ConsoleProgress, print_study
from interplay.recipe import find_function, find_recipe
from interplay.report.study import best_cell
from interplay.studies import StudyOutcome, best_recipe, run_ablation, run_search, run_training
from interplay.study.execution import Execution
from interplay.tracking.store import CellStore


def main(root: Path) -> int:
    started = time.monotonic()
    recipe = find_recipe("digits.deit_small_patch4")
    outcomes: list[StudyOutcome] = []
    with session():
        say(
            "1. A search of 16 trials over drop path, LayerScale, heads and the augmentation policy (inline executor)"
        )
        space = find_function("digits.demo", "search_spaces")
        with ConsoleProgress(root) as progress:
            outcomes.append(
                run_search(
                    recipe,
                    space,
                    name="demo-search",
                    root=root,
                    trials=16,
                    space_name="digits.demo",
                    progress=progress,
                )
            )
        if not outcomes[-1].complete:
            return 1
        winner = best_recipe(root, "demo-search")

        say("2. The winner once more, on two Ray Train workers: the same global batches, another executor")
        again = root / "two-workers"  # a store of its own: in the first one the cell is finished
        dataset = root / "datasets" / "digits.beton"
        twice = winner.with_({"data.dataset": str(dataset)})
        with ConsoleProgress(again) as progress:
            pair = run_training(
                twice, root=again, name="winner", execution=Execution("train", workers=2), progress=progress
            )
        compare(root, again, pair)

        say("3. A leave-one-out ablation of the winner, 3 seeds (inline executor)")
        ablation = find_function("digits.leave_one_out_demo", "search_spaces.ablations")()
        with ConsoleProgress(root) as progress:
            outcomes.append(
                run_ablation(winner, ablation, name="demo-ablation", root=root, seeds=range(3), progress=progress)
            )
    for outcome in outcomes:
        print_study(root, outcome)
    print(f"\n{time.monotonic() - started:.0f} s")
    return 0 if all(o.complete for o in [*outcomes, pair]) else 1


def compare(root: Path, again: Path, pair: StudyOutcome) -> None:
    """The winner's accuracy by each executor."""
    for store, cell in ((CellStore(root), best_fingerprint(root)), (CellStore(again), next(iter(pair.runs), ""))):
        result = store.result(cell)
        if result is not None:
            values = "  ".join(f"{name} {result.metrics[name]:.2f}" for name in ("val/top1", "test/top1"))
            print(f"   {result.evidence['executor']} executor, {result.evidence['workers']} worker(s): {values}")


def best_fingerprint(root: Path) -> str:
    from interplay.report.study import study_table

    assert best_cell(root, "demo-search")
    return study_table(root, "demo-search").cells[0]


def say(text: str) -> None:
    print(f"\n{text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(Path("runs/demo").resolve()))
