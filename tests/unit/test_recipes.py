"""The recipes of the thesis: each field against `recipes/thesis.yaml`, each record, and each one trained small."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from interplay.cli import main
from interplay.data import array_loaders
from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_function, find_recipe, fingerprint, record_of
from interplay.recipe.find import names
from interplay.recipe.smoke import smoke
from interplay.training import Outcome, fit, save
from recipes.sources import NOT_BUILT, Origin, Sources, origin_of, procedures, sources_of
from recipes.sources.page import recipes_markdown, stages
from recipes.sources.terms import ELSEWHERE, TERMS, UNBUILT_TERMS
from recipes.sources.why import UNSTATED, observed, same

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
THESIS = [name for name in names("recipes") if origin_of(find_function(name, package="recipes")) is not None]
"""Every recipe of the thesis; `digits` is our own."""


recipe_of = functools.cache(find_recipe)


@functools.cache
def sources(name: str) -> Sources:
    found = sources_of(name)
    assert found is not None
    return found


# ---------------------------------------------------------------------------------------------- values
def explains(because: Any, path: str) -> str | None:
    """The key that explains a departure: the path itself or what it is directly in, never everything."""
    return next((key for key in (path, path.rpartition(".")[0]) if key and key in because), None)


def disagreements(recipe: Recipe, name: str) -> list[str]:
    """Paths of `recipe` that are neither what its procedure states nor explained, and explanations of nothing."""
    found, family = sources(name), recipe.model.family
    stated, values, because = found.expected(family), observed(recipe), found.origin.because
    wrong, used = [], set()
    for path, (value, term) in stated.items():
        if path not in values or not same(value, values[path]):
            key = explains(because, path)
            used.add(key)
            if key is None:
                wrong.append(f"{path}={values.get(path)!r}, but {term} is {value!r}")
    unstated = [path for path in values if path not in stated]
    for path in unstated:
        usual = path in UNSTATED and same(UNSTATED[path][0], values[path])
        if not usual and found.because(path) is None and not found.why(path, values[path], family):
            wrong.append(f"{path}={values[path]!r} has no source")
    for key in because:
        if key and key not in used and not any(f"{path}.".startswith(f"{key}.") for path in unstated):
            wrong.append(f"because[{key!r}] explains nothing")
    return wrong


@pytest.mark.parametrize("name", THESIS)
def test_every_value_is_the_thesiss(name: str) -> None:
    assert not disagreements(recipe_of(name), name)


@pytest.mark.parametrize(
    ("name", "path", "value", "term"),
    [
        ("deit.small", "optimiser.weight_decay", 0.5, "weight_decay is 0.05"),
        ("deit.small", "model.drop_path_rule", "uniform", "drop_path_mode is 'linear'"),
        ("deit.small", "model.width", 192, "model.width=192 has no source"),
        ("deit.small", "augment.erasing_count", 2, "augment.erasing_count=2 has no source"),
        ("deit.base_distilled", "distillation.weight", 0.1, "distill_lambda is 0.5"),
        ("deit.base_distilled", "model.second_token", "none", "distillation_token is 'distillation'"),
        ("deit.base_384", "model.drop_path", 0.1, "drop_path is 0.0"),
        ("deit.base_384", "after", None, "init_from is 'deit_in1k'"),
        ("cait.m48", "model.drop_path", 0.3, "drop_path is 0.4"),
        ("cait.xxs36", "model.scale.init", 1e-5, "layerscale_init is 1e-06"),
        ("transfer.cifar100", "optimiser.lr", 1e-4, "lr is 1e-05"),
        ("transfer.deit3_base_flowers102", "trainable", "all", "trainable is 'attention'"),
        ("strikes_back.a2", "augment.mixup", 0.2, "mixup_alpha is 0.1"),
        ("strikes_back.a2", "seeds.order", 3, "seeds.order=3 has no source"),
        ("deit3.large_in21k", "augment.crop", "resize", "crop is 'simple_random_crop'"),
        ("deit3.large", "optimiser.clip_grad", None, "grad_clip is 1.0"),
    ],
)
def test_another_value_is_noticed(name: str, path: str, value: object, term: str) -> None:
    found = disagreements(recipe_of(name).with_({path: value}), name)
    assert any(term in line for line in found), found


@pytest.mark.parametrize("name", THESIS)
def test_what_is_assumed_after_another_recipe_is_as_there(name: str) -> None:
    recipe, found = recipe_of(name), sources(name)
    values, stated = observed(recipe), found.expected(recipe.model.family)
    for path, value in values.items():
        like = re.search(r"\bas (?:in )?(\w+\.\w+)", found.because(path) or "")
        usual = path in UNSTATED and same(UNSTATED[path][0], value)
        if like and not usual and path not in stated:
            other = observed(recipe_of(like[1]))
            assert path not in other or same(value, other[path]), (path, found.because(path))


def test_a_term_is_of_the_recipe_or_listed_with_a_reason() -> None:
    built, unbuilt = set(), set()
    for name, facts in procedures().items():
        own = {*facts.values, *(t for d in (facts.per_model, facts.per_dataset) for v in d.values() for t in v)}
        (unbuilt if name in NOT_BUILT else built).update(own)
    assert built <= TERMS.keys() | ELSEWHERE.keys()
    assert built | unbuilt <= TERMS.keys() | ELSEWHERE.keys() | UNBUILT_TERMS
    assert TERMS.keys() | ELSEWHERE.keys() | UNBUILT_TERMS <= built | unbuilt, "a term that no procedure has"
    assert not TERMS.keys() & ELSEWHERE.keys()
    assert not built & UNBUILT_TERMS


def test_a_procedure_has_recipes_or_a_reason_why_not() -> None:
    built = {sources(name).procedure.name for name in THESIS}
    assert built | NOT_BUILT.keys() == procedures().keys()
    assert not built & NOT_BUILT.keys()


@pytest.mark.parametrize("name", [name for name in procedures() if name not in NOT_BUILT])
def test_every_model_and_data_set_of_a_procedure_has_a_recipe(name: str) -> None:
    facts = procedures()[name]
    origins = [sources(recipe).origin for recipe in THESIS]
    mine = [origin for origin in origins if origin.procedure == name]
    assert facts.per_model.keys() <= {origin.model for origin in mine}
    assert facts.per_dataset.keys() <= {origin.dataset for origin in mine}


@pytest.mark.parametrize("name", [name for name in procedures() if name not in NOT_BUILT])
def test_rates_are_the_base_times_the_batch(name: str) -> None:
    values = procedures()[name].stated()
    if "lr_base" in values and "lr" in values:
        assert values["lr"] == pytest.approx(values["lr_base"] * values["batch_size"] / values["lr_base_batch"])


@pytest.mark.parametrize("name", procedures())
def test_the_choice_in_a_conflict_is_the_value(name: str) -> None:
    facts = procedures()[name]
    for conflict in facts.conflicts:
        assert conflict.says
        choice = conflict.choice
        if conflict.key in facts.values and isinstance(choice, int | float) and not facts.per_model:
            assert facts.values[conflict.key] == choice, conflict.key


def test_all_facts_of_the_thesis_are_there() -> None:
    found = procedures().values()
    assert len(found) == 67
    assert sum(len(facts.values) for facts in found) == 1869
    assert sum(len(facts.conflicts) for facts in found) == 61


# --------------------------------------------------------------------------------------------- records
@pytest.mark.parametrize("name", THESIS)
def test_a_record_says_what_the_recipe_is(name: str) -> None:
    record, recipe = record_of(find_function(name, package="recipes")), recipe_of(name)
    assert recipe.name == name
    assert record.run.startswith(f"interplay train {name}")
    assert record.source.startswith("thesis ")
    assert f"{recipe.schedule.epochs} epochs" in record.cost
    assert f"at {recipe.data.resolution}" in record.cost
    assert (recipe.after is None) == (" first, then " not in record.cost)
    assert (recipe.distillation.kind == "none") == (" -s distillation.teacher" not in record.run)


def test_stages_are_recipes_of_their_own() -> None:
    assert stages("deit3.base_192_to_224") == ["deit3.base_192_800", "deit3.base_192_to_224"]
    for name in THESIS:
        recipe = recipe_of(name)
        while recipe.after is not None:
            assert recipe.after == recipe_of(recipe.after.name)
            recipe = recipe.after


def test_the_page_is_current() -> None:
    again = "python -m recipes.sources.page > docs/recipes.md"
    assert PAGE.read_text(encoding="utf-8") == recipes_markdown(), f"make it anew: {again}"


# -------------------------------------------------------------------------------------------- training
Train = Callable[[Recipe], Outcome]
QUICK = {
    "baselines.steiner",
    "cait.xxs24_distilled_384",
    "deit.tiny_soft",
    "deit3.small_in21k_to_1k",
    "grafit.baseline_cifar100",
    "patchconvnet.s60_in21k_to_1k",
    "resmlp.s12_p8",
    "strikes_back.a2",
    "transfer.deit3_small_flowers102",
}


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains a smoke form on random images, after its earlier stage; another data set has other classes."""
    folder, rng = tmp_path_factory.mktemp("smoke"), np.random.default_rng(0)

    def split(count: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.integers(0, 256, (count, 40, 40, 3)).astype(np.uint8), np.arange(count) % classes

    data = {k: {"train": split(16, k), "val": split(8, k)} for k in (3, 4)}
    teachers = {}
    for classes, splits in data.items():
        recipe = smoke(recipe_of("deit.regnety_16gf"))
        teachers[classes] = folder / f"teacher{classes}.pt"
        save(fit(recipe, array_loaders(splits, recipe)).state, teachers[classes])

    outcomes: dict[str, Outcome] = {}

    def earlier(recipe: Recipe, classes: int) -> int:
        """Classes of the earlier stage."""
        alike = recipe.after is not None and recipe.after.data.dataset == recipe.data.dataset
        return classes if alike else 7 - classes

    def identity(recipe: Recipe, classes: int) -> str:
        first = "" if recipe.after is None else identity(recipe.after, earlier(recipe, classes))
        return fingerprint(recipe, str(classes), first)

    def run(recipe: Recipe, classes: int = 4) -> Outcome:
        cell = identity(recipe, classes)
        if cell not in outcomes:  # sizes of a family often differ in nothing else
            outcomes[cell] = once(recipe, classes)
        return outcomes[cell]

    def once(recipe: Recipe, classes: int) -> Outcome:
        if recipe.after is not None:
            first = run(recipe.after, earlier(recipe, classes))
            save(first.state, folder / "first.pt")
            recipe = recipe.model_copy(update={"after": None}).with_({"start": str(folder / "first.pt")})
        if recipe.distillation.kind != "none":
            recipe = recipe.with_({"distillation.teacher.checkpoint": str(teachers[classes])})
        return fit(recipe, array_loaders(data[classes], recipe))

    return run


def learns(train: Train, name: str) -> None:
    recipe = smoke(recipe_of(name))
    outcome = train(recipe)
    assert np.isfinite(outcome.metrics["train/loss"])
    assert 0 <= outcome.metrics["val/top1"] <= 100
    before = {key: value for key, value in outcome.state["model"].items() if value.is_floating_point()}
    assert all(torch.isfinite(value).all() for value in before.values())


@pytest.mark.parametrize("name", sorted(QUICK))
def test_one_of_each_family_trains(train: Train, name: str) -> None:
    learns(train, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*THESIS} - QUICK))
