"""Every table of chapters 3 to 6: its numbers, its rows at full and at a small scale, and one that is run."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from interplay.cli import main
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe import Recipe, find_function, find_recipe
from interplay.recipe.catalogue import ablated, architecture
from interplay.recipe.find import names
from interplay.studies import run_training
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.foresight.effects import meta_model
from interplay.study.needs import needs, placeholders, stages, training_key
from interplay.study.planning import Plan, Setting, plan
from interplay.study.scale import Scale
from search_spaces.ablations.sources import tables
from search_spaces.ablations.sources.facts import FINE_TUNED, Table

PACKAGE = "search_spaces.ablations"
TABLES = [name.removeprefix("thesis.") for name in names(PACKAGE) if name.startswith("thesis.")]
BY_NAME = {table.name: table for table in tables().values()}
UNTRAINED = {"S3_3", "T3_4", "T4_2", "T4_5", "T4_6", "T5_3", "T5_6", "T6_12", "T6_14"}
"""Tokens and answers compared, DINO, translation, segmentation, detection, settings: nothing is trained here."""
SAME = {("T3_8", "SGD in fine-tuning"): BASELINE, ("T3_11", "d12 baseline tuned drop"): BASELINE}
"""Rows that are the training of another in the table as it is printed."""
LOST = {
    ("T3_13", "12+0 insert 11"): "12+0 insert 10",
    ("T3_13", "12+1 insert 12"): "11+1 insert 11",
    ("T4_3", "patch 14"): BASELINE,
}
"""At half the depth blocks 10 and 11 are one, and a quarter of a patch of 14 is as near to 4 as one of 16."""
OF_THE_TRAINING = ("drop_path", "drop_path_rule", "dropout", "fusion")


@functools.cache
def ablation(name: str) -> Ablation:
    found = find_function(f"thesis.{name}", PACKAGE)()
    assert isinstance(found, Ablation)
    return found


def trained(found: Ablation) -> list[tuple[Row, Recipe]]:
    """Rows with recipes, but for those that need what has to be given."""
    assert found.baseline is not None
    rows = [row for row in found.lines() if not row.not_run and not placeholders(row.changes)]
    return [(row, row.of(found.baseline)) for row in rows]


def printed(name: str) -> Table:
    return BY_NAME[name.removesuffix("_384")]


# --------------------------------------------------------------------------------------------- full scale
def test_nothing_is_missing() -> None:
    assert len(tables()) == 58
    assert sum(len(table.lines) for table in tables().values()) == 694
    assert {name.removesuffix("_384") for name in TABLES} == {table.name for table in tables().values()}
    assert {name for name in TABLES if ablation(name).baseline is None} == UNTRAINED


@pytest.mark.parametrize("name", TABLES)
def test_published_numbers_are_the_printed_ones(name: str) -> None:
    found, table = ablation(name), printed(name)
    shown = {found.baseline_label if row.label == BASELINE else row.label: row for row in found.lines()}
    for line in table.lines:
        if table.kind == "transfer":
            each = {k: v for k, v in line.published.items() if k.startswith("top1_") and k != "top1_imagenet1k"}
            assert each
            for metric, value in each.items():
                assert shown[f"{line.label} on {metric.removeprefix('top1_')}"].published["top1"] == value
        elif name.endswith("_384"):
            assert (line.label in shown) == (FINE_TUNED in line.published)
            if line.label in shown:
                assert shown[line.label].published == {"top1": line.published[FINE_TUNED]}
        else:
            assert shown[line.label].published == line.published
            assert shown[line.label].published_std == line.std
        assert all(bool(row.expects_failure) == bool(line.failed) for row in [shown.get(line.label)] if row)


@pytest.mark.parametrize("name", sorted({*TABLES} - UNTRAINED))
def test_rows_differ_unless_declared(name: str) -> None:
    seen: dict[Any, str] = {}
    for row, recipe in trained(ablation(name)):
        key = training_key(recipe)
        assert seen.get(key, "") == row.same_as == SAME.get((name, row.label), ""), row.label
        seen.setdefault(key, row.label)


@pytest.mark.parametrize("name", TABLES)
def test_a_line_that_can_be_trained_is_a_row(name: str) -> None:
    """What is not trained says why, and is nobody's classifier."""
    reasons = {row.not_run for row in ablation(name).rows if row.not_run}
    known = (
        "published elsewhere",
        "compares the",
        "self-supervised",
        "starts from resmlp_dino",
        "machine translation",
    )
    known += ("segmentation", "detection", "is the baseline's on a second test set", "is measured at 256")
    assert all(reason.startswith(known) for reason in reasons), reasons
    ours = sum(line.rerun for line in printed(name).lines)
    if name not in UNTRAINED and not reasons - {"published elsewhere, or no result of a training"}:
        count = len([row for row in ablation(name).lines() if not row.not_run])
        per_line = 6 if printed(name).kind == "transfer" else 1
        assert count in (ours * per_line, ours + 1) or name.endswith("_384")


