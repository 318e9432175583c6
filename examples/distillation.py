"""Distillation on real input (thesis S3.3): a convnet teaches a small transformer to read handwritten digits.

    python examples/distillation.py

Trains the convnet, then the transformer without a teacher and with soft, hard and token distillation, three seeds
each, and prints the table. Running it again trains nothing that is finished.
"""

from __future__ import annotations

import sys
from pathlib import Path

from torch import nn

from interplay.cluster.session import session
from interplay.console import ConsoleProgress, print_study
from interplay.recipe import OwnModel, Recipe, find_recipe
from interplay.studies import Repeats, run_ablation, run_training
from interplay.study.ablation import Ablation, Row
from interplay.study.cells import cell_of
from interplay.tracking.store import CellStore

TOKEN = {"model.pool": "class_token", "model.second_token": "distillation"}


def convnet(classes: int, image_size: int) -> nn.Module:
    """[B, 3, R, R] -> [B, classes]: four 3x3 convolutions, the third with stride 2."""

    def layer(into: int, out: int, stride: int = 1) -> list[nn.Module]:
        return [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.GELU()]

    body = [*layer(3, 32), *layer(32, 64), *layer(64, 96, 2), *layer(96, 96)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, classes))


def teacher_recipe() -> Recipe:
    """The convnet, trained like the student."""
    changes = {"name": "digits.convnet", "model": OwnModel(source=f"{Path(__file__).resolve()}:convnet")}
    return find_recipe("digits.deit_small_patch4").with_({**changes, "optimiser.lr": 3e-3})


def distillation(teacher: Path) -> Ablation:
    """The student with a class token, alone and taught in three ways; each teaches with its own default weight."""

    def taught(kind: str) -> dict[str, object]:
        return {"distillation": {"kind": kind, "teacher": str(teacher)}}

    return Ablation(
        "Does a convnet teach a small transformer, and how?",
        [
            Row("soft distillation", taught("soft")),
            Row("hard distillation", taught("hard")),
            Row("hard, distillation token", {**taught("hard"), **TOKEN}),
        ],
    )


def main(root: Path) -> int:
    student = find_recipe("digits.deit_small_patch4").with_({"model.pool": "class_token", "model.depth": 1})
    with session(), ConsoleProgress(root) as progress:
        taught_by = teacher_recipe()
        teacher = run_training(taught_by, root=root, name="teacher", progress=progress)
        checkpoint = CellStore(root).checkpoint(cell_of(taught_by, root).fingerprint)
        rows = distillation(checkpoint)
        table = run_ablation(student, rows, Repeats(range(3)), name="distillation", root=root, progress=progress)
    for outcome in (teacher, table):
        print_study(root, outcome)
    return 0 if table.complete else 1


if __name__ == "__main__":
    sys.exit(main(Path("runs/distillation").resolve()))
