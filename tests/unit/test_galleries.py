"""Checkpoints as galleries: neighbours and their page, clusters, probes, and the commands."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from interplay.cli import main
from interplay.data import from_samples
from interplay.data.loader import beton_loaders
from interplay.data.stored import StoredSamples
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from interplay.explain.embeddings import pca_energy
from interplay.galleries import energy, open_gallery, probe, rank_images, ranking_page, separability
from interplay.galleries.neighbours import COLOURS, OTHER
from interplay.recipe import LearntEmbedding, Likeness, LinearProjector, Recipe
from interplay.retrieval import Embedded
from interplay.retrieval.granularity import random_halves
from interplay.training import fit, save


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose brightness is one of 6 classes, in 3 coarse ones."""
    rng, samples = np.random.default_rng(0), []
    for number in range(90):
        fine = number % 6
        image = (rng.integers(0, 20, (16, 16, 3)) + 38 * fine).astype(np.uint8)
        samples.append((image, (fine, fine // 2)))
    path = tmp_path_factory.mktemp("galleries") / "grey.beton"
    write_beton(from_samples(samples, classes=[list("abcdef"), ["<dark>", "grey", "light"]]), path, val=0.2, test=0.2)
    return path


@pytest.fixture(scope="module")
def checkpoint(beton: Path) -> Path:
    """Of a training by Grafit on the coarse labels."""
    recipe = Recipe().with_(
        {
            "model": {"family": "vit", "patch_size": 4, "width": 16, "depth": 1, "heads": 2, "init_std": 0.1},
            "data.dataset": str(beton),
            "data.level": 1,
            "data.resolution": 16,
            "data.batch_size": 16,
            "augment.views": 2,
            "embedding": LearntEmbedding(projector=LinearProjector(width=8), instance=Likeness(hidden=16)),
            "evaluation.retrieval": "nearest",
            "optimiser.lr": 3e-3,
            "schedule.epochs": 4,
            "schedule.warmup_epochs": 1,
        }
    )
    outcome = fit(recipe, beton_loaders(beton, recipe))
    save(outcome.state, beton.with_name("last.pt"))
    return beton.with_name("last.pt")


def test_a_gallery_embeds_as_the_training_did(checkpoint: Path, beton: Path, tmp_path: Path) -> None:
    gallery = open_gallery(checkpoint, str(beton), tmp_path)
    images = gallery.embedded("train")
    memory = torch.load(checkpoint, weights_only=True)["embedding"]["memory"]
    assert images.vectors.shape == (gallery.manifest.counts["train"], 8)
    order = images.index.argsort()
    torch.testing.assert_close(images.vectors[order], memory["rows"].float(), atol=2e-3, rtol=0.0)
    assert not gallery.classifies


def test_neighbours_are_those_of_a_sort(checkpoint: Path, beton: Path, tmp_path: Path) -> None:
    gallery, stored = open_gallery(checkpoint, str(beton), tmp_path), StoredSamples(beton)
    sample = int(np.flatnonzero(stored.splits == 0)[5])
    (ranking,) = rank_images(gallery, indices=[sample], count=7)
    images = gallery.embedded("train")
    place = np.flatnonzero(stored.splits == 0)[images.index.numpy()]
    own = images.vectors[int(np.flatnonzero(place == sample)[0])]
    cosines = (images.vectors @ own).numpy()
    expected = [int(place[i]) for i in np.argsort(-cosines, kind="stable") if place[i] != sample][:7]
    assert [one.sample for one in ranking.neighbours] == expected
    names = gallery.manifest.classes
    for one in ranking.neighbours:
        labels = stored.labels[one.sample]
        assert one.labels == (names[0][labels[0]], names[1][labels[1]])
        same = [level for level in (0, 1) if labels[level] == stored.labels[sample, level]]
        assert one.level == (min(same) if same else None)
    assert ranking.labels == (names[0][stored.labels[sample, 0]], names[1][stored.labels[sample, 1]])


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.frames: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        found = dict(attrs)
        if tag == "img":
            self.sources.append(found["src"])
            self.frames += re.findall(r"border-color:(#\w+)", found.get("style", ""))


def test_the_page_needs_no_other_file_and_has_the_levels_colours(
    checkpoint: Path, beton: Path, tmp_path: Path
) -> None:
    gallery = open_gallery(checkpoint, str(beton), tmp_path)
    rankings = rank_images(gallery, indices=[0, 7], count=53)
    page, tags = ranking_page(gallery, rankings, title="Near <this>"), _Tags()
    tags.feed(page)
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    assert "http" not in page
    colours = {0: COLOURS[0], 1: COLOURS[1], None: OTHER}
    assert tags.frames == [colours[one.level] for ranking in rankings for one in ranking.neighbours]
    assert set(tags.frames) == set(colours.values())
    assert "&lt;dark&gt;" in page
    assert "Near &lt;this&gt;" in page
    assert "same class at level 1" in page


def test_an_image_file_has_neighbours_of_its_own_brightness(checkpoint: Path, beton: Path, tmp_path: Path) -> None:
    file = tmp_path / "light.png"
    Image.new("RGB", (20, 20), (200, 200, 200)).save(file)
    run = CliRunner().invoke(main, ["retrieve", str(checkpoint), str(file), "--data", str(beton), "--count", "5"])
    assert run.exit_code == 0, run.output
    lines = run.stdout.splitlines()
    assert lines[0].startswith("light.png: neighbours vote ")
    assert len(lines) == 6
    assert all(line.rstrip().endswith("/ light") for line in lines[1:])
    out = tmp_path / "page.html"
    run = CliRunner().invoke(main, ["retrieve", str(checkpoint), str(file), "--data", str(beton), "--out", str(out)])
    assert run.stdout.strip() == str(out)
    assert "are not known: frames are grey" in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["retrieve", "C", "--data", "D"], "name an image file, or a sample"),
        (["retrieve", "C", "nowhere.png", "--data", "D"], "there is no image nowhere.png"),
        (["retrieve", "C", "--data", "D", "--index", "90"], "has no sample 90; its samples are 0 to 89"),
        (["retrieve", "nowhere.pt", "x.png", "--data", "D"], "there is no checkpoint nowhere.pt"),
        (["cluster", "C", "--data", "D", "--clusters", "90", "--out", "c.npy"], "cannot make 90 clusters"),
        (["cluster", "C", "--data", "D", "--clusters", "5", "--out", "c.txt"], "name it c.npy"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    checkpoint: Path, beton: Path, arguments: list[str], message: str, tmp_path: Path
) -> None:
    names = {"C": str(checkpoint), "D": str(beton), "c.npy": str(tmp_path / "c.npy")}
    run = CliRunner().invoke(main, [names.get(word, word) for word in arguments])
    assert run.exit_code == 2
    assert message in run.output
    assert "Traceback" not in run.output
    assert not (tmp_path / "c.npy").exists()


def test_clusters_are_labels_for_another_training(checkpoint: Path, beton: Path, tmp_path: Path) -> None:
    out = tmp_path / "clusters.npy"
    command = ["cluster", str(checkpoint), "--data", str(beton), "--clusters", "6", "--out", str(out)]
    run = CliRunner().invoke(main, command)
    assert run.exit_code == 0, run.output
    numbers, stored = np.load(out), StoredSamples(beton)
    assert numbers.shape == (90,)
    assert set(numbers.tolist()) == set(range(6))
    purity = sum(np.bincount(stored.labels[numbers == n, 1]).max() for n in range(6)) / 90
    assert purity > 0.9  # embeddings of the coarse classes lie apart
    recipe = Recipe().with_({"data.clusters": {"kind": "file", "file": str(out)}, "data.batch_size": 16})
    loaders = beton_loaders(beton, recipe.with_({"data.resolution": 16}))
    assert loaders.classes == 6
    batch = next(iter(loaders.train.epoch(0)))
    positions = np.flatnonzero(stored.splits == 0)[batch.index.numpy()]
    assert batch.labels.tolist() == numbers[positions].tolist()


# ----------------------------------------------------------------------------------------------- probes
def blobs(count: int, width: int, seed: int, spread: float = 0.3) -> Embedded:
    """Four classes about four corners, in two coarse ones."""
    rng = np.random.default_rng(seed)
    fine = torch.from_numpy(rng.integers(0, 4, count))
    vectors = torch.eye(4, width)[fine] + spread * torch.from_numpy(rng.normal(size=(count, width))).float()
    coarse = torch.eye(2)[fine // 2] * 0.98 + 0.01
    return Embedded(vectors, torch.stack([fine, fine // 2], dim=1), fine // 2, torch.arange(count), coarse)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_probe_learns_what_can_be_learnt(kind: Any) -> None:
    train, test = blobs(300, 6, 0, 0.1), blobs(100, 6, 1, 0.1)
    assert probe(train, test, kind=kind) > 94.0
    mixed = Embedded(train.vectors, train.levels[torch.randperm(300)], train.trained, train.index)
    assert probe(mixed, test, kind=kind) < 60.0


def test_probes_of_levels_that_are_not_there_are_refused() -> None:
    images = blobs(30, 6, 0)
    with pytest.raises(InterplayError, match="no label level 2; there are 0 to 1"):
        probe(images, images, level=2)
    one = Embedded(images.vectors, torch.zeros(30, 1, dtype=torch.int64), images.trained, images.index)
    with pytest.raises(InterplayError, match="one class: there is nothing to classify"):
        probe(one, images)


def test_halves_are_even_and_within_their_class() -> None:
    coarse = np.repeat(np.arange(3), [10, 7, 1])
    halves = random_halves(coarse, np.random.default_rng(0))
    assert (halves // 2 == coarse).all()
    assert sorted(np.bincount(halves, minlength=6).tolist()) == [0, 1, 3, 4, 5, 5]


def test_more_directions_separate_more_random_halves() -> None:
    """Linear maps of 200 directions separate any labels of 150 images; of 2 they hardly do."""
    few, many = (separability(blobs(150, width, 0), splits=2) for width in (4, 200))
    assert many["separability"] == 100.0
    assert few["separability"] < 75.0
    assert few["separability_coarse"] >= few["separability"] - 1.0


@pytest.mark.parametrize("batch", [7, 1 << 16])
def test_energy_is_that_of_the_singular_values(batch: int) -> None:
    vectors = torch.randn(60, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 9.0)
    np.testing.assert_allclose(energy(vectors, batch), pca_energy(vectors), rtol=1e-9)
    with pytest.raises(InterplayError, match="all embeddings are the same"):
        energy(torch.ones(5, 3))
