"""What a person sees while a study runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from interplay.console import ConsoleProgress
from interplay.data.manifest import Manifest, write_manifest
from interplay.recipe import Recipe
from interplay.tracking.store import FINISHED, Cell, CellResult


def test_a_line_for_each_cell_wherever_it_was_trained(
    tmp_path: Path, tiny: Recipe, capsys: pytest.CaptureFixture[str]
) -> None:
    beton = tmp_path / "none.beton"
    write_manifest(beton, Manifest("none", [["a"]], {"train": 1}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))
    here, elsewhere, broken = (Cell(tiny.with_seed(seed), beton) for seed in range(3))
    found = CellResult("00ff", FINISHED, {"val/top1": 80.0, "test/top1": 79.5}, {})
    with ConsoleProgress(tmp_path) as progress:
        progress.begin(4, 1)
        progress.started(here, "baseline · seed 0")
        progress.ended(here, "baseline · seed 0", found, "")
        progress.ended(elsewhere, "no drop path · seed 0", found, "")
        progress.ended(broken, "no augmentation · seed 0", None, "the loss is [NaN]")
    assert capsys.readouterr().err.splitlines() == [
        "4 cells, 1 finished before and kept",
        "[2/4] baseline · seed 0: val/top1 80.00  test/top1 79.50",
        "[3/4] no drop path · seed 0: val/top1 80.00  test/top1 79.50",
        "[4/4] no augmentation · seed 0: failed (the loss is [NaN])",
    ]