def test_every_recipe_trains(train: Train, name: str) -> None:
    learns(train, name)


@pytest.mark.parametrize("name", names("recipes"))
def test_a_smoke_form_is_the_same_procedure(name: str) -> None:
    recipe = recipe_of(name)
    small = smoke(recipe)
    kept = ("augment", "loss", "optimiser", "average", "seeds", "precision", "trainable")
    assert all(getattr(small, part) == getattr(recipe, part) for part in kept)
    assert small.schedule.kind == recipe.schedule.kind
    assert small.distillation.kind == recipe.distillation.kind
    assert small.model.family == recipe.model.family
    for field in ("drop_path", "drop_path_rule", "scale", "second_token", "talking_heads", "norm", "dropout"):
        assert getattr(small.model, field, None) == getattr(recipe.model, field, None)
    assert (small.after is None) == (recipe.after is None)
    assert smoke(small) == small


def test_a_teacher_that_is_not_given_is_asked_for(train: Train) -> None:
    recipe = smoke(recipe_of("deit.small_distilled"))
    data = {"train": (np.zeros((16, 40, 40, 3), dtype=np.uint8), np.arange(16) % 4)}
    with pytest.raises(
        InterplayError, match=r"set distillation\.teacher|distillation\.teacher\.checkpoint is not set"
    ):
        fit(recipe, array_loaders(data, recipe))


