"""Everything that counts or names classes takes those that the recipe learns: another level's, clusters, or one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from interplay.cli import main
from interplay.data import class_count, class_names, read_manifest
from interplay.data.loader import beton_loaders
from interplay.data.stored import StoredSamples
from interplay.errors import InterplayError
from interplay.explain.subject import images_of_data, load_subject
from interplay.recipe import Recipe
from interplay.recipe.files import to_yaml
from interplay.study.cells import Cell
from interplay.study.foresight.forecast import _classes
from interplay.study.search.objectives import count
from interplay.training import fit, save
from tests.unit.pieces import GREY, coarse_recipe, grey_levels


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grey_levels(tmp_path_factory.mktemp("levels") / "grey.beton")


@pytest.fixture(scope="module")
def clusters(beton: Path) -> Path:
    path = beton.with_name("clusters.npy")
    np.save(path, np.arange(90) % 4)
    return path


@pytest.fixture(scope="module")
def recipe(beton: Path) -> Recipe:
    return coarse_recipe(beton)


@pytest.fixture(scope="module")
def checkpoint(beton: Path, recipe: Recipe) -> Path:
    path = beton.with_name("last.pt")
    save(fit(recipe, beton_loaders(beton, recipe)).state, path)
    return path


def test_classes_are_those_that_are_learnt(beton: Path, recipe: Recipe, clusters: Path) -> None:
    manifest = read_manifest(beton)
    learnt = {
        "level 0": recipe.with_({"data.level": 0}),
        "level 1": recipe,
        "clusters": recipe.with_({"data.clusters": {"kind": "file", "file": str(clusters)}}),
        "one": recipe.with_(
            {
                "augment.views": 2,
                "evaluation.retrieval": "nearest",
                "embedding": {"kind": "learnt", "labels": "neighbours"},
                "data.level": None,
            }
        ),
    }
    for name, size in (("level 0", 6), ("level 1", 3), ("clusters", 4), ("one", 1)):
        one = learnt[name]
        assert class_count(manifest, one) == len(class_names(manifest, one)) == size, name
        assert beton_loaders(beton, one).classes == size
        assert _classes(Cell(one, beton)) == size
    assert class_names(manifest, recipe) == tuple(GREY)
    with pytest.raises(InterplayError, match=r"data\.level=2, but the data set has the levels 0 to 1"):
        class_count(manifest, recipe.with_({"data.level": 2}))


def test_check_counts_the_classifier_that_is_trained(beton: Path, recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    wide = recipe.with_({"model.width": 512})  # a class is half a thousand parameters
    path.write_text(to_yaml(wide))
    run = CliRunner().invoke(main, ["--storage", str(tmp_path / "runs"), "check", str(path)])
    assert run.exit_code == 0, run.output
    manifest = read_manifest(beton)
    coarse, fine = (
        f"{count(wide.with_({'data.level': level}), manifest)['parameters'] / 1e6:.3f} M" for level in (1, 0)
    )
    assert coarse in run.output
    assert fine != coarse


@pytest.mark.slow
def test_a_model_of_coarse_classes_is_explained_with_their_names(
    checkpoint: Path, beton: Path, recipe: Recipe
) -> None:
    assert load_subject(checkpoint, read_manifest(beton)).classes == tuple(GREY)
    images, _ = images_of_data(beton, recipe, [0, 7, 11])
    labels = StoredSamples(beton).labels[[0, 7, 11], 1].tolist()
    assert list(images.labels) == labels
    assert images.names[0] == f"sample 0: {GREY[labels[0]]}"
    run = CliRunner().invoke(main, ["explain", str(checkpoint), "--data", str(beton), "--format", "json"])
    assert run.exit_code == 0, run.output


def test_neighbours_are_shown_with_the_names_of_all_levels(checkpoint: Path, beton: Path) -> None:
    words = ["--data", str(beton), "--index", "7", "--count", "3"]
    run = CliRunner().invoke(main, ["retrieve", str(checkpoint), *words])
    assert run.exit_code == 0, run.output
    fine, coarse = StoredSamples(beton).labels[7]
    assert run.stdout.startswith(f"sample 7: {'abcdef'[fine]}: neighbours vote ")
    assert "same class at level" in run.stdout or GREY[coarse] not in run.stdout