ROWS: dict[str, tuple[str, dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parents[1] / "contract" / "thesis_rows.yaml").read_text()
)


@pytest.mark.parametrize("name", sorted({*TABLES} - UNTRAINED))
def test_models_are_those_of_the_catalogue(name: str) -> None:
    """`thesis_rows.yaml` was made from the same tables in another way."""
    found, table = ablation(name), printed(name)
    recipes = {found.baseline_label if row.label == BASELINE else row.label: recipe for row, recipe in trained(found)}
    compared = 0
    for line in table.lines:
        label = f"{line.label} on cifar10" if table.kind == "transfer" else line.label
        if line.id not in ROWS or label not in recipes or line.id == "T4.3.20":
            continue
        model, changes = ROWS[line.id]
        for stage in stages(recipes[label]):
            node = stage.model
            want = ablated(architecture(model), changes)
            own = {field: getattr(node, field) for field in OF_THE_TRAINING if hasattr(want, field)}
            assert node == want.model_copy(update=own), line.id
        compared += 1
    assert compared or name in ("S6_3_5_1", "S6_2_3", "SA2T2")


@pytest.mark.parametrize(
    ("table", "label", "recipe"),
    [
        ("T3_3", "token, fusion / deit_s_dist", "deit.small_distilled"),
        ("T3_5", "DeiT-distilled-B ↑ 384 / 1000 epochs @384", "deit.base_distilled_1000_384"),
        ("T3_7", "DeiT-B distilled on inat18", "transfer.deit_b_dist_inat18"),
        ("T3_8_384", BASELINE, "deit.base_384"),
        ("T3_10", "fine-tuned at 160", "deit.base_160"),
        ("T3_11", "d36 baseline tuned drop", "deit.small_depth36"),
        ("T3_15", "cait_m36 cait_distill 384", "cait.m36_distilled_384"),
        ("T3_17", "CaiT-M48 ↑ 448 distilled", "cait.m48_distilled_448"),
        ("T4_3", "old-fashioned", "resmlp.s12_old_fashioned"),
        ("T5_2", "L120 @384", "patchconvnet.l120_in21k_to_1k_384"),
        ("T5_8", "B36 layernorm", "patchconvnet.b36"),
        ("T6_3", "rand ResNet50", "deit3.resnet50_rand"),
        ("T6_3", "three_augment ResNet50", "deit3.resnet50_three_augment"),
        ("T6_4", "vit_b bce layerscale three_augment 400", "deit3.base"),
        ("T6_5", "ViT-S + fine-tuned at 384", "deit3.small_in21k_to_1k_384"),
        ("T6_6", "vit_l 800ep train 192 ft 224", "deit3.large_192_to_224"),
        ("T6_11", "Ours ViT-S on flowers102", "transfer.deit3_small_flowers102"),
        ("T6_15", "vit_h 300", "deit3.huge_300"),
    ],
)
def test_rows_are_the_recipes_with_these_numbers(table: str, label: str, recipe: str) -> None:
    """The same training by another way: the recipe that was written for the same number."""
    row = next(r for other, r in trained(ablation(table)) if label in (other.label, ablation(table).baseline_label))
    row = next((r for other, r in trained(ablation(table)) if other.label == label), row)
    assert training_key(row) == training_key(find_recipe(recipe))


