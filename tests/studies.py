"""Studies as they are stored, with made-up numbers: written through the real stores, without training."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from interplay.data.manifest import Manifest, write_manifest
from interplay.recipe import (
    AdamW,
    Augment,
    Cosine,
    Data,
    Evaluation,
    LayerScale,
    RandomResizedCrop,
    Recipe,
    ThreeAugment,
    ViT,
    to_yaml,
)
from interplay.study.ablation import BASELINE
from interplay.study.definition import ABLATION, SEARCH, StudyDefinition, StudyRow, study_directory, write_definition
from interplay.study.driving.budget import Budget
from interplay.study.driving.ledger import Ledger
from interplay.study.search.objectives import parse_objectives
from interplay.study.search.records import CELL, CHANGES, Records
from interplay.tracking.journal import Journal
from interplay.tracking.store import FINISHED, CellResult, CellStore, write_result

BEGAN = 1_790_000_000.0
VERSIONS = {"python": "3.11.7", "interplay": "0.1.0", "torch": "2.15.0", "timm": "1.0.31"}


def small_recipe(epochs: int = 20) -> Recipe:
    """Two blocks of width 16, with a policy and drop path to take away."""
    return Recipe(
        name="tiny",
        model=ViT(patch_size=4, width=16, depth=2, heads=2, scale=LayerScale(init=0.1), init_std=0.1, drop_path=0.1),
        data=Data(dataset="digits", resolution=16, batch_size=32),
        augment=Augment(crop=RandomResizedCrop(scale=(0.7, 1.0)), flip=0.0, policy=ThreeAugment()),
        optimiser=AdamW(lr=3e-3),
        schedule=Cosine(epochs=epochs, warmup_epochs=1, per="step"),
        evaluation=Evaluation(crop_ratio=1.0),
    )


SCRIPT = 'diverges "quoted" <script>alert(1)</script>'

TABLE = [
    StudyRow(BASELINE, {}, {}, {"top1": 81.8}),
    StudyRow("no LayerScale", {"model.scale": "none"}, {}, {"top1": 81.2}, {"top1": 0.1}),
    StudyRow("no drop path", {"model.drop_path": 0.0}, {}, {"top1": 79.6}),
    StudyRow("four blocks", {"model.depth": 4}, {}),
    StudyRow("no policy", {"augment.policy": "none"}, {}),
    StudyRow(SCRIPT, {"optimiser.lr": 1.0}, {}),
    StudyRow("on V2", {}, {}, {"top1": 70.1}, not_run="it needs ImageNet V2"),
]
"""An ablation with a row for every verdict; the one with the script diverges."""

MEANS = {BASELINE: 95.0, "no LayerScale": 94.95, "no drop path": 93.2, "four blocks": 96.2, "no policy": 94.0}


def write_table(root: Path, seeds: int = 5, epochs: int = 20) -> StudyDefinition:
    """The ablation `a1` of `TABLE`, trained, with its ledger."""
    definition = write_ablation(root, small_recipe(epochs), TABLE, seeds=range(seeds))
    diverged = next(row for row in definition.rows if row.label == SCRIPT)
    others = replace(definition, rows=[row for row in definition.rows if row is not diverged])
    train_ablation(root, others, MEANS, epochs)
    for seed, cell in diverged.cells.items():
        recipe = definition.base().with_(diverged.changes).with_seed(seed)
        write_cell(root, cell, 10.0, epochs=1, status="diverged", seed=seed, recipe=recipe)
    write_ledger(root, definition, [cell for row in definition.rows for cell in row.cells.values()])
    return definition


def made_up(*parts: object) -> str:
    """Sixteen hexadecimal digits, as a cell's."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def evidence(seed: int = 0, device: str = "CPU, 1 threads") -> dict[str, Any]:
    return {
        "device": device,
        "host": "node-1",
        "executor": "inline",
        "workers": 1,
        "threads": 1,
        "seeds": {"init": seed, "order": seed, "augment": seed},
        "dataset_digest": "790f37df5e685749",
        "code_revision": "47655de",
        "results_version": 1,
        "versions": VERSIONS,
    }


