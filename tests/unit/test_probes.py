"""Probes of embeddings against scikit-learn, within bounds, on inference tensors; the command; as metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from interplay.cli import main
from interplay.data import array_loaders
from interplay.data.loader import beton_loaders
from interplay.errors import InterplayError
from interplay.galleries import energy, open_gallery, probed
from interplay.recipe import Recipe
from interplay.retrieval import fit_probe
from interplay.retrieval.probes import STRENGTH, rows_within
from interplay.training import fit, save
from tests.unit.pieces import coarse_recipe, grey_levels


def clouds(count: int, seed: int, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings about as many centres as there are classes, whose numbers have gaps, in channels of other scales."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    vectors = np.eye(classes, 6)[labels] + 0.6 * rng.normal(size=(count, 6))
    return torch.from_numpy(vectors * [1.0, 10.0, 0.1, 1.0, 5.0, 1.0]), torch.from_numpy(2 * labels + 1)


def scikit_learns(vectors: torch.Tensor, labels: torch.Tensor) -> Any:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=5000, tol=1e-10))
    return model.fit(vectors.numpy(), labels.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("bound", [1, 1 << 13, 1 << 28])
def test_the_linear_probe_is_scikit_learns(classes: int, bound: int) -> None:
    (train, labels), (test, _) = clouds(120, 0, classes), clouds(50, 1, classes)
    ours = fit_probe(train, labels, bound=bound)
    theirs = scikit_learns(train, labels)
    assert ours.classes.tolist() == theirs.classes_.tolist()
    if classes == 2:  # scikit-learn's has one row of weights for two classes: the penalty of ours is shared by two
        model = make_pipeline(StandardScaler(), LogisticRegression(C=2 * STRENGTH, max_iter=5000, tol=1e-10))
        theirs = model.fit(train.numpy(), labels.numpy())
    expected = theirs.predict_proba(test.numpy())
    np.testing.assert_allclose(ours.probabilities(test, bound).numpy(), expected, atol=2e-5)
    assert ours.predicted(test, bound).tolist() == theirs.predict(test.numpy()).tolist()


def test_half_precision_is_fitted_in_single() -> None:
    vectors, labels = clouds(120, 0)
    exact, single = fit_probe(vectors, labels), fit_probe(vectors.half(), labels)
    torch.testing.assert_close(
        single.probabilities(vectors.half()).double(), exact.probabilities(vectors), atol=2e-2, rtol=0.0
    )
    assert single.mean.dtype == torch.float32


@pytest.mark.slow
def test_an_mlp_learns_what_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.uniform(-1, 1, (400, 8))).float()
    labels = (vectors[:, 0] * vectors[:, 1] > 0).long()

    def right(kind: Any) -> float:
        found = fit_probe(vectors[:300], labels[:300], kind=kind)
        return float((found.predicted(vectors[300:]) == labels[300:]).float().mean())

    assert right("linear") < 0.65
    assert right("mlp") > 0.75


@pytest.mark.slow
def test_a_seed_decides_an_mlp_and_nobody_elses_draws() -> None:
    vectors, labels = clouds(80, 0)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (
        fit_probe(vectors, labels, kind="mlp", seed=seed).probabilities(vectors) for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_embeddings_of_inference_can_be_probed(kind: Any) -> None:
    with torch.inference_mode():
        vectors, labels = (part.clone() for part in clouds(60, 0))
    found = fit_probe(vectors, labels, kind=kind)
    assert float((found.predicted(vectors) == labels).float().mean()) > 0.8


def test_channels_without_spread_say_nothing() -> None:
    vectors, labels = clouds(60, 0)
    found = fit_probe(torch.cat([vectors, torch.full((60, 1), 0.3).double()], dim=1), labels)
    plain = fit_probe(vectors, labels)
    more = torch.cat([vectors, torch.full((60, 1), 0.3).double()], dim=1)
    torch.testing.assert_close(found.probabilities(more), plain.probabilities(vectors), atol=1e-5, rtol=0.0)


def test_a_bound_is_stated_in_rows() -> None:
    assert rows_within(1 << 28, 256, 1000) == (1 << 28) // (4 * (2 * 256 + 6 * 1000))
    assert rows_within(1, 256, 1000) == 1
    with pytest.raises(InterplayError, match="one class: there is nothing to classify"):
        fit_probe(torch.ones(4, 2), torch.zeros(4, dtype=torch.int64))


# ------------------------------------------------------------------------------------------ of a training
@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grey_levels(tmp_path_factory.mktemp("probes") / "grey.beton", 120, test=0.3)


@pytest.fixture(scope="module")
def recipe(beton: Path) -> Recipe:
    retrieval = {"kind": "nearest", "probes": ["linear", "separability"]}
    schedule = {"optimiser.lr": 3e-3, "schedule.epochs": 3, "schedule.warmup_epochs": 1}
    return coarse_recipe(beton, **{"evaluation.retrieval": retrieval, **schedule})


@pytest.fixture(scope="module")
def trained(beton: Path, recipe: Recipe) -> tuple[Path, dict[str, float], list[dict[str, float]]]:
    """A checkpoint, its metrics at the end, and after each epoch."""
    reports: list[dict[str, float]] = []
    outcome = fit(recipe, beton_loaders(beton, recipe), report=lambda metrics, state: reports.append(dict(metrics)))
    path = beton.with_name("last.pt")
    save(outcome.state, path)
    return path, outcome.metrics, reports


def run(*words: str) -> Any:
    return CliRunner().invoke(main, [*words])


@pytest.mark.slow
def test_a_training_ends_in_what_the_command_says(
    trained: tuple[Path, dict[str, float], list[dict[str, float]]], beton: Path
) -> None:
    checkpoint, metrics, reports = trained
    assert [("val/linear_top1" in one, "val/separability" in one) for one in reports] == [
        (False, False),
        (False, False),
        (True, True),
    ]
    done = run("probe", str(checkpoint), "--data", str(beton), "--kind", "linear", "--kind", "separability", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    for name in ("linear_top1", "linear_top1_level1"):
        assert metrics[f"test/{name}"] == pytest.approx(found[f"test/{name}"], abs=1e-9)
        assert metrics[f"test/{name}"] > 100.0 / 6
    for name in ("separability", "separability_std", "separability_coarse"):
        assert metrics[f"test/{name}"] == metrics[f"val/{name}"] == pytest.approx(found[f"train/{name}"], abs=3.0)
    assert 0.0 < found["train/separability"] < 100.0


def test_the_command_prints_lines(trained: tuple[Path, Any, Any], beton: Path) -> None:
    words = ("--kind", "mlp", "--level", "1", "--split", "val", "--kind", "energy")
    done = run("probe", str(trained[0]), "--data", str(beton), *words)
    assert done.exit_code == 0, done.output
    first, *others = done.stdout.splitlines()
    name, value = first.split()
    assert name == "val/mlp_top1_level1"
    assert 100.0 / 3 < float(value) <= 100.0
    shares = energy(open_gallery(trained[0], str(beton), beton.parent).embedded("train").vectors).cumsum()
    wanted = [int((shares < share).sum()) + 1 for share in (0.5, 0.9, 0.99)]
    assert [int(line.split()[1]) for line in others] == wanted
    assert len(others) == 3


@pytest.mark.slow
def test_halves_are_of_the_level_that_is_named(trained: tuple[Path, Any, Any], beton: Path, tmp_path: Path) -> None:
    gallery = open_gallery(trained[0], str(beton), tmp_path)
    found = probed(gallery, ["separability"], [0])
    assert found.keys() == {"train/separability", "train/separability_std"}  # the classifier knows coarse classes
    assert "train/separability_coarse" in probed(gallery, ["separability"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--level", "2"], "grey.beton has no label level 2; its levels are 0 to 1"),
        (["--kind", "cubic"], "'cubic' is not one of"),
        (["--split", "everything"], "'everything' is not one of"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    trained: tuple[Path, Any, Any], beton: Path, words: list[str], message: str
) -> None:
    done = run("probe", str(trained[0]), "--data", str(beton), *words)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_levels_of_one_class_have_no_probe(recipe: Recipe) -> None:
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        fine = np.arange(count) % 4
        images = rng.integers(0, 50, (count, 16, 16, 3)) + 40 * fine[:, None, None, None]
        return images.astype(np.uint8), np.stack([fine, fine // 2, 0 * fine], axis=1).astype(np.int64)

    splits = {"train": split(40), "val": split(16), "test": split(16)}
    ours = recipe.with_(
        {"schedule.epochs": 1, "schedule.warmup_epochs": 0, "evaluation.retrieval.probes": ["linear"]}
    )
    metrics = fit(ours, array_loaders(splits, ours)).metrics
    assert {name for name in metrics if "linear" in name and "test" in name} == {
        "test/linear_top1",
        "test/linear_top1_level1",
    }


def test_probes_are_named_once() -> None:
    with pytest.raises(InterplayError, match="names one twice"):
        Recipe().with_({"evaluation.retrieval": {"kind": "nearest", "probes": ["linear", "linear"]}})
