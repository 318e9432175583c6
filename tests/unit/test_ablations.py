"""Kinds of ablations, the declared scale, and what is said before one runs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from interplay.cli import main
from interplay.cli.options import find_ablation
from interplay.data import array_loaders
from interplay.data.order import share_of
from interplay.errors import InterplayError
from interplay.recipe import Recipe, Steps, difference, find_recipe
from interplay.studies import Repeats, run_ablation, run_training
from interplay.study.ablation import BASELINE, Ablation, Given, Row, leave_one_out
from interplay.study.designs import (
    add_one_in,
    comparison,
    fractional_factorial,
    grid,
    one_factor,
    path,
    repeats,
    transfer,
)
from interplay.study.foresight.preflight import check_rows
from interplay.study.planning import Setting, plan
from interplay.study.scale import Scale, parse_scale, scaled

PARTS = {
    "flip": {"augment.flip": 0.5},
    "mixup": {"augment.mixup": 0.2},
    "erasing": {"augment.erasing": 0.25},
    "depth": {"model.drop_path": 0.1},
}


def changes(found: Ablation, baseline: Recipe) -> dict[str, dict[str, Any]]:
    return {row.label: difference(baseline, recipe) for row, recipe in found.resolve(baseline)[1:]}


# ------------------------------------------------------------------------------------------------- kinds
def test_add_one_in_and_leave_one_out(tiny: Recipe) -> None:
    flat = {label: value for part in PARTS.values() for label, value in part.items()}
    assert changes(add_one_in("?", PARTS), tiny) == {f"+ {name}": part for name, part in PARTS.items()}
    with_all = tiny.with_(flat)
    off = {"flip": {"augment.flip": 0.0}, "mixup": {"augment.mixup": 0.0}}
    assert changes(leave_one_out("?", off), with_all) == {f"no {name}": part for name, part in off.items()}


def test_a_path_keeps_what_came_before(tiny: Recipe) -> None:
    found = path("?", PARTS, published={BASELINE: {"top1": 70.0}, "+ mixup": {"top1": 72.5}})
    assert [len(one) for one in changes(found, tiny).values()] == [1, 2, 3, 4]
    assert found.published == {"top1": 70.0}
    assert [dict(row.published) for row in found.rows] == [{}, {"top1": 72.5}, {}, {}]
    with pytest.raises(InterplayError, match=r"published for 'mixup', which is no row; rows are '\+ flip'"):
        path("?", PARTS, published={"mixup": {"top1": 72.5}})


def test_one_factor_and_grid(tiny: Recipe) -> None:
    assert changes(one_factor("?", "model.heads", [1, 4]), tiny) == {
        "heads 1": {"model.heads": 1},
        "heads 4": {"model.heads": 4},
    }
    crossed = changes(grid("?", {"model.depth": [1, 3], "optimiser.lr": [1e-3, 1e-2]}), tiny)
    assert list(crossed) == ["depth 1, lr 0.001", "depth 1, lr 0.01", "depth 3, lr 0.001", "depth 3, lr 0.01"]
    assert crossed["depth 3, lr 0.01"] == {"model.depth": 3, "optimiser.lr": 1e-2}


def test_a_fraction_estimates_every_part_from_all_rows(tiny: Recipe) -> None:
    """Half of the sixteen combinations, in which parts and pairs of them are balanced."""
    found = fractional_factorial("Which matter?", PARTS)
    made = changes(found, tiny)
    assert len(made) == 7  # and the baseline
    flat = [next(iter(part)) for part in PARTS.values()]
    signs = np.array([[1 if p in one else -1 for p in flat] for one in [{}, *made.values()]])
    assert (signs.T @ signs == 8 * np.eye(4)).all()
    assert "(a flip, b mixup, c erasing, d depth)" in found.question
    assert "ab = cd" in found.question
    assert len(fractional_factorial("?", PARTS, generators="a b ab c").rows) == 8
    for wrong in ({"halvings": 3}, {"halvings": 0}, {"generators": "a b"}, {"generators": "a b ?c d"}):
        with pytest.raises(InterplayError):
            fractional_factorial("?", PARTS, **wrong)  # type: ignore[arg-type]


def test_repeats_comparison_and_transfer(tiny: Recipe) -> None:
    assert [row.label for row, _ in repeats("?").resolve(tiny)] == [BASELINE]
    wide = tiny.with_({"model.width": 32})
    sides = comparison("?", {"narrow": tiny, "wide": wide, "DeiT-S": "deit.small"}, published={"wide": {"top1": 1.0}})
    assert sides.baseline == tiny
    assert sides.baseline_label == "narrow"
    assert [recipe.model.width for _, recipe in sides.resolve(tiny)] == [16, 32, 384]  # type: ignore[union-attr]
    after = transfer("?", {"narrow": tiny, "wide": wide}, "pets", {"optimiser.lr": 1e-4})
    (_, first), (_, second) = after.resolve(after.baseline or tiny)
    assert (first.data.dataset, first.after, first.optimiser.lr) == ("pets", tiny, 1e-4)
    assert second.after == wide
    with pytest.raises(InterplayError, match="needs recipes"):
        comparison("?", {})


def test_a_row_may_replace_the_recipe(tiny: Recipe) -> None:
    rows = [
        Row("CaiT-S24", {"model": "cait_s24"}),
        Row("DeiT-S", recipe="deit.small"),
        Row("DeiT-S longer", {"schedule.epochs": 400}, recipe="deit.small"),
        Row("elsewhere", published={"top1": 80.0}, not_run="published elsewhere"),
    ]
    resolved = dict((row.label, recipe) for row, recipe in Ablation("?", rows).resolve(tiny))
    assert resolved["CaiT-S24"].model.talking_heads  # type: ignore[union-attr]
    assert resolved["CaiT-S24"].optimiser == tiny.optimiser
    assert resolved["DeiT-S"] == find_recipe("deit.small")
    assert resolved["DeiT-S longer"].schedule.epochs == 400
    assert "elsewhere" not in resolved


def test_a_row_without_effect_is_refused_unless_declared(tiny: Recipe) -> None:
    """A teacher is an effect; a rate of an augmentation that is off is none."""
    dead = {"augment.erasing_count": 2}
    with pytest.raises(InterplayError, match="row 'dead' trains exactly as the baseline"):
        check_rows(Ablation("?", [Row("dead", dead)]), tiny)
    declared = Ablation("?", [Row("same", dead, same_as=BASELINE), Row("ema", {"average": "ema"})])
    assert check_rows(declared, tiny) == ["ema"]


# ------------------------------------------------------------------------------------------------- scale
def test_a_scale_is_read() -> None:
    assert parse_scale("epochs=20, width=192,images=0.1").sizes == {"epochs": 20, "width": 192, "images": 0.1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=20", "did you mean 'epochs'"),
        ("epochs", "sizes are epochs, width"),
        ("epochs=many", "is not a number"),
        ("epochs=0", "whole number from 1 on"),
        ("width=19.5", "whole number from 1 on"),
        ("images=2", "a share above 0, up to 1"),
        ("width=1,width=2", "names width twice"),
    ],
)
def test_a_scale_that_is_none(text: str, message: str) -> None:
    with pytest.raises(InterplayError, match=message):
        parse_scale(text)


def test_all_recipes_keep_their_ratios() -> None:
    base = find_recipe("deit.base")
    factors = Scale({"epochs": 30, "width": 192, "depth": 4, "resolution": 56, "patch_size": 4, "batch_size": 256})
    fine, first = (scaled(find_recipe(name), factors.factors(base)) for name in ("deit.base_384", "deit.base"))
    assert fine.after == first
    assert (first.schedule.epochs, first.schedule.warmup_epochs) == (30, 0.5)
    assert (fine.schedule.epochs, fine.data.resolution, first.data.resolution) == (3, 96, 56)
    assert (first.data.batch_size, first.optimiser.lr, first.schedule.min_lr) == (256, 2.5e-4, 2.5e-6)  # type: ignore[union-attr]
    assert (first.model.width, first.model.depth, first.model.heads) == (192, 4, 12)  # type: ignore[union-attr]
    assert first.model.drop_path == base.model.drop_path == 0.1  # type: ignore[union-attr]
    small = scaled(find_recipe("deit.small_depth24"), factors.factors(base))
    assert (small.model.width, small.model.depth, small.model.heads) == (96, 8, 6)  # type: ignore[union-attr]
    longer = scaled(find_recipe("deit3.base_800"), factors.factors(find_recipe("deit3.base")))
    assert longer.schedule.epochs == 60
    kept = scaled(find_recipe("baselines.torchvision"), {"epochs": 0.1, "images": 0.5})
    assert isinstance(kept.schedule, Steps)
    assert (kept.schedule.epochs, kept.schedule.every, kept.data.share) == (9, 3, 0.5)
    with pytest.raises(InterplayError, match="has no width to change"):
        factors.factors(find_recipe("baselines.torchvision"))


def test_heads_divide_the_width() -> None:
    odd = scaled(find_recipe("deit.small"), {"width": 100 / 384})
    assert (odd.model.width, odd.model.heads) == (100, 5)  # type: ignore[union-attr]
    pooled = scaled(find_recipe("patchconvnet.s60"), {"width": 0.21})
    assert pooled.model.width == 80  # type: ignore[union-attr]


def test_a_share_of_the_images_is_the_same_for_all_seeds(tiny: Recipe, random_splits: Any) -> None:
    labels = np.repeat(np.arange(5), [40, 20, 10, 2, 1])
    kept = share_of(labels, 0.25)
    assert np.bincount(labels[kept]).tolist() == [10, 5, 2, 1, 1]
    assert (np.diff(kept) > 0).all()
    assert set(kept) < set(share_of(labels, 0.5))
    seen = []
    for seed in (0, 1):
        recipe = tiny.with_({"data.share": 0.5, "data.batch_size": 10, "seed": seed})
        loader = array_loaders(random_splits, recipe).train
        seen.append({int(i) for epoch in range(4) for batch in loader.epoch(epoch) for i in batch.index})
    assert seen[0] == seen[1]
    assert 45 <= len(seen[0]) <= 55
    too_large = array_loaders(random_splits, tiny.with_({"data.share": 0.5, "data.batch_size": 64}))
    with pytest.raises(InterplayError, match=r"more than the 5\d training samples"):
        next(iter(too_large.train.epoch(0)))


# ---------------------------------------------------------------------------------------------- planning
SETTLED = Ablation(
    "?",
    [
        Row("a flip", {"augment.flip": 0.5}, {"top1": 2.0}, expects_failure="diverged"),
        Row("b deep", {"model.depth": 3}),
        Row("c pets", {"data.dataset": "pets"}),
        Row("d taught", {"distillation": {"kind": "hard", "teacher": {"checkpoint": ""}}}),
        Row("e theirs", {}, {"top1": 9.0}, not_run="published elsewhere"),
    ],
)


@pytest.fixture
def settled(tiny: Recipe) -> Ablation:
    return replace(SETTLED, baseline=tiny)


def test_what_rows_lack_is_said(settled: Ablation, tmp_path: Path) -> None:
    made = plan(settled, Setting(), tmp_path)
    assert made.unavailable == (
        "row 'c pets' needs the data set pets; give it with --give pets=PATH.beton",
        "row 'd taught' needs the trained weights of its teacher; give them with --give teacher=PATH",
    )
    with pytest.raises(InterplayError, match=r"needs the data set pets.*and 1 more rows.*--skip-unavailable trains"):
        made.check(skip_unavailable=False)
    made.check(skip_unavailable=True)
    assert [row.label for row, _ in made.ablation.resolve(made.baseline)] == [BASELINE, "a flip", "b deep"]
    assert made.ablation.rows[2].not_run.startswith("needs the data set pets")
    assert any("'a flip' failed where it was published" in note for note in made.notes)
    assert "published only, published elsewhere: 'e theirs'" in made.notes
    assert not list(tmp_path.iterdir())


def test_what_is_given_is_used(settled: Ablation, tiny: Recipe, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher.pt"
    teacher.write_bytes(b"weights")
    made = plan(settled, Setting(given={"pets": "digits", "teacher": str(teacher)}), tmp_path)
    assert not made.unavailable
    recipes = {row.label: recipe for row, recipe in made.ablation.resolve(made.baseline)}
    assert recipes["c pets"].data.dataset == "digits"
    assert recipes["d taught"].distillation.teacher.checkpoint == str(teacher)  # type: ignore[union-attr]
    with pytest.raises(InterplayError, match="--give cats: no row needs it; they can use digits, pets, teacher"):
        plan(settled, Setting(given={"cats": "digits"}), tmp_path)
    rows = [Row("from", {"start": {"checkpoint": Given("old", "an older model")}})]
    placed = Ablation("?", rows, baseline=tiny)
    assert plan(placed, Setting(), tmp_path).unavailable == (
        "row 'from' needs an older model; give it with --give old=PATH",
    )
    started = plan(placed, Setting(given={"old": str(teacher)}), tmp_path).ablation.resolve(tiny)[1][1]
    assert started.start is not None
    assert started.start.digest


def test_rows_and_the_baseline_are_chosen(settled: Ablation, tmp_path: Path) -> None:
    made = plan(settled, Setting(rows=["a*", "b d*"], baseline="b deep"), tmp_path)
    rows = made.ablation.resolve(made.baseline)
    assert [(row.label, recipe.model.depth) for row, recipe in rows] == [(BASELINE, 3), ("a flip", 2)]  # type: ignore[union-attr]
    assert "Here the baseline is 'b deep'" in made.ablation.question
    whole = plan(settled, Setting(baseline="b deep"), tmp_path).ablation
    assert [row.label for row in whole.rows] == ["no change", "a flip", "c pets", "d taught", "e theirs"]
    with pytest.raises(InterplayError, match="no row is called like 'z"):
        plan(settled, Setting(rows=["z*"]), tmp_path)
    with pytest.raises(InterplayError, match="no row is called 'b dep'; did you mean 'b deep'"):
        plan(settled, Setting(baseline="b dep"), tmp_path)
    with pytest.raises(InterplayError, match="the baseline published elsewhere; choose another with --baseline"):
        plan(settled, Setting(baseline="e theirs"), tmp_path)


def test_a_row_that_a_scale_makes_equal_is_refused(tiny: Recipe, tmp_path: Path) -> None:
    rows = [Row("deeper", {"model.depth": 3}), Row("deep", {"model.depth": 4})]
    deep = Ablation("?", rows, baseline=tiny.with_({"model.depth": 8}))
    made = plan(deep, Setting(scale=Scale({"depth": 2})), tmp_path)
    assert made.unavailable == ("row 'deep' is the same training as 'deeper' at depth=2",)
    assert made.ablation.scale == {"depth": 2}
    assert "declared scale depth=2" in made.ablation.question


def test_what_is_asked_for_all_rows_is_not_scaled_again(tiny: Recipe, tmp_path: Path) -> None:
    """A rate that is given is the rate; a row that sets it keeps its ratio."""
    rows = [Row("fast", {"optimiser.lr": 4.0}), Row("flip", {"augment.flip": 0.5})]
    rates = Ablation("?", rows, baseline=tiny)
    setting = Setting(changes={"optimiser.lr": 0.5}, scale=Scale({"batch_size": 16}))
    made = plan(rates, setting, tmp_path)
    found = {row.label: recipe.optimiser.lr for row, recipe in made.ablation.resolve(made.baseline)}
    assert found == {BASELINE: 0.5, "fast": 2.0, "flip": 0.5}
    with pytest.raises(InterplayError, match="set the same size"):
        plan(rates, Setting(changes={"data.batch_size": 8}, scale=Scale({"batch_size": 16})), tmp_path)


# ---------------------------------------------------------------------------------------------- commands
T38 = ["ablate", "thesis.T3_8", "--name", "x", "--data", "digits"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["ablate", "--name", "x"], "Missing argument 'ABLATION'"),
        (["ablate", "thesis.T3_8"], "Missing option '--name'"),
        (["ablate", "thesis.T3_88", "--name", "x"], "did you mean 'T3_8'"),
        (["ablate", "digits.leave_one_out_demo", "--name", "x"], "no baseline of its own; name a RECIPE"),
        (["ablate", "thesis.T3_8", "--name", "x"], "the baseline needs the data set imagenet1k; .*--data PATH.beton"),
        (
            ["ablate", "thesis.T3_8", "--name", "x", "--data", "none"],
            "the baseline cannot be trained: there is no data set 'none'",
        ),
        (
            ["ablate", "thesis.T3_2", "--name", "x", "--data", "digits"],
            "teacher .regnety_160.; give them with --give",
        ),
        (["ablate", "thesis.T4_6", "--name", "x", "--data", "digits"], "nothing of it can be trained here: row"),
        ([*T38, "--model", "deit_x"], "--model: .*or give an architecture"),
        ([*T38, "--scale", "epoch=3"], "did you mean 'epochs'"),
        ([*T38, "--give", "v2"], "is not of the form name=path"),
        ([*T38, "--give", "pets=digits"], "no row needs it"),
        ([*T38, "--rows", "none*"], "no row is called like"),
        (["check"], "name a RECIPE or an --ablation"),
        (["ablate", "thesis.T3_3", *T38[2:], "--model", "deit.tiny"], "which --model does not replace"),
        (["ablate", "thesis.T4_3", *T38[2:]], "row 'distillation' needs .*3 more rows.*--skip-unavailable"),
    ],
)
def test_mistakes(command: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--storage", str(tmp_path), *command])
    assert result.exit_code == 2, result.output
    (*_, last) = result.stderr.splitlines()
    assert last.startswith("Error: ")
    assert re.search(message, last), last
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_table_is_checked_on_another_model(tmp_path: Path, digits_beton: Path) -> None:
    scale = "epochs=20,width=48,depth=4,patch_size=4,resolution=12,batch_size=64"
    command = ["check", "--ablation", "thesis.T3_8", "--data", str(digits_beton), "--scale", scale]
    result = CliRunner().invoke(main, ["--storage", str(tmp_path), *command, "--model", "deit.tiny"])
    assert result.exit_code == 0, result.output
    assert "recipe      deit.tiny" in result.stdout
    assert "20 epochs of 17 steps of 64 images" in result.stdout
    assert "12 rows, each differs from the baseline, but for 1" in result.stdout
    assert "'no random erasing' failed where it was published" in result.stderr


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_rows_that_are_not_run_and_rows_that_fail(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that diverges as it did in print, one that does not, and one that is only printed."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    wild = {"optimiser.lr": 1e12, "schedule.min_lr": 1e12}
    rows = [
        Row("as published", wild, {"top1": 0.1}, expects_failure="diverged"),
        Row("trains here", {"augment.flip": 0.5}, expects_failure="diverged"),
        Row("theirs", {}, {"top1": 80.0}, not_run="published elsewhere"),
    ]
    made = plan(Ablation("?", rows, {"top1": 70.0}, baseline=tiny), Setting(scale=Scale({"epochs": 2})), tmp_path)
    for _, recipe in made.ablation.resolve(made.baseline):  # one by one they need no cluster
        run_training(recipe, root=tmp_path)
    run_ablation(made.baseline, made.ablation, Repeats([0]), name="x", root=tmp_path)
    result = CliRunner().invoke(main, ["--storage", str(tmp_path), "report", "x"])
    lines = {line[:13].strip(): line for line in result.stdout.splitlines()}
    assert "failed, as published" in lines["as published"]
    assert "not run" in lines["theirs"]
    assert "80" in lines["theirs"]
    assert "trains here failed where it was published (diverged); it trains here." in result.stdout
    assert "theirs was not run: published elsewhere." in result.stdout
    assert "At the declared scale epochs=2" in result.stdout
    stored = yaml.safe_load((tmp_path / "studies" / "x" / "study.yaml").read_text())
    assert stored["rows"][3] | {"cells": {}, "not_run": "published elsewhere"} == stored["rows"][3]


def test_a_table_that_is_made_of_a_recipe_brings_its_baseline() -> None:
    """What the table's baseline needs, the recipe need not have: a second stage, other heads."""
    digits = find_recipe("digits.deit_small_patch4").with_({"augment.mixup": 0.0, "augment.cutmix": 0.0})
    tuned = find_ablation("grafit.T2_8_ft", digits).baseline
    assert tuned.after is not None
    assert tuned.after.model == tuned.model == digits.model
    assert find_ablation("thesis.T3_21", digits).baseline == digits.with_({"model.heads": 6})
    assert find_ablation("digits.heads", digits).baseline == digits
