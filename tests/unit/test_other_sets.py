"""Further test sets of a recipe: measured once per cell, part of its identity, refused before training starts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from interplay.cli import main
from interplay.data import from_samples
from interplay.data.loader import beton_loaders
from interplay.data.manifest import manifest_path
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from interplay.evaluation import answers_of
from interplay.recipe import Recipe, fingerprint, flatten, from_yaml, parse_assignments, to_yaml
from interplay.recipe.smoke import smoke
from interplay.studies import run_training
from interplay.study.cells import cell_of
from interplay.tracking.store import CellResult, CellStore
from interplay.training.scores import several_right, summary

CLASSES = list("abc")
COUNT = 31


def pictures(count: int, seed: int) -> list[tuple[np.ndarray, int]]:
    """Noise, brighter from class to class."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    return [(rng.integers(0, 120, (20, 20, 3), dtype=np.uint8) + np.uint8(60 * n), int(n)) for n in labels]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is trained on, and further sets: their labels named in another order, with splits and without."""
    folder = tmp_path_factory.mktemp("sets")
    write_beton(
        from_samples(pictures(120, 0), classes=CLASSES), folder / "datasets" / "trained.beton", val=0.2, test=0.2
    )
    others = pictures(COUNT, 1)
    write_beton(from_samples(others, classes=CLASSES), folder / "v2.beton")
    turned = [(image, (2, 0, 1)[label]) for image, label in others]
    write_beton(from_samples(turned, classes=list("bca")), folder / "turned.beton")
    write_beton(from_samples(others, classes=["a", "b", "zebra"]), folder / "strange.beton")
    (folder / "real.json").write_text(
        json.dumps([[label, 2] if n % 4 else [] for n, (_, label) in enumerate(others)])
    )
    return folder


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    return tiny.with_({"data.dataset": "trained", "schedule.epochs": 1, "schedule.warmup_epochs": 0})


def naming(**sets: Any) -> dict[str, Any]:
    return {f"evaluation.also.{name}": value for name, value in sets.items()}


def with_sets(recipe: Recipe, root: Path) -> Recipe:
    real = {"dataset": str(root / "v2.beton"), "right_labels": str(root / "real.json")}
    return recipe.with_(naming(v2=str(root / "v2.beton"), turned=str(root / "turned.beton"), real=real))


def trained(recipe: Recipe, root: Path) -> tuple[Path, CellResult]:
    """The cell of the recipe with all sets; training it again finds it finished."""
    full = with_sets(recipe, root)
    assert run_training(full, root=root, name="sets").complete
    store, cell = CellStore(root), cell_of(full, root)
    found = store.result(cell.fingerprint)
    assert found is not None
    return store.directory(cell.fingerprint), found


@pytest.mark.slow
def test_every_set_is_in_the_result(recipe: Recipe, root: Path) -> None:
    folder, found = trained(recipe, root)
    answers = answers_of(folder, str(root / "v2.beton"), root, split="train")
    assert len(answers.labels) == COUNT
    expected = summary(answers)
    for name in ("top1", "top5", "loss"):
        assert found.metrics[f"v2/{name}"] == pytest.approx(expected[name], rel=1e-6)
        assert found.metrics[f"turned/{name}"] == pytest.approx(found.metrics[f"v2/{name}"], rel=1e-6)
    right = dict(enumerate(json.loads((root / "real.json").read_text())))
    expected = several_right(answers, right)
    assert {name: found.metrics[f"real/{name}"] for name in expected} == pytest.approx(expected)
    assert found.metrics["real/images"] == COUNT - 8
    assert "test/top1" in found.metrics


def test_the_test_split_is_measured_where_there_is_one(recipe: Recipe, root: Path) -> None:
    again = recipe.with_(naming(same=str(root / "datasets" / "trained.beton")))
    loaders = beton_loaders(root / "datasets" / "trained.beton", again)
    assert loaders.test is not None
    assert loaders.also["same"].loader.samples == loaders.test.samples


def test_a_checkpoint_can_be_evaluated_where_its_sets_are_not(recipe: Recipe, root: Path, tmp_path: Path) -> None:
    folder, _ = trained(recipe, root)
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    cell = moved / folder.relative_to(root)
    text = (cell / "recipe.yaml").read_text().replace(str(root), "/nowhere")
    assert flatten(from_yaml(text))["evaluation.also.v2.dataset"] == "/nowhere/v2.beton"
    command = ["--storage", str(moved), "evaluate", str(cell), "--data", "trained"]
    assert CliRunner().invoke(main, command).exit_code == 0


