"""Malformed recipes, spaces, ablations, data, options and stored studies: one clear sentence and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from interplay.cluster.session import free_port
from tests.unit.malformed_input import RECIPE, write_digits, write_files, write_studies
from tests.unit.refusals import check_refused, listing, run

TRAIN, CHECK = ["train", RECIPE], ["check", RECIPE]
SEARCH, ABLATE = ["search", RECIPE, "digits.demo", "--name", "x"], ["ablate", RECIPE, "digits.leave_one_out_demo"]
TABLE = ["ablate", "thesis.T3_8", "--data", "digits", "--name", "x"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """What the malformed commands refer to."""
    folder = tmp_path_factory.mktemp("malformed")
    write_files(folder, digits_beton)
    return folder


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    """A storage root with the digits, searches of another recipe or space, and damaged ones."""
    root = tmp_path_factory.mktemp("storage")
    write_studies(root, write_digits(root, digits_beton))
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
    ([*SEARCH, "--sampler", "cma"], "no sampler 'cma'; did you mean 'cmaes'"),
    ([*SEARCH, "--objective", "val/top-1"], "no objective 'val/top-1'; did you mean 'val/top1'"),
    ([*SEARCH, "--objective", "test/top1"], "the test split never steers a search"),
    ([*SEARCH, "--objective", "val/top1:up"], "the direction is min or max"),
    ([*SEARCH, "--constraint", "params<=1e6"], "did you mean 'parameters'"),
    ([*SEARCH, "--constraint", "parameters<=-5"], "a positive number"),
    ([*SEARCH, "--scheduler", "ahsa"], "'ahsa' is not one of"),
    ([*SEARCH, "--scheduler", "asha", "--eta", "0.5"], "--eta a number above 1"),
    ([*SEARCH, "--scheduler", "asha", "--grace", "1000"], "nothing could be cut"),
    ([*SEARCH, "--trials", "-3"], "at least one trial, not -3"),
    ([*SEARCH, "--warm-start", "nowhere"], "there is no study 'nowhere'"),
    ([*SEARCH, "--start-from", "FILES/missing.yaml"], "there is no such file"),
    ([*SEARCH, "--start-from", "FILES/points.yaml"], "must hold one mapping"),
    ([*SEARCH, "--start-from", "published:DeiT"], "no published point 'DeiT'"),
    ([*SEARCH, "--optuna-storage", "somewhere"], "sqlite:///search.db"),
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
    ([*SEARCH, "--probe"], "--probe belongs to --dry-run"),
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
    # commands, names, and what there is not
    (["trian", RECIPE], "No such command 'trian'"),
    (["train"], "Missing argument 'RECIPE'"),
    (["train", "digits.deit_smal_patch4"], "did you mean 'deit_small_patch4'"),
    (["train", "digit.deit_small_patch4"], "did you mean 'digits.deit_small_patch4'"),
    (["train", "FILES/none.py:tiny"], "there is no file .*none.py"),
    (["train", "FILES/mine.py:tinny"], "did you mean 'tiny'"),
    (["train", "FILES/mine.py"], "mine has no function 'default'"),
    (["train", "FILES/mine.py:infeasible"], "raised TypeError: infeasible.. missing 1 required"),
    (["train", "FILES/mine.py:heads"], "mine.py:heads: model.heads=5 does not divide model.width=16"),
    (["train", "FILES/mine.py:field"], "mine.py:field: widht: Extra inputs are not permitted"),
    (["train", "FILES/mine.py:empty_row"], "returned Ablation, not a Recipe"),
    (["train", "FILES/broken.py:tiny"], "could not be read: SyntaxError"),
    (["train", "FILES/cell.yaml"], "holds no recipe"),
    (["train", "best:nothing"], "there is no study 'nothing'"),
    ([*TRAIN, "-s", "model.drop_path=1.5"], r"model\.drop_path=1\.5.*less than 1"),
    ([*TRAIN, "-s", "model.drop_path=[0.1"], "is not a YAML value"),
    ([*TRAIN, "-s", "augment.policy=three_augmnt"], "did you mean 'three_augment'"),
    ([*TRAIN, "--data", "FILES/truncated.beton"], "it is truncated or changed"),
    ([*TRAIN, "--data", "FILES/no manifest.beton"], "has no manifest"),
    ([*TRAIN, "--name", "a/b"], "a study cannot be called 'a/b'"),
    ([*TRAIN, "--name", ".."], "a study cannot be called '..'"),
    ([*TRAIN, "--gpus", "-1"], "numbers from 0 on"),
    ([*TRAIN, "--workers", "0"], "--workers 0 is too few"),
    ([*TRAIN, "--executor", "inline", "--workers", "2"], "the inline executor trains with one worker"),
    ([*TRAIN, "--executor", "spark"], "'spark' is not one of"),
    (["search", RECIPE, "digits.demoo", "--name", "x"], "did you mean 'demo'"),
    (["search", RECIPE, "digits.demo"], "Missing option '--name'"),
    (["search", RECIPE, "FILES/mine.py:infeasible", "--name", "x"], "proposes nothing the recipe accepts"),
    (["search", RECIPE, "FILES/mine.py:tiny", "--name", "x"], "tiny takes 0 arguments; a search space takes"),
    ([*SEARCH, "--sampler", "tp"], "no sampler 'tp'; did you mean 'tpe'"),
    ([*SEARCH, "--trials", "many"], "'many' is not a valid integer"),
    ([*SEARCH, "--sampler", "grid"], r"no end for model\.drop_path, which is continuous"),
    ([*SEARCH, "--sampler", "cmaes", "--objective", "val/top1", "--objective", "macs"], "cmaes optimises one"),
    ([*SEARCH, "--constraint", "parameters<=1e3"], "parameters<=1000 is exceeded by"),
    ([*SEARCH, "--constraint", "speed<=3"], "no 'speed' can be counted"),
    ([*SEARCH, "--start-from", "best:nothing"], "there is no study 'nothing'"),
    (["search", RECIPE, "heads.fixed_width+digits.demo", "--name", "x"], r"both set model\.heads; leave one"),
    ([*SEARCH, "--concurrency", "-1"], "numbers from 0 on"),
    (["ablate", RECIPE, "digits.leave_one_out", "--name", "x"], "did you mean 'leave_one_out_demo'"),
    (["ablate", RECIPE, "FILES/mine.py:tiny", "--name", "x"], "returned Recipe, not an Ablation"),
    (["ablate", RECIPE, "FILES/mine.py:wrong_row", "--name", "x"], "row 'misspelt': recipes have no 'model.hedas'"),
    ([*ABLATE, "--name", "x", "--seeds", "-2"], "seeds"),
    (["check", "FILES/mine.py:tiny", "--space", "FILES/mine.py:dead"], "'forgotten' changes neither the model"),
    ([*CHECK, "--ablation", "FILES/mine.py:empty_row"], "row 'nothing' trains exactly as the baseline"),
    (["evaluate", "FILES/missing.pt", "--data", "digits"], "there is no checkpoint"),
    (["evaluate", "FILES/nonsense.pt", "--data", "digits"], "is not a checkpoint"),
    (["evaluate", "FILES/empty", "--data", "digits"], "there is no checkpoint"),
    (["report", "nothing"], "there is no study 'nothing'"),
    (["report", "nothing", "--format", "html"], "there is no study 'nothing'"),
    (["report", "nothing", "--format", "yaml"], "'yaml' is not one of"),
    (["report", "nothing", "--format", "html", "--best", "3"], "--best shortens a table"),
    (["report", "nothing", "--format", "png", "--audit"], "--audit and --importance are text"),
    (["report", "nothing", "--audit", "--importance"], "give one of them"),
    (["report", "nothing", "--best", "0"], "0 is not in the range"),
    (["sync", "nothing"], "there is no study 'nothing'"),
    (["submit", "--address", "http://127.0.0.1:PORT", *SEARCH], "no Ray cluster answers at http://127.0.0.1"),
    (["submit"], "Missing argument"),
    (["data", "write", "digits", "FILES/digits.zip"], "must end in .beton"),
    (["data", "write", "digits", "FILES/out.beton", "--val", "0.6", "--test", "0.5"], "leave something to train on"),
    (["data", "write", "coco:FILES", "FILES/out.beton"], "'coco' is no kind of source"),
    (["data", "write", "FILES/none", "FILES/out.beton"], "there is no folder"),
    (["data", "write", "FILES/empty", "FILES/out.beton"], "holds no images"),
    (["data", "write", "FILES/images", "FILES/out.beton"], "class 'dog' is not in"),
    (["data", "write", "FILES/unreadable", "FILES/out.beton"], "no image that can be read"),
    (["data", "write", "cifar:FILES/cifar", "FILES/out.beton"], "has label 10, outside 0..1"),
    (["data", "verify", "FILES/none.beton"], "there is no data set"),
    (["data", "verify", "FILES/truncated.beton"], "truncated"),
    (["data", "verify", "FILES/changed.beton"], "differs from its manifest"),
]


@pytest.mark.parametrize(("command", "message"), MISTAKES, ids=[" ".join(c)[:70] for c, _ in MISTAKES])
def test_each_is_one_sentence(command: list[str], message: str, files: Path, storage: Path) -> None:
    port = free_port()
    before = listing(storage), without_caches(files)
    given = [part.replace("FILES", str(files)).replace("PORT", str(port)) for part in command]
    check_refused(run("--storage", storage, *given), message)
    assert (listing(storage), without_caches(files)) == before


def without_caches(folder: Path) -> dict[str, int]:
    return {path: time for path, time in listing(folder).items() if "__pycache__" not in path}


@pytest.mark.parametrize("place", ["file", "file/below", "newer.yaml/a/b"])
def test_a_storage_that_cannot_be(place: str, files: Path) -> None:
    before = listing(files)
    check_refused(run("--storage", files / place, *TRAIN), "is a file|is no folder; name another place")
    assert listing(files) == before


def test_there_are_enough() -> None:
    assert len({tuple(command) for command, _ in MISTAKES}) >= 40
