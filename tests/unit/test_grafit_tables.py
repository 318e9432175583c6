"""The tables of thesis chapter 2 as ablations, and the spaces around Grafit."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from optuna.trial import FixedTrial

from interplay.data import array_loaders
from interplay.errors import InterplayError
from interplay.recipe import ByHead, ByNearest, NoEmbedding, NoRetrieval, Recipe, find_function, find_recipe
from interplay.recipe.find import names
from interplay.recipe.smoke import smoke
from interplay.study.ablation import Ablation
from interplay.study.foresight.preflight import dead_dimensions
from interplay.study.needs import placeholders
from interplay.training import fit
from search_spaces import grafit
from search_spaces.ablations.sources.chapter2 import tables

PACKAGE = "search_spaces.ablations"
TABLES = [name for name in names(PACKAGE) if name.startswith("grafit.")]
TUNED_TABLES = [name for name in TABLES if name.endswith("_ft")]
LEVELS = ("", *(f"_level{n}" for n in range(1, 7)))
DATASETS = ("cifar100", "imagenet1k", "inat18", "inat19")


@functools.cache
def ablation(name: str) -> Ablation:
    found = find_function(name, PACKAGE)()
    assert isinstance(found, Ablation)
    return found


def trained(found: Ablation) -> list[tuple[str, Recipe]]:
    assert found.baseline is not None
    return [
        (row.label, row.of(found.baseline))
        for row in found.lines()
        if not row.not_run and not placeholders(row.changes)
    ]


def test_every_line_is_there() -> None:
    assert sum(len(table.lines) for table in tables().values()) == 235
    assert len(TABLES) == 15 + len(TUNED_TABLES)
    assert TUNED_TABLES == ["grafit.T2_13_cifar100_ft", "grafit.T2_13_imagenet1k_ft", "grafit.T2_8_ft"]


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_is_in_a_row(name: str) -> None:
    found, tuned = ablation(name), name in TUNED_TABLES
    rows = found.lines()
    first = name.removesuffix("_ft")
    dataset = next((d for d in DATASETS if first.endswith(d)), "")
    own = first.removeprefix("grafit.").removesuffix(f"_{dataset}")
    table = next(one for one in tables().values() if own == one.id.replace(".", "_"))
    lines = [line for line in table.lines if line.changes.get("data.dataset", "") == dataset]
    printed = sorted(
        v
        for line in lines
        for k, v in line.published.items()
        if not k.startswith("params") and tuned == (k == "ft_top1")
    )
    assert lines
    shown = sorted(v for row in rows for k, v in row.published.items() if not k.startswith("params"))
    # kNN does not depend on how rankings are conditioned: such lines print it again
    assert set(shown) == set(printed)
    assert len(shown) == len(printed) - (5 if name.startswith("grafit.T2_7") else 0)


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_trainings_of_their_own(name: str) -> None:
    recipes = [recipe.model_copy(update={"name": ""}) for _, recipe in trained(ablation(name))]
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(recipes) > 1
    asked = [recipe.after if name in TUNED_TABLES else recipe for recipe in recipes]
    assert all(recipe is not None and recipe.evaluation.retrieval.kind == "nearest" for recipe in asked)


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_has_a_metric_that_is_measured(name: str) -> None:
    """A table can be run again if what it prints is under a name that a training of its rows reports."""
    found = ablation(name)
    assert found.baseline is not None
    for row in found.lines():
        if row.not_run:
            continue
        recipe, numbers = row.recipe or found.baseline, {k for k in row.published if not k.startswith("params")}
        assert isinstance(recipe, Recipe)
        assert numbers
        by = recipe.evaluation.retrieval
        known = {"top1"} if isinstance(by, NoRetrieval) else {f"{n}{s}" for n in ("knn_top1", "map") for s in LEVELS}
        if isinstance(by, ByNearest):
            known |= {"map_coarse", "map_oracle"} if recipe.data.level else set()
            known |= {"linear_top1"} if "linear" in by.probes else set()
            known |= {"separability", "separability_coarse"} if "separability" in by.probes else set()
        assert numbers <= known, row.label
        if "separability_coarse" in numbers:
            assert isinstance(recipe.embedding, NoEmbedding) or isinstance(recipe.embedding.labels, ByHead)


def test_fine_tuning_begins_with_the_lines_training() -> None:
    """T2.13: trained on the one, fine-tuned and tested on the other level; the projector is left out."""
    lines = {row.label: row for row in ablation("grafit.T2_13_cifar100_ft").lines()}
    row = lines["Grafit cifar100 coarse->fine"]
    assert (row.published, row.published_std) == ({"top1": 83.7}, {"top1": 0.2})
    recipe = row.recipe
    assert isinstance(recipe, Recipe)
    assert recipe.after is not None
    assert (recipe.after.data.level, recipe.data.level) == (1, 0)
    assert recipe.after.embedding == find_recipe("grafit.grafit_cifar100").embedding
    assert isinstance(recipe.embedding, NoEmbedding)
    assert recipe.trainable == "all"
    assert (recipe.schedule.epochs, recipe.data.batch_size, recipe.optimiser.lr) == (240, 512, 0.01)
    trained_as = {label: one.recipe.after.data.level for label, one in lines.items() if one.recipe is not None}  # type: ignore[union-attr]
    assert all(level == int("coarse->" in label) for label, level in trained_as.items())
    digits = find_recipe("digits.deit_small_patch4").with_({"augment.mixup": 0.0, "augment.cutmix": 0.0})
    small = find_function("grafit.T2_8_ft", PACKAGE)(digits)
    assert small.baseline.schedule == small.baseline.after.schedule == digits.schedule


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "label", "metrics"),
    [
        ("T2_1", "CE+Triplet, cond none", ("separability", "separability_coarse")),
        ("T2_1", "Triplet, cond none", ("separability",)),
        ("T2_1", "random network, cond none", ("separability",)),
        ("T2_2", "CE+Triplet, train coarse", ("linear_top1",)),
    ],
)
def test_probes_are_measured_with_the_training(table: str, label: str, metrics: tuple[str, ...]) -> None:
    recipe = smoke(dict(trained(ablation(f"grafit.{table}")))[label])
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        fine = np.arange(count) % 4
        return rng.integers(0, 256, (count, 40, 40, 3)).astype(np.uint8), np.stack([fine, fine // 2], axis=1)

    recipe = recipe.with_({"data.level": 1})
    found = fit(recipe, array_loaders({"train": split(16), "val": split(8), "test": split(8)}, recipe)).metrics
    assert all(0.0 <= found[f"test/{name}"] <= 100.0 for name in metrics)


def published(table: str, label: str) -> dict[str, float]:
    found = ablation(f"grafit.{table}")
    shown = {row.label: row for row in found.lines()}
    shown[found.baseline_label] = shown["baseline"]
    return dict(shown[label].published)


@pytest.mark.parametrize(
    ("table", "label", "metrics"),
    [
        (
            "T2_7_cifar100",
            "grafit/mlp/none cifar100",
            {"knn_top1": 77.7, "map": 52.9, "map_coarse": 55.7, "map_oracle": 59.3, "params_M": 32.9},
        ),
        ("T2_4_cifar100", "Grafit / cifar100", {"knn_top1": 77.7, "map_coarse": 55.7}),
        ("T2_4_cifar100", "SNCA+ / cifar100", {"knn_top1": 72.2, "map": 35.9}),
        ("T2_8", "GrafIt FC, train coarse", {"map_coarse": 44.4, "knn_top1": 69.1}),
        ("T2_8", "GrafIt FC, train fine", {"map": 72.4, "knn_top1": 79.2}),
        (
            "T2_13_cifar100",
            "Grafit cifar100 coarse->coarse",
            {"knn_top1_level1": 90.6, "knn_top1": 77.7},
        ),
        ("T2_1", "CE, cond none", {"separability": 53.7, "separability_coarse": 54.5}),
        ("T2_11", "lambda 0.0", {"map": 35.9, "knn_top1": 72.2}),
    ],
)
def test_a_rows_numbers_are_under_our_names(table: str, label: str, metrics: dict[str, float]) -> None:
    assert published(table, label) == metrics


def test_levels_are_those_of_the_lines() -> None:
    recipes = dict(trained(ablation("grafit.T2_5_inat18")))
    levels = [r.data.level for label, r in recipes.items() if label.startswith(("Grafit", "baseline"))]
    assert levels == [None, 6, 5, 4, 3, 2, 1, 0]
    assert all(recipe.data.dataset == "inat18" for recipe in recipes.values())
    given = [one.name for row in ablation("grafit.T2_5_inat18").rows for one in placeholders(row.changes)]
    assert given == [f"clusters_{r}" for r in ("kingdom", "phylum", "class", "order", "family", "genus", "species")]
    assert dict(trained(ablation("grafit.T2_11")))["lambda 0.2"].embedding.instance.weight == 0.2  # type: ignore[union-attr]


def test_a_baseline_gives_data_model_and_schedule() -> None:
    digits = find_recipe("digits.deit_small_patch4").with_({"augment.mixup": 0.0, "augment.cutmix": 0.0})
    found = find_function("grafit.T2_7_cifar100", PACKAGE)(digits)
    recipes = dict(trained(found))
    assert len(recipes) == 7
    for recipe in recipes.values():
        assert (recipe.model, recipe.schedule, recipe.data.dataset) == (digits.model, digits.schedule, "digits")
        assert recipe.data.level == 1
    assert recipes["grafit/mlp/none cifar100"].augment.views == 8


@pytest.mark.parametrize("label", ["knn/fc/none cifar100", "grafit/mlp/none cifar100", "ce_inst/none/none cifar100"])
def test_a_row_trains_at_a_small_scale(label: str) -> None:
    recipe = smoke(dict(trained(ablation("grafit.T2_7_cifar100")))[label])
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (count, 40, 40, 3)).astype(np.uint8), np.arange(count) % 4

    metrics = fit(recipe, array_loaders({"train": split(16), "val": split(8)}, recipe)).metrics
    assert 0.0 <= metrics["val/knn_top1"] <= 100.0
    assert np.isfinite(metrics["train/loss"])


# ----------------------------------------------------------------------------------------------- spaces
SPACES = ("default", "weight", "sigma", "width", "views", "target_decay")


@pytest.mark.parametrize("name", SPACES)
def test_every_dimension_changes_the_training(name: str) -> None:
    recipe = smoke(find_recipe("grafit.grafit_cifar100"))
    dimensions, dead = dead_dimensions(getattr(grafit, name), recipe, draws=6)
    assert dimensions
    assert not dead


def test_the_default_space_has_what_the_embedding_has() -> None:
    def paths(recipe: str) -> set[str]:
        values: dict[str, Any] = {
            "embedding.instance.weight": 0.4,
            "augment.views": 6,
            "embedding.instance.target_decay": 0.9,
            "embedding.labels.sigma": 0.1,
            "embedding.projector.width": 64,
            "embedding.projector.hidden": 1024,
        }
        return set(grafit.default(FixedTrial(values), find_recipe(recipe)))

    everything = paths("grafit.grafit_cifar100")
    assert len(everything) == 6
    assert paths("grafit.snca") == {"embedding.labels.sigma", "embedding.projector.width"}
    assert paths("grafit.ce_inst") == everything - {
        "embedding.labels.sigma",
        "embedding.projector.width",
        "embedding.projector.hidden",
    }


@pytest.mark.parametrize(
    ("space", "recipe", "message"),
    [
        ("default", "digits.deit_small_patch4", "learns no embedding"),
        ("weight", "grafit.snca", r"no instance loss to weigh; set embedding\.instance=likeness"),
        ("views", "grafit.snca", "compares no views"),
        ("target_decay", "grafit.granularity_probe", "no slow copy"),
        ("sigma", "grafit.ce_inst", "no kNN loss"),
        ("width", "grafit.ce_inst", r"no projector; set embedding\.projector=mlp"),
    ],
)
def test_a_space_that_does_not_fit_says_so(space: str, recipe: str, message: str) -> None:
    with pytest.raises(InterplayError, match=message):
        getattr(grafit, space)(FixedTrial({}), find_recipe(recipe))
