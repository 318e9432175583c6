"""What is known before training: every change is seen, and what changes nothing is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from interplay.errors import InterplayError
from interplay.recipe import RandAugment, Recipe, ThreeAugment, TimmModel, find_recipe
from interplay.study.ablation import Ablation, Row
from interplay.study.foresight.effects import effects
from interplay.study.foresight.preflight import check_dimensions, check_rows, dead_dimensions
from search_spaces import digits
from search_spaces.ablations.digits import leave_one_out_demo

CHANGES: list[dict[str, Any]] = [
    {"model.width": 32},
    {"model.depth": 3},
    {"model.heads": 4},
    {"model.patch_size": 8},
    {"model.mlp_ratio": 2.0},
    {"model.qkv_bias": False},
    {"model.pool": "average"},
    {"model.position": "patches"},
    {"model.scale": "none"},
    {"model.scale.init": 0.2},
    {"model.drop_path": 0.1},
    {"model.dropout": 0.1},
    {"model.init_std": 0.02},
    {"data.resolution": 32},
    {"data.batch_size": 16},
    {"data.interpolation": "bilinear"},
    {"augment.crop": "resize"},
    {"augment.crop.scale": [0.5, 1.0]},
    {"augment.crop.ratio": [0.5, 1.0]},
    {"augment.flip": 0.5},
    {"augment.policy": "three_augment"},
    {"augment.policy": "rand_augment"},
    {"augment.color_jitter": 0.3},
    {"augment.erasing": 0.5},
    {"augment.mixup": 0.8},
    {"augment.cutmix": 1.0},
    {"augment.repeats": 2},
    {"loss": "bce"},
    {"loss.smoothing": 0.1},
    {"optimiser": "lamb"},
    {"optimiser.lr": 1e-3},
    {"optimiser.weight_decay": 0.5},
    {"optimiser.betas": [0.9, 0.99]},
    {"optimiser.eps": 1e-3},
    {"optimiser.clip_grad": 0.1},
    {"schedule.epochs": 3},
    {"schedule.warmup_epochs": 0},
    {"schedule.warmup_lr": 1e-4},
    {"schedule.min_lr": 1e-4},
    {"schedule.per": "epoch"},
    {"evaluation.crop_ratio": 0.5},
    {"evaluation.every": 2},
    {"seeds.init": 1},
    {"seeds.order": 1},
    {"seeds.augment": 1},
    {"precision": "bf16"},
]


@pytest.fixture(scope="module")
def seen() -> dict[str, str]:
    """`effects` of recipes by their content, so that a baseline is hashed once."""
    return {}


def effects_of(recipe: Recipe, seen: dict[str, str]) -> str:
    key = recipe.model_dump_json()
    if key not in seen:
        seen[key] = effects(recipe)
    return seen[key]


@pytest.mark.parametrize("changes", CHANGES, ids=lambda c: " ".join(f"{k}={v}" for k, v in c.items()))
def test_every_change_is_seen(tiny: Recipe, seen: dict[str, str], changes: dict[str, Any]) -> None:
    assert effects_of(tiny.with_(changes), seen) != effects_of(tiny, seen)


@pytest.mark.parametrize(
    "changes",
    [{"augment.policy.magnitude": 3.0}, {"augment.policy.std": 2.0}, {"augment.policy.layers": 1}],
    ids=str,
)
def test_a_policy_s_own_values_are_seen(tiny: Recipe, seen: dict[str, str], changes: dict[str, Any]) -> None:
    base = tiny.with_({"augment.policy": RandAugment()})
    assert effects_of(base.with_(changes), seen) != effects_of(base, seen)


def test_a_policy_s_ranges_are_seen(tiny: Recipe) -> None:
    base = tiny.with_({"augment.policy": ThreeAugment()})
    assert effects(base) != effects(base.with_({"augment.policy.blur_radius": [0.1, 1.0]}))


@pytest.mark.parametrize("changes", [{"data.resolution": 256}, {"model.drop_path": 0.2}], ids=str)
def test_changes_of_a_timm_model_are_seen(tiny: Recipe, changes: dict[str, Any]) -> None:
    base = tiny.with_({"model": TimmModel(name="resnet18"), "data.resolution": 224})
    assert effects(base) != effects(base.with_(changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "another"},
        {"augment.mix_switch_prob": 0.9},  # CutMix is off
        {"augment.mix_prob": 0.1},  # so is mixup
        {"model.drop_path_rule": "uniform"},  # the rate is 0
    ],
    ids=str,
)
def test_what_changes_nothing_has_no_effect(tiny: Recipe, seen: dict[str, str], changes: dict[str, Any]) -> None:
    assert effects_of(tiny.with_(changes), seen) == effects_of(tiny, seen)


DEAD: list[tuple[str, dict[str, Any]]] = [
    ("augment.mix_switch_prob", {"augment.mixup": 0.2}),
    ("augment.mix_prob", {}),
    ("model.drop_path_rule", {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("dead", "base"), DEAD, ids=[name for name, _ in DEAD])
def test_dead_dimensions(tiny: Recipe, dead: str, base: dict[str, Any]) -> None:
    def space(trial: Any) -> Mapping[str, Any]:
        alive = {"model.scale.init": trial.suggest_float("model.scale.init", 0.1, 1.0)}
        if dead == "model.drop_path_rule":
            return alive | {dead: trial.suggest_categorical(dead, ["linear", "uniform"])}
        return alive | {dead: trial.suggest_float(dead, 0.1, 0.9)}

    assert dead_dimensions(space, tiny.with_(base), draws=4) == (sorted([dead, "model.scale.init"]), [dead])
    with pytest.raises(InterplayError, match=f"mine: '{dead}' changes neither the model, nor the batches"):
        check_dimensions(space, tiny.with_(base), "mine")


def test_a_dimension_nobody_reads_is_dead(tiny: Recipe) -> None:
    def space(trial: Any) -> Mapping[str, Any]:
        trial.suggest_float("forgotten", 0.0, 1.0)
        return {"model.drop_path": trial.suggest_float("model.drop_path", 0.1, 0.5)}

    assert dead_dimensions(space, tiny, draws=4)[1] == ["forgotten"]


def test_the_digits_space_is_alive() -> None:
    names, dead = dead_dimensions(digits.demo, find_recipe("digits.deit_small_patch4"))
    assert len(names) == 6
    assert dead == []


def test_a_space_without_a_recipe(tiny: Recipe) -> None:
    with pytest.raises(InterplayError, match=r"model\.heads=3 does not divide"):
        dead_dimensions(lambda trial: {"model.heads": trial.suggest_int("model.heads", 3, 3)}, tiny)


def test_ablations_with_a_row_that_changes_nothing_are_refused(tiny: Recipe) -> None:
    assert len(check_rows(leave_one_out_demo(), find_recipe("digits.deit_small_patch4"))) == 5
    rows = [Row("flips", {"augment.flip": 0.5}), Row("no mixup", {"augment.mixup": 0.0})]
    with pytest.raises(InterplayError, match="row 'no mixup' trains exactly as the baseline does"):
        check_rows(Ablation("?", rows), tiny)
