"""Malformed recipes, spaces, ablations, data, options and stored studies: one clear sentence and exit code 2."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from interplay.data.manifest import manifest_path
from interplay.data.write import write_beton
from interplay.models import build
from interplay.recipe import Recipe, ViT, find_recipe, to_yaml
from interplay.study.cells import cell_of
from interplay.study.definition import SEARCH, StudyDefinition, study_directory, write_definition
from tests.unit import pieces
from tests.unit.refusals import check_refused, listing, run

RECIPE = "digits.deit_small_patch4"
TRAIN, CHECK = ["train", RECIPE], ["check", RECIPE]
SEARCH_IT, ABLATE = ["search", RECIPE, "digits.demo", "--name", "x"], ["ablate", RECIPE, "digits.leave_one_out_demo"]
TABLE = ["ablate", "thesis.T3_8", "--data", "digits", "--name", "x"]

MINE = """
from interplay.study.ablation import Ablation, Row


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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """What the malformed commands refer to."""
    folder = tmp_path_factory.mktemp("malformed")
    (folder / "mine.py").write_text(MINE)
    (folder / "exits.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "empty.py").write_text("")
    (folder / "bytes.py").write_bytes(b"\xff\xfe\x00")
    (folder / "file").touch()
    recipe = to_yaml(find_recipe(RECIPE))
    (folder / "newer.yaml").write_text(recipe.replace("  width:", "  quantum_gates: 4\n  width:"))
    (folder / "twice.yaml").write_text(recipe + "precision: fp32\n")
    (folder / "list.yaml").write_text("- model\n- data\n")
    (folder / "torn.yaml").write_text("model: {family: vit")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    (folder / "points.yaml").write_text("- 3\n")
    (folder / "prices.yaml").write_text("gpu: much\n")
    write_beton(pieces.small(), folder / "without val.beton")
    for name in ("header", "manifest"):
        shutil.copy(digits_beton, folder / f"{name}.beton")
        shutil.copy(manifest_path(digits_beton), manifest_path(folder / f"{name}.beton"))
    with (folder / "header.beton").open("r+b") as file:
        file.write(bytes(64))
    manifest_path(folder / "manifest.beton").write_text("{")
    torch.save({"model": {"head.weight": torch.zeros(3, 8)}}, folder / "weights.pt")
    teacher = build(ViT(patch_size=4, width=8, depth=1, heads=1), classes=3, image_size=16)
    torch.save({"model": teacher.state_dict()}, folder / "teacher.pt")
    (folder / "text.pt").write_text("no weights")
    return folder


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


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """A storage root with the digits, searches of another recipe or space, and damaged ones."""
    root = tmp_path_factory.mktemp("storage")
    (root / "datasets").mkdir()
    for path in (digits_beton, manifest_path(digits_beton)):
        shutil.copy(path, root / "datasets" / path.name)
    recipe = find_recipe(RECIPE)
    dataset = root / "datasets" / digits_beton.name
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
    return root


def mine(kind: str, function: str) -> list[str]:
    """A command with a function of the person's own file as recipe, space or ablation."""
    reference = f"FILES/mine.py:{function}"
    if kind == "recipe":
        return ["train", reference]
    if kind == "space":
        return ["search", RECIPE, reference, "--name", "x"]
    return ["ablate", RECIPE, reference, "--name", "x"]


def study(name: str) -> list[str]:
    return ["search", RECIPE, "digits.demo", "--name", name]


MISTAKES: list[tuple[list[str], str]] = [
    # recipes: paths, values, kinds
    ([*CHECK, "-s", "model.dorp_path=0.1"], "no 'model.dorp_path'; did you mean 'model.drop_path'"),
    ([*CHECK, "-s", "model=cait_s25"], "did you mean 'cait_s24'"),
    ([*CHECK, "-s", "model=7"], "is not a mapping of its fields; set one of them, such as model"),
    ([*CHECK, "-s", "augment.crop=random_resize_crop"], "did you mean 'random_resized_crop'"),
    ([*CHECK, "-s", "optimiser=adam"], "did you mean 'adamw'"),
    ([*CHECK, "-s", "optimiser.lr=.nan"], r"optimiser\.lr=nan: input should be a finite number"),
    ([*CHECK, "-s", "optimiser.lr=yes"], r"optimiser\.lr=True: input should be a number"),
    ([*CHECK, "-s", "optimiser.momentum=0.9"], "choose optimiser=sgd"),
    ([*CHECK, "-s", "augment.crop.scale=[.nan, 1.0]"], "finite number"),
    ([*CHECK, "-s", "augment.crop.scale=[1.0, 0.5]"], "must rise within"),
    ([*CHECK, "-s", "augment.crop.scale=[0.5]"], "too few values"),
    ([*CHECK, "-s", "schedule.epochs=0"], r"schedule\.epochs=0: input should be greater than 0"),
    ([*CHECK, "-s", "schedule.warmup_epochs=99"], r"must be below schedule\.epochs"),
    ([*CHECK, "-s", "seed=-1"], "greater than or equal to 0"),
    ([*CHECK, "-s", "model.heads=5"], r"does not divide model\.width=48; use one of 1, 2, 3"),
    ([*CHECK, "-s", "data.resolution=17"], r"not a multiple of model\.patch_size=4; use 16 or 20"),
    ([*CHECK, "-s", "data.batch_size=63", "-s", "augment.mixup=0.8"], r"data\.batch_size must be even"),
    ([*CHECK, "-s", "data.batch_size=5000"], r"more than the 1151 training samples .*; lower data\.batch_size"),
    ([*CHECK, "-s", "model.drop_path"], "is not of the form path=value"),
    ([*CHECK, "-s", "model.depth=2", "-s", "model.depth: 3"], "is not of the form path=value"),
    # recipe files
    (["check", "FILES/newer.yaml"], "quantum_gates"),
    (["check", "FILES/twice.yaml"], "'precision' is set twice, .* remove one of them"),
    (["check", "FILES/list.yaml"], "holds no recipe: expected a mapping"),
    (["check", "FILES/torn.yaml"], "is not YAML"),
    (["check", "FILES/binary.yaml"], "is not YAML"),
    (["check", "FILES/missing.yaml"], "there is no recipe file"),
    # recipes, spaces and ablations that are functions
    (["check", "deit.smal"], "did you mean 'small'"),
    (["check", "FILES/empty.py:tiny"], "has no function 'tiny'"),
    (["check", "FILES/bytes.py:tiny"], "could not be read"),
    (["check", "FILES/exits.py:tiny"], "could not be read"),
    (mine("recipe", "a_number"), "returned int, not a Recipe"),
    (mine("recipe", "breaks"), "breaks raised KeyError"),
    (mine("space", "raises"), "raises raised RuntimeError: no such luck"),
    (mine("space", "returns_a_list"), "returns_a_list returned list, not a mapping"),
    (mine("space", "nan_range"), "optimiser.lr|nan"),
    (mine("space", "falling_range"), "low"),
    (mine("space", "no_choices"), "optimiser|choices"),
    (mine("space", "wrong_path"), "recipes have no 'optimiser.learning_rate'"),
    (mine("space", "wrong_value"), r"model\.drop_path=.* less than 1"),
    (mine("space", "three_arguments"), r"takes 3 arguments; a search space takes \(trial\) or \(trial, recipe\)"),
    (["search", RECIPE, "digits.demo+digits.demo", "--name", "x"], "both set .*; leave one of the spaces out"),
    (["search", RECIPE, "layerscal", "--name", "x"], "did you mean 'layerscale"),
    (mine("ablation", "a_number"), "returned int, not an Ablation"),
    (mine("ablation", "breaks"), "breaks raised KeyError"),
    (mine("ablation", "doubled"), "two rows of the ablation are called 'one'; give each its own label"),
    (mine("ablation", "named_baseline"), "two rows of the ablation are called 'baseline'"),
    (mine("ablation", "idle"), "row 'no mixup' trains exactly as the baseline does"),
    (mine("ablation", "wrong_kind"), "row 'adam': .* did you mean 'adamw'"),
    (mine("ablation", "rows_of_text"), "rows"),
    ([*CHECK, "-s", "model={family: own, source: 'FILES/mine.py:net'}"], "net raised RuntimeError: cannot be built"),
    ([*CHECK, "-s", "model={family: own, source: 'FILES/mine.py:no_net'}"], "returned str, not a torch.nn.Module"),
    ([*CHECK, "-s", "model={family: own, source: 'FILES/mine.py:nett'}"], "has no function 'nett'"),
    ([*CHECK, "-s", "model={family: timm, name: resnet27}"], "resnet2"),
    # data and weights
    ([*CHECK, "--data", "imagenet"], r"there is no data set 'imagenet' \(there are: digits\)"),
    ([*CHECK, "--data", "FILES/missing.beton"], "interplay data write SOURCE"),
    ([*CHECK, "--data", "FILES/without val.beton"], "no validation split .* --val 0.1"),
    ([*CHECK, "--data", "FILES/header.beton"], "write it again with interplay data write"),
    ([*CHECK, "--data", "FILES/manifest.beton"], "the manifest .* is damaged"),
    ([*CHECK, "-s", "data.level=3"], r"data\.level=3, but the data set has one level of labels"),
    ([*TRAIN, "-s", "start=FILES/missing.pt"], "is not a file"),
    ([*TRAIN, "-s", "start=FILES/text.pt"], "is not a whole checkpoint"),
    ([*TRAIN, "-s", "start=FILES/weights.pt"], "weights.pt"),
    ([*TRAIN, "-s", "distillation={kind: hard, teacher: ''}"], r"distillation\.teacher\.checkpoint is not set"),
    (
        [
            *TRAIN,
            "-s",
            "distillation={kind: hard, teacher: {checkpoint: FILES/teacher.pt, model: {family: vit, patch_size: 4, "
            "width: 8, depth: 1, heads: 1}}}",
        ],
        "for another number of classes; give weights for 10",
    ),
    # options of searches
    ([*SEARCH_IT, "--sampler", "cma"], "no sampler 'cma'; did you mean 'cmaes'"),
    ([*SEARCH_IT, "--sampler", "grid"], "continuous"),
    ([*SEARCH_IT, "--objective", "val/top-1"], "no objective 'val/top-1'; did you mean 'val/top1'"),
    ([*SEARCH_IT, "--objective", "test/top1"], "the test split never steers a search"),
    ([*SEARCH_IT, "--objective", "val/top1:up"], "the direction is min or max"),
    ([*SEARCH_IT, "--constraint", "params<=1e6"], "did you mean 'parameters'"),
    ([*SEARCH_IT, "--constraint", "parameters<=-5"], "a positive number"),
    ([*SEARCH_IT, "--scheduler", "ahsa"], "'ahsa' is not one of"),
    ([*SEARCH_IT, "--scheduler", "asha", "--eta", "0.5"], "--eta a number above 1"),
    ([*SEARCH_IT, "--scheduler", "asha", "--grace", "1000"], "nothing could be cut"),
    ([*SEARCH_IT, "--trials", "-3"], "at least one trial, not -3"),
    ([*SEARCH_IT, "--warm-start", "nowhere"], "there is no study 'nowhere'"),
    ([*SEARCH_IT, "--start-from", "FILES/missing.yaml"], "there is no such file"),
    ([*SEARCH_IT, "--start-from", "FILES/points.yaml"], "must hold one mapping"),
    ([*SEARCH_IT, "--start-from", "published:DeiT"], "no published point 'DeiT'"),
    ([*SEARCH_IT, "--optuna-storage", "somewhere"], "sqlite:///search.db"),
    # options of ablations
    ([*ABLATE, "--name", "x", "--seeds", "three"], "must be a whole number, or auto"),
    ([*ABLATE, "--name", "x", "--seeds", "0"], "must be different whole numbers from 0 on"),
    ([*ABLATE, "--name", "x", "--max-seeds", "8"], "belong to --seeds auto"),
    ([*ABLATE, "--name", "x", "--margin", "-1"], "must be a number over 0"),
    ([*ABLATE, "--name", "x", "--rows", "mixip*"], "no row is called like 'mixip[*]'; rows are"),
    ([*ABLATE, "--name", "x", "--baseline", "no drop pth"], "did you mean 'no drop path'"),
    ([*ABLATE, "--name", "x", "--give", "cifar10"], "is not of the form name=path"),
    ([*ABLATE, "--name", "x", "--scheduler", "asha"], "are never cut"),
    (["ablate", "thesis.T99_1", "--name", "x"], "did you mean"),
    ([*TABLE, "--scale", "epoch=3"], "epoch"),
    ([*TABLE, "--scale", "epochs=0"], "epochs"),
    ([*TABLE, "--scale", "epochs=many"], "epochs"),
    ([*TABLE, "--model", "deit_smal"], "--model"),
    # where and how
    ([*TRAIN, "--gpus", "1", "--name", "x"], "the cluster can never give .* lower --threads, --gpus or --workers"),
    ([*TRAIN, "--gpus", "2.5"], "more than one GPU must be a whole number"),
    ([*TRAIN, "--workers", "3", "--threads", "0"], "--threads 0 is too few"),
    ([*TRAIN, "--micro-batch", "-4"], "whole numbers from 0 on"),
    ([*TRAIN, "--checkpoint-every", "nan"], "numbers from 0 on"),
    ([*TRAIN, "--max-hours", "0"], "is no budget; give a number above 0"),
    ([*TRAIN, "--max-gpu-hours", "3"], "limits nothing when cells use no GPU"),
    ([*TRAIN, "--max-cost", "3"], "--max-cost needs prices"),
    ([*TRAIN, "--price", "cpu=-1"], "must be a number from 0 on"),
    ([*TRAIN, "--price", "FILES/prices.yaml"], "must be a number from 0 on"),
    ([*TRAIN, "--price", "FILES/missing.yaml"], "is no price table"),
    ([*SEARCH_IT, "--probe"], "--probe belongs to --dry-run"),
    # names of studies
    (study("it's"), "cannot be called"),
    (study("../x"), "cannot be called"),
    (study("\U0001f994" * 80), "cannot be called"),
    (study("x" * 101), "cannot be called"),
    (study("two\nlines"), "cannot be called"),
    (study(""), "cannot be called"),
    # studies that are there
    (study("deeper"), r"was made from another recipe \(model.depth\); choose another --name"),
    (study("other space"), "searches layerscale; choose another --name for digits.demo"),
    ([*ABLATE, "--name", "deeper"], "is a search; choose another --name for this ablation"),
    (study("no yaml"), "study.yaml is damaged .* run the study again"),
    (["report", "a list"], "study.yaml is damaged"),
    (["report", "strange fields"], "study.yaml is damaged"),
    (study("torn journal"), "optuna.journal is damaged"),
    (["report", "torn journal"], "optuna.journal is damaged"),
    ([*TRAIN, "--name", "again"], "result.json is damaged .* remove it to train the cell again"),
    (["report", "deepr"], "did you mean 'deeper'"),
    (["train", "best:deepr"], "did you mean 'deeper'"),
    (["train", "best:deeper"], "has not been started|no finished cell"),
]


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=[" ".join(c)[:70] for c, _ in MISTAKES])
def test_each_is_one_sentence(command: list[str], message: str, files: Path, storage: Path) -> None:
    before = listing(storage)
    given = [part.replace("FILES", str(files)) for part in command]
    check_refused(run("--storage", storage, *given), message)
    assert listing(storage) == before


@pytest.mark.parametrize("place", ["file", "file/below", "newer.yaml/a/b"])
def test_a_storage_that_cannot_be(place: str, files: Path) -> None:
    before = listing(files)
    check_refused(run("--storage", files / place, *TRAIN), "is a file|is no folder; name another place")
    assert listing(files) == before


def test_there_are_enough() -> None:
    assert len({tuple(command) for command, _ in MISTAKES}) >= 40