def write_cell(
    root: Path,
    cell: str,
    final: float,
    *,
    epochs: int = 20,
    status: str | None = FINISHED,
    seed: int = 0,
    recipe: Recipe | None = None,
    message: str = "",
    starts: Sequence[int] = (0,),
    also: Mapping[str, float] | None = None,
) -> None:
    """A cell that learns up to `final` on val; with a status that is a result, with one. None is not ended."""
    store, rng = CellStore(root), np.random.default_rng(int(cell, 16))
    journal = Journal(store.journal(cell))
    for start in starts:
        journal.write({"at": BEGAN, "event": "start", "epoch": start, "evidence": evidence(seed)})
    metrics: dict[str, float] = {}
    for epoch in range(1, epochs + 1):
        part = 1.0 - math.exp(-5.0 * epoch / epochs)
        noise = float(rng.normal(0.0, 2.0 * (1.0 - epoch / (epochs + 1))))
        metrics = {
            "train/loss": 2.3 * (1.0 - part) + 0.2,
            "train/lr": 1e-3,
            "val/top1": final if epoch == epochs else part * final + noise,
            "val/loss": 1.0 - part,
            "throughput/images_per_s": 2000.0 + float(rng.normal(0.0, 50.0)),
            "memory/peak_mb": 1000.0,
            "epoch": float(epoch),
        }
        journal.write({"at": BEGAN + 60.0 * epoch, "event": "epoch", "epoch": epoch, "metrics": metrics})
    if recipe is not None:
        (store.directory(cell) / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    if status is None:
        return
    more = {"test/top1": final - 0.4 + float(rng.normal(0.0, 0.3)), **(also or {})}
    end = {"at": BEGAN + 60.0 * epochs, "event": "end", "status": status}
    journal.write({**end, "message": message} if message else {**end, "metrics": {**metrics, **more}})
    if status in (FINISHED, "diverged"):
        known = evidence(seed) | {"started_at": BEGAN, "finished_at": BEGAN + 60.0 * epochs}
        numbers = {**metrics, **more} if status == FINISHED else {"epoch": 1.0}
        write_result(store.directory(cell), CellResult(cell, status, numbers, known))


def write_ablation(
    root: Path,
    recipe: Recipe,
    rows: Sequence[StudyRow],
    *,
    name: str = "a1",
    question: str = "Which part matters?",
    seeds: Sequence[int] = range(3),
    **changes: Any,
) -> StudyDefinition:
    """The definition, each row with a cell for each seed unless it says why it has none."""
    dataset = root / "datasets" / "digits.beton"
    write_manifest(dataset, Manifest("none", [list("0123456789")], {"train": 64}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))
    filled = [
        row if row.cells or row.not_run else replace(row, cells={s: made_up(name, row.label, s) for s in seeds})
        for row in rows
    ]
    definition = StudyDefinition(
        name, ABLATION, question, recipe.model_dump(mode="json"), str(dataset), "val/top1", filled, **changes
    )
    write_definition(root, definition)
    return definition


def train_ablation(
    root: Path, definition: StudyDefinition, means: Mapping[str, float], epochs: int = 20, *, recipes: bool = True
) -> None:
    """Results and journals for every cell, around a mean for each row, the baseline's if it has none."""
    base = definition.base()
    for row in definition.rows:
        mean = means.get(row.label, means[BASELINE])
        for seed, cell in row.cells.items():
            luck = float(np.random.default_rng(seed).normal(0.0, 0.3))
            own = float(np.random.default_rng([seed, len(row.label)]).normal(0.0, 0.1))
            recipe = base.with_(row.changes).with_seed(seed) if recipes else None
            also = {"v2/top1": mean - 8.0 + 2 * luck}
            write_cell(root, cell, mean + luck + own, epochs=epochs, seed=seed, recipe=recipe, also=also)


SPACE: dict[str, BaseDistribution] = {
    "model.drop_path": FloatDistribution(0.0, 0.5),
    "optimiser.lr": FloatDistribution(1e-4, 1e-2, log=True),
    "model.depth": IntDistribution(1, 4),
    "augment.policy": CategoricalDistribution(["none", "rand_augment", "three_augment"]),
}


def write_search(
    root: Path,
    recipe: Recipe,
    trials: int,
    *,
    name: str = "s1",
    objectives: Sequence[str] = (),
    constraints: Sequence[str] = (),
    epochs: int = 20,
    cut: int = 0,
    failed: int = 0,
    running: int = 0,
    recipes: bool = False,
) -> StudyDefinition:
    """A search with records and cells: the last ones cut, failed or running. MLflow takes only those with recipes."""
    dataset = root / "datasets" / "digits.beton"
    write_manifest(dataset, Manifest("none", [list("0123456789")], {"train": 64}, (0.5,) * 3, (0.2,) * 3, 1, "00ff"))
    aims = parse_objectives(objectives)
    definition = StudyDefinition(
        name=name,
        kind=SEARCH,
        question="Which configuration is best on the validation split?",
        recipe=recipe.model_dump(mode="json"),
        dataset=str(dataset),
        metric=aims[0].name,
        space="digits.demo",
        objectives=[str(aim) for aim in aims],
        constraints=list(constraints),
    )
    write_definition(root, definition)
    records = Records(study_directory(root, name), aims)
    rng = np.random.default_rng(0)
    for number in range(trials):
        params = _draw(rng)
        top1 = _value(params) + float(rng.normal(0.0, 0.4))
        cell = made_up(name, number)
        like = create_trial(state=TrialState.RUNNING, params=params, distributions=SPACE)
        record = records.add(like, {CELL: cell, CHANGES: json.dumps(params)}, {})
        if recipes:
            CellStore(root).directory(cell).mkdir(parents=True)
            (CellStore(root).directory(cell) / "recipe.yaml").write_text(to_yaml(recipe.with_(params)))
        left = trials - number
        if left <= running:
            write_cell(root, cell, top1, epochs=epochs // 2, status=None, starts=(0, 3))
        elif left <= running + failed:
            write_cell(root, cell, top1, epochs=2, status="failed", message="RuntimeError: <b>no</b> room")
            records.end(record.number, TrialState.FAIL, None, message="RuntimeError: <b>no</b> room")
        elif left <= running + failed + cut:
            write_cell(root, cell, top1 - 10, epochs=epochs // 4, status="pruned", message="cut")
            records.end(record.number, TrialState.PRUNED, None, intermediate={1: top1 - 10})
        else:
            write_cell(root, cell, top1, epochs=epochs)
            size = 20_000.0 + 28_000.0 * params["model.depth"]
            values = {"val/top1": top1, "parameters": size, "macs": 16 * size}
            records.end(record.number, TrialState.COMPLETE, [values[aim.name] for aim in aims])
    return definition


def write_ledger(root: Path, definition: StudyDefinition, cells: Sequence[str]) -> None:
    """One run of the driver that trained the cells, on the clock of now."""
    directory = study_directory(root, definition.name)
    with Ledger(directory, Budget(hours=10.0)) as ledger:
        for cell in cells:
            ledger.begin(cell, 1.0, 0.0)
            time.sleep(0.001)
            ledger.end(cell, FINISHED, "CPU, 1 threads")


def _draw(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "model.drop_path": float(rng.uniform(0.0, 0.5)),
        "optimiser.lr": float(10.0 ** rng.uniform(-4.0, -2.0)),
        "model.depth": int(rng.integers(1, 5)),
        "augment.policy": ["none", "rand_augment", "three_augment"][int(rng.integers(3))],
    }


def _value(params: Mapping[str, Any]) -> float:
    """A top-1 with a best learning rate, and a best drop path that grows with the depth."""
    rate = (math.log10(params["optimiser.lr"]) + 2.7) ** 2
    path = (params["model.drop_path"] - 0.1 * params["model.depth"]) ** 2
    return 92.0 - 6.0 * rate - 40.0 * path + params["model.depth"] + 0.5 * (params["augment.policy"] != "none")
