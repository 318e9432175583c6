"""Cells whose training cannot go on: own models that break at one step, as rows of an ablation."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from interplay.drill.victim import Victim
from interplay.study.ablation import BASELINE
from interplay.study.definition import read_definition
from interplay.tracking.journal import read
from interplay.tracking.store import DIVERGED, FINISHED, OUT_OF_MEMORY, CellStore

ENDS = {"nan": DIVERGED, "memory": OUT_OF_MEMORY}
"""How such a cell ends."""

_STEPS = 200  # fewer than a small cell has
_BREAK = {
    "nan": "return self.linear(images.flatten(1)) * float('nan')",
    "memory": "raise torch.OutOfMemoryError('as a device does that is full')",
}
_MODEL = '''"""A linear model that breaks at one step of its training."""

import torch


class Breaking(torch.nn.Module):
    def __init__(self, classes, image_size):
        super().__init__()
        self.linear = torch.nn.Linear(3 * image_size**2, classes)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(self, images):
        self.steps += self.training
        if self.training and self.steps == {step}:
            {what}
        return self.linear(images.flatten(1))


def breaking(classes, image_size):
    return Breaking(classes, image_size)
'''
_ROWS = '''"""Rows of cells that break."""

from pathlib import Path

from interplay.study.ablation import Ablation, Row


def sound():
    return Ablation("What does a sound cell give?", [])


def rows():
    models = sorted(Path(__file__).parent.glob("step_*.py"))
    return Ablation(
        "What becomes of cells that break?",
        [Row(file.stem, {"model": {"family": "own", "source": f"{file}:breaking"}}) for file in models],
    )
'''


def draw(rng: random.Random, count: int) -> list[int]:
    """Steps at which cells break, one for each."""
    return rng.sample(range(2, _STEPS), count)


def write_rows(folder: Path, fault: str, steps: list[int]) -> Path:
    """The file of an ablation with a row for each step (its function `rows`), or with none (`sound`)."""
    folder.mkdir(parents=True)
    for step in steps:
        (folder / f"step_{step}.py").write_text(_MODEL.format(step=step, what=_BREAK[fault]), encoding="utf-8")
    file = folder / "rows.py"
    file.write_text(_ROWS, encoding="utf-8")
    return file


def states(victim: Victim) -> dict[str, str]:
    """Cell -> how it ended, by its result or, where it has none, by its journal."""
    store, found = CellStore(victim.root), {}
    for row in read_definition(victim.root, victim.name).rows:
        for cell in row.cells.values():
            result, last = store.result(cell), read(store.journal(cell))[0][-1:]
            found[cell] = result.status if result is not None else str(last[0].get("status", "")) if last else ""
    return found


def expected(victim: Victim, fault: str) -> dict[str, str]:
    """Cell -> how it should end."""
    rows = read_definition(victim.root, victim.name).rows
    return {cell: FINISHED if row.label == BASELINE else ENDS[fault] for row in rows for cell in row.cells.values()}


def seen(victim: Victim) -> str:
    return ", ".join(f"{count} cells {state}" for state, count in sorted(Counter(states(victim).values()).items()))