def test_a_teacher_is_given_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "regnety_160.pth"
    torch.save({}, file)
    recipe = recipe_of("deit.small_distilled").with_({"distillation.teacher.checkpoint": str(file)})
    assert recipe.distillation.kind == "hard"
    assert recipe.distillation.teacher.digest
    assert recipe.distillation.teacher.model == recipe_of("deit.regnety_16gf").model.model_copy(
        update={"drop_path": 0.0}
    )


# -------------------------------------------------------------------------------------------- commands
def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["recipe", *arguments])


def printed(*arguments: str) -> list[str]:
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert not [line for line in lines if line != line.rstrip()]
    return lines


def test_list_names_every_recipe_with_its_accuracy() -> None:
    lines = printed("list")
    assert [line.split()[0] for line in lines] == names("recipes")
    assert "deit.tiny" in {line.split()[0] for line in printed("list", "deit")}
    assert next(line for line in lines if line.startswith("deit.tiny ")).endswith(
        "[ImageNet-1k val top-1 72.2 (T3.3, T3.5)]"
    )
    assert {line.partition(".")[0] for line in printed("list", "resmlp")} == {"resmlp"}
    refused = command("list", "resmpl")
    assert refused.exit_code == 2
    assert "families are baselines, cait, deit" in refused.output


