"""`interplay explain` on a trained cell of each family, from the command line to the files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from interplay.cli import main
from interplay.data.loader import beton_loaders
from interplay.explain import explain_checkpoint
from interplay.recipe import Augment, Cosine, Data, Evaluation, LayerScale, OwnModel, Recipe, TimmModel, ViT
from interplay.training import fit
from interplay.training.checkpoint import save
from tests.photographs import photographs
from tests.unit.explained import listing, recipe

FILES = {
    "vit": {"attention-1", "rollout", "branches", "scales", "similarity"},
    "cait": {"attention-1", "saliency", "branches", "scales"},
    "resmlp": {"rows", "sparsity", "branches", "scales"},
    "patchconvnet": {"attention-1", "saliency", "branches", "scales"},
    "per class": {"class-maps", "branches", "scales"},
}

NET = """
from torch import nn

def net(classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size**2, classes))
"""


def trained(of: Recipe, beton: Path, cell: Path, *, epochs: bool = False) -> Path:
    """A cell's folder with the checkpoint of a short training, and those of its epochs if they are wanted."""
    folder = cell / "checkpoint"
    few = of.with_({"schedule.epochs": 2, "schedule.warmup_epochs": 0, "data.batch_size": 512})
    outcome = fit(
        few,
        beton_loaders(beton, few),
        report=lambda metrics, state: (
            save(state(), folder / f"epoch-{int(metrics['epoch']):04d}.pt") if epochs else None
        ),
    )
    save(outcome.state, folder / "last.pt")
    return cell


@pytest.fixture(scope="module")
def storage(digits_beton: Path) -> Path:
    return digits_beton.parents[1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for number, data in enumerate(photographs(1)):
        (folder / f"{number}.jpg").write_bytes(data)
    return sorted(folder.glob("*.jpg"))


def run(storage: Path, *command: object) -> Result:
    return CliRunner().invoke(main, ["--storage", str(storage.resolve()), "explain", *map(str, command)])


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_family(
    tiny: Recipe, digits_beton: Path, storage: Path, photos: list[Path], tmp_path: Path, name: str
) -> None:
    cell = trained(recipe(tiny, name), digits_beton, tmp_path / "cell", epochs=name == "vit")
    done = run(storage, cell, *photos, "--out", tmp_path / "seen")
    assert done.exit_code == 0, done.output
    pictures = {f"{picture}.png" for picture in FILES[name]}
    assert listing(tmp_path / "seen") == pictures | {"numbers.json", "index.html"}
    for picture in pictures:
        with Image.open(tmp_path / "seen" / picture) as image:
            assert image.getextrema() != ((255, 255),) * 4, picture
    assert (tmp_path / "seen" / "index.html").read_text().count("<img") == len(pictures)
    numbers = json.loads((tmp_path / "seen" / "numbers.json").read_text())
    assert set(numbers["branches"]) == ({"1", "2"} if name == "vit" else {"2"})
    assert all(0.0 < ratio["mean"] < 100.0 for ratio in numbers["branches"]["2"])


@pytest.fixture(scope="module")
def cell(digits_beton: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tiny_vit(), digits_beton, tmp_path_factory.mktemp("cell"))


def tiny_vit() -> Recipe:
    return Recipe(
        name="tiny",
        model=ViT(patch_size=4, width=16, depth=2, heads=2, scale=LayerScale(init=0.1), init_std=0.1),
        data=Data(resolution=16, batch_size=32),
        augment=Augment(flip=0.0),
        schedule=Cosine(epochs=2, warmup_epochs=1),
        evaluation=Evaluation(crop_ratio=1.0),
    )


@pytest.mark.slow
def test_numbers_alone_write_nothing(cell: Path, storage: Path) -> None:
    before = listing(cell)
    done = run(storage, cell / "checkpoint" / "last.pt", "--data", "digits", "--index", 3, "--format", "json")
    assert done.exit_code == 0, done.output
    numbers = json.loads(done.stdout)
    assert set(numbers) == {"branches", "scales"}
    assert [scale["kind"] for scale in numbers["scales"]] == ["attention", "MLP"] * 2
    assert all(0.0 < scale["mean_magnitude"] < 1.0 for scale in numbers["scales"])
    assert listing(cell) == before


def test_without_images_what_needs_none_is_made(cell: Path, storage: Path, tmp_path: Path) -> None:
    done = run(storage, cell, "--out", tmp_path / "seen")
    assert done.exit_code == 0, done.output
    assert listing(tmp_path / "seen") == {"scales.png", "numbers.json", "index.html"}


@pytest.mark.slow
def test_embeddings_of_a_split(cell: Path, storage: Path, tmp_path: Path) -> None:
    done = run(storage, cell, "--data", "digits", "--embeddings", "--out", tmp_path / "seen")
    assert done.exit_code == 0, done.output
    assert listing(tmp_path / "seen") == {
        "embeddings-pca.png",
        "embeddings-tsne.png",
        "numbers.json",
        "index.html",
    }
    found = json.loads((tmp_path / "seen" / "numbers.json").read_text())["embeddings"]
    assert found["samples"] == 359
    assert sum(found["pca_energy"]) == pytest.approx(1.0)
    assert len(found["pca_energy"]) == 16


@pytest.mark.slow
def test_a_model_of_timm_has_embeddings_alone(
    tiny: Recipe, digits_beton: Path, storage: Path, tmp_path: Path
) -> None:
    of = tiny.with_({"model": TimmModel(name="test_resnet")})
    cell = trained(of, digits_beton, tmp_path / "cell")
    done = run(storage, cell, "--data", "digits", "--out", tmp_path / "seen")
    assert done.exit_code == 2
    assert "nothing to look at in this model but its embeddings; give --embeddings" in done.stderr
    found = explain_checkpoint(cell, root=storage, dataset="digits", with_embeddings=True)
    assert list(found.numbers) == ["embeddings"]


def test_an_own_model_has_nothing(tiny: Recipe, digits_beton: Path, storage: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NET)
    of = tiny.with_({"model": OwnModel(source=f"{tmp_path / 'mine.py'}:net")})
    cell = trained(of, digits_beton, tmp_path / "cell")
    done = run(storage, cell, "--data", "digits", "--embeddings", "--out", tmp_path / "seen")
    assert done.exit_code == 2
    assert "embeddings does not apply to this model: it does not have forward_features" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--only", "rows"],
            "rows does not apply to this model: its patches do not talk .*; what applies: attention",
        ),
        (["--only", "rolout"], "there is no explanation 'rolout'.*rollout"),
        (["--only", "rollout"], "rollout needs images; name IMAGE files, or a data set with --data"),
        (["--embeddings"], "are of a data set; name it with --data"),
        (["--data", "digits", "--index", "5000"], r"has no sample 5000; its samples are 0 to 1796"),
        (["missing.png"], "there is no image missing.png"),
        (["--data", "cats"], "there is no data set 'cats'"),
    ],
)
def test_mistakes_are_one_sentence(
    cell: Path, storage: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    done = run(storage, cell, *options, "--out", tmp_path / "seen")
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
    last = done.stderr.splitlines()[-1]
    assert re.search(message, last), last
    assert not (tmp_path / "seen").exists()


def test_a_folder_must_be_named(cell: Path, storage: Path) -> None:
    done = run(storage, cell)
    assert done.exit_code == 2
    assert "name a folder for the pictures with --out" in done.stderr
