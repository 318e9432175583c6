"""What augmentation does to images is what training does to them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from interplay.augment import Normalise, TrainingStage
from interplay.cli import main
from interplay.data import Batch, from_samples
from interplay.data.loader import beton_loaders
from interplay.data.write import write_beton
from interplay.explain import draw_crops, draw_rows, policies, steps
from interplay.explain.crops import inside
from interplay.models.backbone import PREPARATION
from interplay.recipe import (
    Augment,
    RandAugment,
    RandomResizedCrop,
    Recipe,
    ResizeOnly,
    SimpleRandomCrop,
    ThreeAugment,
)
from tests.photographs import photographs
from tests.unit.explained import listing

WHOLE = Augment(
    policy=RandAugment(magnitude=9.0), color_jitter=0.3, erasing=0.5, mixup=0.8, cutmix=1.0, jitter_order="random"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    for number, data in enumerate(photographs(4)):
        (folder / f"{number}.jpg").write_bytes(data)
    return sorted(folder.glob("*.jpg"))


def opened(files: list[Path]) -> list[Image.Image]:
    return [Image.open(file).convert("RGB") for file in files]


def batch_of_training(recipe: Recipe, files: list[Path], folder: Path, epoch: int) -> Batch:
    """What the loader gives of these images, in their order."""
    samples = [(np.asarray(image), n % 2) for n, image in enumerate(opened(files))]
    path = folder / "images.beton"
    if not path.exists():
        write_beton(from_samples(samples, classes=["a", "b"]), path)
    changed = recipe.with_({"data.order": "sequential", "data.batch_size": 4})
    return next(iter(beton_loaders(path, changed).train.epoch(epoch)))


@pytest.mark.parametrize("crop", [RandomResizedCrop(), SimpleRandomCrop()])
def test_the_last_row_is_what_training_is_given(
    tiny: Recipe, files: list[Path], tmp_path: Path, crop: RandomResizedCrop | SimpleRandomCrop
) -> None:
    augment = WHOLE.model_copy(update={"crop": crop})
    recipe = Recipe.model_validate({**dict(tiny), "augment": augment}).with_({"data.resolution": 64})
    rows = draw_rows(steps(recipe.augment), opened(files), recipe, 2)
    assert [row.name for row in rows] == [
        "crop and flip",
        "rand augment",
        "colour jitter",
        "random erasing",
        "mixup or CutMix",
    ]
    mean, std = PREPARATION["mean"], PREPARATION["std"]
    stage = TrainingStage(recipe.augment, recipe.seeds.augment, 10, Normalise(mean, std, torch.device("cpu")))
    for epoch in range(2):
        batch = batch_of_training(recipe, files, tmp_path, epoch)
        assert batch.index.tolist() == [0, 1, 2, 3]
        torch.testing.assert_close(rows[0].pixels[epoch], batch.images / 255.0, atol=1e-6, rtol=0.0)
        x, _ = stage(batch.images, batch.labels, batch.index, batch.view, epoch, 0)
        expected = x * torch.tensor(std).view(1, 3, 1, 1) + torch.tensor(mean).view(1, 3, 1, 1)
        torch.testing.assert_close(rows[-1].pixels[epoch], expected.clamp(0, 1), atol=1e-6, rtol=0.0)
    assert all(not torch.equal(a.pixels, b.pixels) for a, b in pairwise(rows))


def test_labels_name_what_was_done(tiny: Recipe, files: list[Path]) -> None:
    recipe = tiny.with_({"augment.policy": ThreeAugment(), "data.resolution": 32})
    crop, policy = draw_rows(steps(recipe.augment), opened(files), recipe, 6)
    assert crop.labels == [[""] * 4] * 6
    grey = torch.tensor([[label == "grayscale" for label in labels] for labels in policy.labels])
    assert 0 < grey.sum() < grey.numel()
    spread = (policy.pixels.amax(dim=2) - policy.pixels.amin(dim=2)).amax(dim=(2, 3))
    assert (spread[grey] < 1e-6).all()
    assert (spread[~grey] > 1e-3).all()


def test_every_policy_has_a_row_and_changes_images(tiny: Recipe, files: list[Path]) -> None:
    own = RandAugment(magnitude=5.0)
    rows = policies(tiny.augment.model_copy(update={"policy": own}))
    assert own in [augment.policy for _, augment in rows]
    drawn = draw_rows([steps(tiny.augment)[0], *rows], opened(files), tiny.with_({"data.resolution": 32}), 3)
    assert len(drawn) >= 5
    for row in drawn[1:]:
        assert not torch.equal(row.pixels, drawn[0].pixels), row.name
        assert all(all(labels) for labels in row.labels), row.name


def test_crop_boxes_cover_what_the_crop_shows(tiny: Recipe) -> None:
    """The colours of an image that is a ramp along both axes tell where a crop was taken."""
    width, height = 120, 80
    ramp = np.zeros((height, width, 3), dtype=np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(width)[None] * 2, np.arange(height)[:, None] * 2
    for crop in (RandomResizedCrop(), SimpleRandomCrop(padding=0), ResizeOnly()):
        recipe = tiny.with_({"augment.crop": crop, "data.resolution": 64})
        found = next(one for one in draw_crops(recipe, width, height, draws=1) if "recipe's" in one.name)
        (drawn,) = draw_rows(steps(recipe.augment), [Image.fromarray(ramp)], recipe, 1)
        shown = drawn.pixels[0, 0] * 255 / 2
        left, top, right, bottom = found.boxes[0]
        scale = np.array([(right - left), (bottom - top)]) / 64
        assert abs(float(shown[0].min()) - left) <= scale[0] + 1
        assert abs(float(shown[0].max()) - right) <= scale[0] + 1.5
        assert abs(float(shown[1].min()) - top) <= scale[1] + 1
        assert abs(float(shown[1].max()) - bottom) <= scale[1] + 1.5


def test_shares_of_area(tiny: Recipe) -> None:
    assert inside(np.array([[-10.0, 0.0, 50.0, 20.0], [0.0, 0.0, 100.0, 40.0]]), 100, 40).tolist() == [0.25, 1.0]
    resized, simple = draw_crops(tiny.with_({"data.resolution": 128}), 500, 375)
    assert 0.69 < resized.shares.min() < resized.shares.max() <= 1.0  # the recipe's scale is 0.7 to 1
    assert simple.boxes.shape == (2000, 4)
    assert simple.shares.max() == pytest.approx(128 / 170)  # 500x375 is resized to 170x128
    assert simple.shares.min() >= (124 / 170) * (124 / 128) - 1e-9  # four mirrored pixels at two sides


def test_pictures_from_the_command_line(files: list[Path], tmp_path: Path) -> None:
    command = ["explain", "augment", "deit.small", str(files[0]), "--draws", "2", "--all"]
    done = CliRunner().invoke(main, [*command, "-s", "data.resolution=64", "--out", str(tmp_path / "seen")])
    assert done.exit_code == 0, done.output
    pictures = {"augmentation-1.png", "policies-1.png", "crops-1.png"}
    assert listing(tmp_path / "seen") == pictures | {"numbers.json", "index.html"}
    page = (tmp_path / "seen" / "index.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "name a second one to see mixing" in page


def test_an_image_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.jpg").write_bytes(b"no image")
    for name, message in (("no.jpg", "is no image that can be read"), ("missing.jpg", "there is no image")):
        command = ["explain", "augment", "deit.small", str(tmp_path / name), "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 2
        assert message in done.stderr
    assert not (tmp_path / "out").exists()