def test_show_prints_every_value_with_changes() -> None:
    lines = printed("show", "deit.base_384", "-s", "data.resolution=448")
    assert next(line for line in lines if line.split()[:1] == ["resolution"]).split() == ["resolution", "448"]
    assert ["after", "deit.base"] in [line.split() for line in lines]
    assert [line for line in lines if line == line.lstrip()] == [
        *("recipe", "model", "data", "augment", "loss", "distillation", "embedding"),
        *("optimiser", "schedule", "average", "evaluation", "seeds"),
    ]


def test_show_why_has_a_source_for_each_value_and_the_conflicts_below() -> None:
    lines = printed("show", "deit3.large_in21k", "--why")
    values, _, notes = "\n".join(lines).partition("where sources disagree, or are silent")
    assert re.search(r"^  drop_path +0\.3 +T6\.14 per_model, for vit_l$", values, re.MULTILINE)
    assert re.search(r"^  lr +0\.001 +code README_revenge; thesis 3e-3$", values, re.MULTILINE)
    assert "set here" not in values
    assert "lr: 0.001, because commands with logs" in notes
    assert "thesis: 3e-3 at batch 2048 (T6.1)" in notes
    assert max(map(len, lines)) <= 100


def test_show_why_tells_assumptions_and_changes_apart() -> None:
    text = "\n".join(printed("show", "cait.s24_384", "--why", "-s", "optimiser.eps=1e-6", "-s", "augment.mixup=0.2"))
    assert re.search(r"^  epochs +30 +assumed: not stated; as deit.base_384$", text, re.MULTILINE)
    assert re.search(r"^  mixup +0\.2 +changed; the procedure has 0\.8 \(T3\.9\)$", text, re.MULTILINE)
    assert "not stated by any source: epochs, lr, weight_decay" in text


def test_show_why_of_our_own_recipe_is_refused() -> None:
    result = command("show", "digits.deit_small_patch4", "--why")
    assert result.exit_code == 2
    assert "digits.deit_small_patch4 is no recipe of the thesis" in result.output


def test_diff_prints_what_differs_in_groups() -> None:
    lines = printed("diff", "deit.small", "deit3.small")
    assert lines[0].split() == ["deit.small", "deit3.small"]
    rows = {" ".join(line.split()) for line in lines}
    assert {"drop_path_rule linear uniform", "kind adamw lamb", "policy.std 0.5 —", "epochs 300 400"} <= rows
    assert not any(row.startswith(("resolution", "flip", "width")) for row in rows)
    column = lines[0].index("deit3.small")
    assert all(
        len(line) <= 100 and line[column - 1] == " " for line in lines if line.startswith("  ") and column < len(line)
    )
    assert printed("diff", "deit.small", "deit.small") == ["deit.small and deit.small are the same"]
    assert command("diff", "deit.small", "deit.smal").exit_code == 2


def test_an_origin_says_nothing_of_itself() -> None:
    assert sources_of("digits.deit_small_patch4") is None
    assert sources("deit.small").origin == Origin("deit_in1k", "deit_s")