def test_tables_share_cells() -> None:
    """T6.4 ends where T6.15 and T6.2 have a row; T3.8 after fine-tuning starts from the rows of T3.8."""

    def key(table: str, label: str) -> Any:
        return training_key(next(recipe for row, recipe in trained(ablation(table)) if row.label == label))

    assert key("T6_4", "vit_b bce layerscale three_augment 400") == key("T6_15", "vit_b 400")
    assert key("T6_15", "vit_b 400") == key("T6_2", "+solarize = 3-Augment")
    assert key("T3_8_384", "SGD")[1:] == key("T3_8", "SGD")
    assert key("T3_11", "d24 layerscale") == key("T3_12", "d24 layerscale epsilon")
    assert key("T3_11", "d24 layerscale") == key("S3_5_3", "d24 learnable")


# -------------------------------------------------------------------------------------------- small scale
def sizes_for(found: Ablation) -> dict[str, float]:
    """A stated small scale: what the baseline's model has is made smaller, and with it all others."""
    assert found.baseline is not None
    (*_, first) = stages(found.baseline)
    sizes: dict[str, float] = {"epochs": 20, "batch_size": 64, "images": 0.5, "resolution": 112}
    if hasattr(first.model, "width"):
        sizes |= {"width": 96, "depth": 6}
    return sizes | ({"patch_size": 4, "resolution": 56} if first.model.family in ("vit", "resmlp") else {})


