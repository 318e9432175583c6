"""What a proposal costs as a search grows: seconds a cell for the sampler and the records, no training.

    python tests/bench/search_proposals.py [--sampler random --sampler tpe] [--cells 1000]

Cells get a result at once. The machine's noise is in it: compare within one run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interplay.data.manifest import Manifest, write_manifest
from interplay.recipe import find_recipe
from interplay.study.search.proposals import OptunaProposals, Search
from interplay.tracking.store import FINISHED, CellResult, CellStore, write_result
from search_spaces import joint

WINDOW = 50


def seconds(sampler: str, cells: int, root: Path) -> list[tuple[float, float]]:
    """Of each cell: proposing, and telling the result."""
    base = find_recipe("digits.deit_small_patch4")
    dataset = root / "none.beton"
    write_manifest(dataset, Manifest("none", [["a", "b"]], {"train": 64}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))

    def space(trial: Any) -> Mapping[str, Any]:
        return joint.default(trial, base)

    store = CellStore(root)
    proposals = OptunaProposals(root / "studies" / "s", space, base, dataset, store, Search(cells, sampler))
    found = []
    while True:
        started = time.perf_counter()
        cell = proposals.next()
        proposed = time.perf_counter()
        if cell is None:
            return found
        value = 90.0 - 100.0 * abs(cell.recipe.model.drop_path - 0.1)
        write_result(store.prepare(cell), CellResult(cell.fingerprint, FINISHED, {"val/top1": value}, {}))
        written = time.perf_counter()
        proposals.settle(cell.fingerprint)
        found.append((proposed - started, time.perf_counter() - written))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sampler", action="append")
    parser.add_argument("--cells", type=int, default=1000)
    arguments = parser.parse_args()
    for sampler in arguments.sampler or ["random", "tpe"]:
        with tempfile.TemporaryDirectory() as root:
            found = seconds(sampler, arguments.cells, Path(root))
        for end in (100, arguments.cells):
            window = found[end - WINDOW : end]
            propose, tell = (1e3 * statistics.median(column) for column in zip(*window, strict=True))
            print(f"{sampler:8s} cell {end:5d}: propose {propose:7.2f} ms, tell {tell:6.2f} ms (median of {WINDOW})")


if __name__ == "__main__":
    main()
