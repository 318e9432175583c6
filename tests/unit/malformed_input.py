"""Bad input that tests of the command line refer to: a person's own file, data, weights, and stored studies."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from interplay.data.manifest import manifest_path
from interplay.data.write import write_beton
from interplay.models import build
from interplay.recipe import Recipe, ViT, find_recipe, to_yaml
from interplay.study.cells import cell_of
from interplay.study.definition import SEARCH, StudyDefinition, study_directory, write_definition
from tests.unit import pieces

RECIPE = "digits.deit_small_patch4"

TINY = '''
"""A person's own recipe."""
from interplay.recipe import Augment, Cosine, Data, Evaluation, RandomResizedCrop, Recipe, ViT


def tiny():
    return Recipe(
        name="mine",
        model=ViT(patch_size=4, width=16, depth=1, heads=2, init_std=0.1),
        data=Data(resolution=16, batch_size=64),
        augment=Augment(crop=RandomResizedCrop(scale=(0.7, 1.0)), flip=0.0),
        schedule=Cosine(epochs=2, warmup_epochs=1),
        evaluation=Evaluation(crop_ratio=1.0),
    )
'''

FUNCTIONS = """
from interplay.study.ablation import Ablation, Row


def heads():
    return Recipe(model=ViT(width=16, heads=5))


def field():
    return Recipe(model=ViT(widht=16))


def infeasible(trial):
    return {"model.heads": trial.suggest_categorical("model.heads", [7, 11])}


def dead(trial):
    trial.suggest_float("forgotten", 0.0, 1.0)
    return {}


def empty_row():
    return Ablation("?", [Row("nothing", {})])


def wrong_row():
    return Ablation("?", [Row("misspelt", {"model.hedas": 2})])


def lr(trial):
    return {"optimiser.lr": trial.suggest_float("optimiser.lr", 1e-4, 1e-2)}


def raises(trial):
    raise RuntimeError("no such luck")


def returns_a_list(trial):
    return [("optimiser.lr", 0.1)]


def nan_range(trial):
    return {"optimiser.lr": trial.suggest_float("optimiser.lr", float("nan"), 1e-2)}


def falling_range(trial):
    return {"optimiser.lr": trial.suggest_float("optimiser.lr", 1.0, 0.5)}


def no_choices(trial):
    return {"optimiser": trial.suggest_categorical("optimiser", [])}


def wrong_path(trial):
    return {"optimiser.learning_rate": trial.suggest_float("lr", 1e-4, 1e-2)}


def wrong_value(trial):
    return {"model.drop_path": trial.suggest_float("model.drop_path", 1.0, 2.0)}


def three_arguments(trial, recipe, more):
    return {}


def a_number():
    return 3


def no_rows():
    return Ablation("?", [])


def doubled():
    return Ablation("?", [Row("one", {"model.depth": 2}), Row("one", {"model.depth": 3})])


def named_baseline():
    return Ablation("?", [Row("baseline", {"model.depth": 2})])


def idle():
    return Ablation("?", [Row("no mixup", {"augment.mix_prob": 0.3})])


def wrong_kind():
    return Ablation("?", [Row("adam", {"optimiser": "adam"})])


def breaks():
    raise KeyError("rows")


def rows_of_text():
    return Ablation("?", ["one", "two"])


def net(classes, image_size):
    raise RuntimeError("cannot be built")


def no_net(classes, image_size):
    return "a net"
"""


def write_files(folder: Path, digits_beton: Path) -> None:
    """Python files, recipes, weights, data sets and sources of data, nearly all of them damaged or wrong."""
    (folder / "mine.py").write_text(TINY + FUNCTIONS)
    _write_text_files(folder)
    write_beton(pieces.small(), folder / "without val.beton")
    for name in ("truncated", "no manifest", "changed", "header", "manifest"):
        shutil.copy(digits_beton, folder / f"{name}.beton")
        shutil.copy(manifest_path(digits_beton), manifest_path(folder / f"{name}.beton"))
    os.truncate(folder / "truncated.beton", 100_000)
    manifest_path(folder / "no manifest.beton").unlink()
    with (folder / "changed.beton").open("r+b") as file:
        file.seek(-100_000, os.SEEK_END)
        file.write(b"\x7f")
    with (folder / "header.beton").open("r+b") as file:
        file.write(bytes(64))
    manifest_path(folder / "manifest.beton").write_text("{")
    torch.save({"model": {"head.weight": torch.zeros(3, 8)}}, folder / "weights.pt")
    teacher = build(ViT(patch_size=4, width=8, depth=1, heads=1), classes=3, image_size=16)
    torch.save({"model": teacher.state_dict()}, folder / "teacher.pt")
    (folder / "text.pt").write_text("no weights")
    (folder / "empty").mkdir()
    (folder / "file").touch()
    _write_sources(folder)


def _write_text_files(folder: Path) -> None:
    recipe = to_yaml(find_recipe(RECIPE))
    texts = {
        "broken.py": "def tiny(:\n",
        "exits.py": "import sys\nsys.exit(3)\n",
        "empty.py": "",
        "cell.yaml": "- not a mapping\n",
        "newer.yaml": recipe.replace("  width:", "  quantum_gates: 4\n  width:"),
        "twice.yaml": recipe + "precision: fp32\n",
        "list.yaml": "- model\n- data\n",
        "torn.yaml": "model: {family: vit",
        "points.yaml": "- 3\n",
        "prices.yaml": "gpu: much\n",
        "nonsense.pt": "not a checkpoint",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "bytes.py").write_bytes(b"\xff\xfe\x00")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")


def _write_sources(folder: Path) -> None:
    """Of data sets."""
    for split, kind in (("train", "cat"), ("val", "dog")):
        make_images(folder / "images" / split / kind, 2)
    make_images(folder / "unreadable" / "cat", 2)
    (folder / "unreadable" / "cat" / "0.png").write_bytes(b"\x89PNG but no more")
    for i in range(1, 6):
        batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10 if i == 3 else 1]}
        write_pickle(folder / "cifar" / f"data_batch_{i}", batch)
    write_pickle(folder / "cifar" / "test_batch", {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0]})
    write_pickle(folder / "cifar" / "batches.meta", {b"label_names": [b"a", b"b"]})


def write_digits(root: Path, digits_beton: Path) -> Path:
    """A storage root with the digits in it and nothing else; the data set."""
    (root / "datasets").mkdir()
    for path in (digits_beton, manifest_path(digits_beton)):
        shutil.copy(path, root / "datasets" / path.name)
    return root / "datasets" / digits_beton.name


def write_studies(root: Path, dataset: Path) -> None:
    """Searches of another recipe or space, damaged ones, and a damaged cell."""
    recipe = find_recipe(RECIPE)
    write_definition(root, definition("deeper", recipe.with_({"model.depth": 3}), dataset, "digits.demo"))
    write_definition(root, definition("other space", recipe, dataset, "layerscale"))
    write_definition(root, definition("torn journal", recipe, dataset, "digits.demo"))
    (study_directory(root, "torn journal") / "optuna.journal").write_text('{"op_code": 0}\nnonsense\n{"op_code"\n')
    for name, text in (("no yaml", "rows: ["), ("a list", "- 1\n"), ("strange fields", "rows: []\nquantum: 3\n")):
        study_directory(root, name).mkdir(parents=True)
        (study_directory(root, name) / "study.yaml").write_text(text)
    cell = root / "cells" / cell_of(recipe, root).fingerprint
    cell.mkdir(parents=True)
    (cell / "recipe.yaml").write_text(to_yaml(recipe))
    (cell / "result.json").write_text('{"fingerprint": "')


def definition(name: str, recipe: Recipe, dataset: Path, space: str) -> StudyDefinition:
    return StudyDefinition(
        name=name,
        kind=SEARCH,
        question="?",
        recipe=recipe.model_dump(mode="json"),
        dataset=str(dataset),
        metric="val/top1",
        space=space,
        objectives=["val/top1:max"],
    )


def make_images(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        Image.fromarray(np.full((20, 20, 3), 20 * i, np.uint8)).save(folder / f"{i}.png")


def write_pickle(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(content))