# ----------------------------------------------------------------------------------------- identity
def test_identity_is_the_content_and_the_name(recipe: Recipe, root: Path, tmp_path: Path) -> None:
    digest = "d" * 64
    copy = tmp_path / "copy.beton"
    for source, target in ((root / "v2.beton", copy), (manifest_path(root / "v2.beton"), manifest_path(copy))):
        shutil.copy(source, target)
    one = recipe.with_(naming(v2=str(root / "v2.beton")))
    assert fingerprint(recipe.with_(naming(v2=str(copy))), digest) == fingerprint(one, digest)
    others = [
        recipe,
        recipe.with_(naming(v3=str(copy))),
        recipe.with_(naming(v2=str(root / "turned.beton"))),
        one.with_({"evaluation.also.v2.right_labels": str(root / "real.json")}),
    ]
    assert len({fingerprint(r, digest) for r in [one, *others]}) == 5
    assert recipe.with_({"evaluation.also": {}}) == recipe


def test_yaml_brings_the_sets_back(recipe: Recipe, root: Path) -> None:
    full = with_sets(recipe, root)
    assert from_yaml(to_yaml(full)) == full
    assert isinstance(hash(full), int)
    assert not smoke(full).evaluation.also


def test_the_command_line_names_a_set(root: Path) -> None:
    words = [f"evaluation.also.real.right_labels={root / 'real.json'}", f"evaluation.also.real={root / 'v2.beton'}"]
    (name, real), *rest = Recipe().with_(parse_assignments(words)).evaluation.also
    assert (name, rest) == ("real", [])
    assert len(real.digest) == 64
    assert len(real.labels_digest) == 16


# ----------------------------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("v2", "{root}/missing.beton", "there is no data set {root}/missing.beton; write one"),
        ("v2", "digits", "there is no data set digits; write one with interplay data write SOURCE"),
        ("test", "{root}/v2.beton", "cannot be called 'test' in metrics; name it as v2 or real"),
        ("v/2", "{root}/v2.beton", "cannot be called 'v/2'"),
        (
            "v2",
            {"dataset": "{root}/v2.beton", "right_label": "r.json"},
            "has no 'right_label'; give",
        ),
        ("v2", {"dataset": "{root}/v2.beton", "right_labels": "{root}/none.json"}, "right_labels='{root}/none.json'"),
    ],
)
def test_a_set_that_cannot_be_named(recipe: Recipe, root: Path, name: str, value: Any, fix: str) -> None:
    value = json.loads(json.dumps(value).replace("{root}", str(root)))
    with pytest.raises(InterplayError, match=re.escape(fix.replace("{root}", str(root)))) as caught:
        recipe.with_(naming(**{name: value}))
    assert "\n" not in str(caught.value)


def test_a_mapping_is_wanted(recipe: Recipe) -> None:
    with pytest.raises(InterplayError, match="is not a mapping of names to data sets"):
        recipe.with_({"evaluation.also": "v2.beton"})


@pytest.mark.parametrize(
    ("labels", "fix"),
    [
        ([[0]] * (COUNT + 1), f"position {COUNT}, outside 0..{COUNT - 1}"),
        ([[0, 3]], "label 3 of 3 classes"),
        ([[]], "has no labels"),
        ([0], "labels are lists of whole numbers"),
    ],
)
def test_labels_that_do_not_belong_are_refused(
    recipe: Recipe, root: Path, tmp_path: Path, labels: Any, fix: str
) -> None:
    (tmp_path / "real.json").write_text(json.dumps(labels))
    real = {"dataset": str(root / "v2.beton"), "right_labels": str(tmp_path / "real.json")}
    with pytest.raises(InterplayError, match=re.escape(fix)):
        cell_of(recipe.with_(naming(real=real)), root)


def test_other_classes_are_refused_before_training(recipe: Recipe, root: Path) -> None:
    strange = recipe.with_(naming(strange=str(root / "strange.beton")))
    with pytest.raises(InterplayError, match=r"also\.strange: class 'zebra' \(1 such\) is none of the 3 that are"):
        run_training(strange, root=root, name="strange")
    assert not (root / "studies" / "strange").exists()


@pytest.mark.parametrize("what", ["data", "labels", "gone"])
def test_a_set_that_changed_or_went_is_refused(recipe: Recipe, root: Path, tmp_path: Path, what: str) -> None:
    for name in ("v2.beton", "v2.beton.json", "real.json", "turned.beton", "turned.beton.json"):
        shutil.copy(root / name, tmp_path / name)
    real = {"dataset": str(tmp_path / "v2.beton"), "right_labels": str(tmp_path / "real.json")}
    resolved = recipe.with_(naming(real=real))
    if what == "data":
        for suffix in ("", ".json"):
            shutil.copy(tmp_path / f"turned.beton{suffix}", tmp_path / f"v2.beton{suffix}")
    elif what == "labels":
        (tmp_path / "real.json").write_text("[[1]]")
    else:
        (tmp_path / "v2.beton").unlink()
    fix = "there is no data set" if what == "gone" else "has changed since this recipe was resolved; restore it"
    with pytest.raises(InterplayError, match=fix):
        cell_of(from_yaml(to_yaml(resolved)), root)
