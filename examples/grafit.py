"""Finer than the labels on real input (thesis chapter 2): digits are learnt in pairs and told apart all the same.

    python examples/grafit.py

Handwritten digits get a second level of labels: 0 and 1 are one class, 2 and 3 another and so on. A small convnet
learns these five pairs by cross-entropy, and by Grafit and its relatives; then the nearest training images are asked
which of the ten digits a test image is (kNN), and are ranked by likeness (mAP). Running it again trains nothing that
is finished.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from interplay.cluster.session import session
from interplay.console import ConsoleProgress
from interplay.data.sources import digits
from interplay.data.write import write_beton
from interplay.galleries import open_gallery, write_clusters
from interplay.recipe import (
    ByHead,
    LearntEmbedding,
    Likeness,
    LinearProjector,
    MlpProjector,
    NoInstance,
    NoProjector,
    OwnModel,
    Recipe,
    find_recipe,
)
from interplay.report.draw import ablation_table, to_text
from interplay.report.rows import ablation_rows
from interplay.studies import Repeats, run_ablation, run_training
from interplay.study.ablation import Ablation, Row
from interplay.study.cells import cell_of
from interplay.study.definition import read_definition
from interplay.tracking.store import CellStore

SEEDS = range(5)
CLUSTERS = 50
METRICS = {
    "kNN top-1, ten digits": "test/knn_top1",
    "mAP, ten digits": "test/map",
    "kNN top-1, five pairs": "test/knn_trained",
}


class ConvNet(nn.Module):
    """[B, 3, R, R] -> [B, classes]: three 3x3 convolutions, the second and third with stride 2."""

    def __init__(self, classes: int, width: int = 24) -> None:
        super().__init__()

        def layer(into: int, out: int, stride: int) -> list[nn.Module]:
            return [nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]

        self.body = nn.Sequential(*layer(3, width, 1), *layer(width, 2 * width, 2), *layer(2 * width, 4 * width, 2))
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.body(x)
        return maps

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        pooled = x.mean(dim=(2, 3))
        return pooled if pre_logits else self.head(pooled)

    def get_classifier(self) -> nn.Module:
        return self.head


def convnet(classes: int, image_size: int) -> nn.Module:
    """For `model.source`."""
    return ConvNet(classes)


def write_pairs(root: Path) -> str:
    """The digits with two levels of labels, written once; the name of the data set."""
    path = root / "datasets" / "digit_pairs.beton"
    if not path.is_file():
        source = digits()
        labels = np.concatenate([source.labels, source.labels // 2], axis=1)
        pairs = [f"{n} or {n + 1}" for n in range(0, 10, 2)]
        write_beton(
            replace(source, name="digits in pairs", labels=labels, classes=[source.classes[0], pairs]),
            path,
            val=0.2,
            test=0.2,
        )
    return path.stem


def baseline(dataset: str) -> Recipe:
    """Cross-entropy on the five pairs."""
    return find_recipe("digits.deit_small_patch4").with_(
        {
            "name": "grafit_digits.ce",
            "model": OwnModel(source=f"{Path(__file__).resolve()}:convnet"),
            "data.dataset": dataset,
            "data.level": 1,
            "augment.crop.scale": [0.6, 1.0],
            "augment.repeats": 1,
            "augment.mixup": 0.0,
            "augment.cutmix": 0.0,
            "loss.smoothing": 0.0,
            "optimiser.lr": 5e-3,
            "schedule.epochs": 12,
            "evaluation.every": 12,
            "evaluation.retrieval": "nearest",
        }
    )


def rows(clusters: Path) -> Ablation:
    """Grafit and its relatives (thesis T2.4, T2.7)."""
    several, like = {"augment.views": 3}, Likeness(hidden=128, target_decay=0.95)
    mlp = MlpProjector(width=64, hidden=128, norm="batch")
    plain = LearntEmbedding(projector=mlp, instance=NoInstance())
    grafit = LearntEmbedding(projector=mlp, instance=like)
    linear = LearntEmbedding(projector=LinearProjector(width=64), instance=like)
    unprojected = LearntEmbedding(projector=NoProjector(), labels=ByHead(), instance=like)
    return Ablation(
        "Are digits told apart that are learnt as one class?",
        [
            Row("ClusterFit+", {"data.clusters": {"kind": "file", "file": str(clusters)}}),
            Row("SNCA+", {"embedding": plain}),
            Row("CE + instance", {**several, "embedding": unprojected}),
            Row("Grafit FC", {**several, "embedding": linear}),
            Row("Grafit", {**several, "embedding": grafit}),
        ],
    )


def main(root: Path) -> int:
    first, clusters = baseline(write_pairs(root)), root / "clusters.npy"
    with session(), ConsoleProgress(root) as progress:
        run_training(first, root=root, name="clustered", progress=progress)
        if not clusters.is_file():
            cell = CellStore(root).directory(cell_of(first, root).fingerprint)
            write_clusters(open_gallery(cell, first.data.dataset, root), CLUSTERS, clusters)
        outcome = run_ablation(
            first, rows(clusters), Repeats(SEEDS, margin=1.0), name="finer", root=root, progress=progress
        )
    definition, store = read_definition(root, "finer"), CellStore(root)
    results = {cell: store.result(cell) for row in definition.rows for cell in row.cells.values()}
    for title, metric in METRICS.items():
        headers, table = ablation_table(ablation_rows(definition, results, metric))
        print(f"\n{to_text(([title if head == 'test top-1' else head for head in headers], table))}")
    return 0 if outcome.complete else 1


if __name__ == "__main__":
    sys.exit(main(Path("runs/grafit").resolve()))