@functools.cache
def small(name: str, folder: Path) -> Plan:
    """The table on the digits, in the place of every data set, with something in every teacher's place."""
    found, teacher = ablation(name), folder / "teacher.pth"
    teacher.write_bytes(b"weights")
    given = {one: str(teacher) if one.startswith("regnety") or one == "vit" else "digits" for one in needs(found)}
    given = {one: path for one, path in given.items() if not one.startswith("layerscale")}
    return plan(found, Setting(data="digits", given=given, scale=Scale(sizes_for(found))), folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("small")


@pytest.mark.parametrize("name", sorted({*TABLES} - UNTRAINED - {"S3_5_3"}))
def test_rows_at_a_small_scale(name: str, folder: Path) -> None:
    """Each is a recipe, and differs from the others as it did; what the scale takes away is said."""
    made = small(name, folder)
    expected = [
        f"row {label!r} is the same training as {twin!r}" for (table, label), twin in LOST.items() if table == name
    ]
    assert [line.partition(" at ")[0] for line in made.unavailable] == expected
    full = {row.label: recipe for row, recipe in trained(ablation(name))}
    for row, recipe in made.ablation.resolve(made.baseline):
        assert [stage.data.dataset for stage in stages(recipe)] == ["digits"] * len([*stages(recipe)])
        first, whole = [*stages(recipe)][-1], [*stages(full[row.label])][-1]
        assert first.schedule.epochs < whole.schedule.epochs / 4
        assert first.optimiser.lr / first.data.batch_size == pytest.approx(whole.optimiser.lr / whole.data.batch_size)
        assert first.schedule.warmup_epochs / first.schedule.epochs == pytest.approx(
            whole.schedule.warmup_epochs / whole.schedule.epochs
        )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_small_rows_can_be_built(folder: Path) -> None:
    built = set()
    for name in sorted({*TABLES} - UNTRAINED - {"S3_5_3"}):
        made = small(name, folder)
        for _, recipe in made.ablation.resolve(made.baseline):
            if (recipe.model, recipe.data.resolution) not in built:
                assert sum(p.numel() for p in meta_model(recipe, 10).parameters())
                built.add((recipe.model, recipe.data.resolution))
    assert len(built) > 200


def test_trained_values_are_given(tmp_path: Path) -> None:
    found = ablation("S3_5_3")
    with pytest.raises(
        InterplayError, match=r"layerscale.*needs the cell|'d12 frozen trained values' needs the cell of"
    ):
        plan(found, Setting(data="digits"), tmp_path).check(skip_unavailable=False)
    given = {}
    for depth in (12, 18, 24, 36):
        donor = ablated(architecture("deit_s"), {"depth": depth, "residual_scale": "layerscale"})
        with torch.device("cpu"):
            state = build(donor.model_copy(update={"width": 6}), classes=1, image_size=16).state_dict()
        given[f"layerscale_d{depth}"] = str(tmp_path / f"{depth}.pt")
        torch.save({"model": {k: v for k, v in state.items() if k.endswith(".gamma")}}, given[f"layerscale_d{depth}"])
    made = plan(found, Setting(data="digits", given=given), tmp_path)
    assert not made.unavailable
    kinds = [recipe.model.scale.kind for _, recipe in made.ablation.resolve(made.baseline)]  # type: ignore[union-attr]
    assert kinds == ["layer_scale"] * 4 + ["fixed"] * 4


# ---------------------------------------------------------------------------------------------- commands
def run(*command: str) -> Any:
    return CliRunner().invoke(main, [*command])


def test_all_tables_are_listed() -> None:
    result = run("ablate", "--list")
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert {f"thesis.{name}" for name in TABLES} < lines.keys()
    assert "leave-one-out" in lines["thesis.T3_8"]
    assert "13/13" in lines["thesis.T3_8"]
    assert lines["thesis.T3_4"].split()[-2:] == ["0/15", "—"]
    assert "imagenet21k" in lines["thesis.T5_2"]


SMALL = {"epochs": 2, "width": 48, "depth": 2, "patch_size": 4, "resolution": 12, "batch_size": 64}
HEADS = ["6 heads", "1 heads"]
LARGER = {"optimiser.lr": 3e-3, "model.init_std": 0.1}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_table_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows of T3.21 on the digits, with the printed numbers beside them; cells that are there need no cluster."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    setting = Setting(data="digits", changes=LARGER, scale=Scale(SMALL), rows=HEADS)
    made = plan(ablation("T3_21"), setting, tmp_path)
    for row, recipe in made.ablation.resolve(made.baseline):
        for seed in range(2):
            run_training(recipe.with_seed(seed), root=tmp_path, name=f"{row.label} {seed}")
    root = ["--storage", str(tmp_path)]
    scale = ",".join(f"{name}={value}" for name, value in SMALL.items())
    command = ["ablate", "thesis.T3_21", "--data", "digits", "--name", "heads", "--seeds", "2", "--scale", scale]
    command += [part for path, value in LARGER.items() for part in ("-s", f"{path}={value}")]
    command += [part for label in HEADS for part in ("--rows", label)]
    result = run(*root, *command)
    assert result.exit_code == 0, result.output
    assert "4 cells, 4 finished before and kept" in result.output
    assert "declared scale epochs=2, width=48" in result.output
    table = json.loads(run(*root, "report", "heads", "--format", "json").stdout)
    rows = {row["label"]: row for row in table["rows"]}
    assert {label: row["published"]["top1"] for label, row in rows.items()} == {
        "baseline": 79.9,
        "1 heads": 76.8,
    }
    assert all(row["test"]["seeds"] == [0, 1] for row in rows.values())
    stored = yaml.safe_load((tmp_path / "studies" / "heads" / "study.yaml").read_text())
    assert stored["scale"]["width"] == 48
    assert stored["recipe"]["model"]["heads"] == 6
    assert stored["recipe"]["optimiser"]["lr"] == 3e-3
