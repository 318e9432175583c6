"""Several crops of each image: each is the crop it would be alone, and all come from one decode."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from interplay import native
from interplay.augment import Keys, dino, ssl_views
from interplay.data import from_samples
from interplay.data.crops import training_windows
from interplay.data.decode import cut
from interplay.data.multicrop import DINO, SWAV, Crops, MultiCrop, MultiCropLoader
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from interplay.recipe import RandomResizedCrop, Recipe
from tests.photographs import photographs

GROUPS = (Crops(2, 32, (0.4, 1.0)), Crops(3, 16, (0.05, 0.4)))
COUNT = 24


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    return list(photographs(COUNT, sizes=[(120, 90), (90, 120), (75, 75)]))


@pytest.fixture(scope="module", params=["jpegs", "pixels"])
def beton(request: pytest.FixtureRequest, files: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("multicrop") / "photos.beton"
    images = files if request.param == "jpegs" else [Image.open(io.BytesIO(f)).convert("RGB") for f in files]
    write_beton(from_samples([(image, i % 3) for i, image in enumerate(images)], classes=list("abc")), path)
    return path


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    return tiny.with_({"data.batch_size": 8, "augment.flip": 0.5})


def assert_same(one: list[MultiCrop], other: list[MultiCrop]) -> None:
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        assert torch.equal(left.index, right.index)
        assert all(torch.equal(a, b) for a, b in zip(left.crops, right.crops, strict=True))


def test_every_crop_is_what_it_would_be_alone(beton: Path, files: list[bytes], recipe: Recipe) -> None:
    for batch in MultiCropLoader(beton, recipe, GROUPS).epoch(1):
        assert [tuple(crop.shape) for crop in batch.crops] == [(8, 3, 32, 32)] * 2 + [(8, 3, 16, 16)] * 3
        assert batch.labels.tolist() == [int(i) % 3 for i in batch.index]
        for view, crop in enumerate(batch.crops):
            group = GROUPS[0] if view < 2 else GROUPS[1]
            for slot, index in enumerate(batch.index.tolist()):
                image = Image.open(io.BytesIO(files[index])).convert("RGB")
                windows = training_windows(
                    recipe.augment.model_copy(update={"crop": RandomResizedCrop(scale=group.scale)}),
                    group.resolution,
                    np.array([image.height]),
                    np.array([image.width]),
                    seed=recipe.seeds.augment,
                    epoch=1,
                    sample=np.array([index]),
                    view=np.array([view]),
                )
                expected = cut(image, windows, 0, group.resolution, "bicubic")
                np.testing.assert_array_equal(crop[slot].permute(1, 2, 0).numpy(), expected)


def test_pillow_threads_and_restarts_change_nothing(
    beton: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(MultiCropLoader(beton, recipe, GROUPS).epoch(0))
    assert_same(list(MultiCropLoader(beton, recipe, GROUPS, threads=3).epoch(0)), whole)
    assert_same(list(MultiCropLoader(beton, recipe, GROUPS).epoch(0, 1)), whole[1:])
    monkeypatch.setattr(native, "AVAILABLE", False)
    assert_same(list(MultiCropLoader(beton, recipe, GROUPS, threads=2).epoch(0)), whole)


def test_ranks_share_a_batch(beton: Path, recipe: Recipe) -> None:
    whole = next(MultiCropLoader(beton, recipe, GROUPS).epoch(0))
    halves = [next(MultiCropLoader(beton, recipe, GROUPS, rank=rank, world=2).epoch(0)) for rank in (0, 1)]
    rows = {int(i): [c[n] for c in half.crops] for half in halves for n, i in enumerate(half.index)}
    assert len(rows) == 8
    for slot, index in enumerate(whole.index.tolist()):
        assert all(torch.equal(a[slot], b) for a, b in zip(whole.crops, rows[index], strict=True))


def test_all_crops_of_an_image_come_from_one_decode(
    files: list[bytes], tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen where Pillow decodes; the C extension decodes neighbours that are one image together."""
    path = tmp_path / "photos.beton"
    write_beton(from_samples([(file, 0) for file in files], classes=["a"]), path)
    decoded: list[int] = []
    original = Image.open
    monkeypatch.setattr(native, "AVAILABLE", False)
    monkeypatch.setattr(Image, "open", lambda file: decoded.append(1) or original(file))  # type: ignore[func-returns-value]
    for batch in MultiCropLoader(path, recipe, GROUPS).epoch(0):
        assert len(batch.crops) == 5
    assert len(decoded) == COUNT


def test_crops_become_views(beton: Path, recipe: Recipe) -> None:
    assert [sum(group.count for group in groups) for groups in (DINO, SWAV)] == [10, 8]
    small = tuple(Crops(group.count, group.resolution // 8, group.scale) for group in DINO)
    batch = next(MultiCropLoader(beton, recipe, small).epoch(0))
    keys = Keys(0, 0, batch.index.numpy(), np.zeros(8, dtype=np.int64))
    views = ssl_views(batch.crops, dino(), keys)
    assert [view.shape for view in views] == [crop.shape for crop in batch.crops]


def test_views_of_views_are_refused(beton: Path, recipe: Recipe) -> None:
    with pytest.raises(InterplayError, match=r"set augment\.repeats=1"):
        MultiCropLoader(beton, recipe.with_({"augment.repeats": 2}), GROUPS)
    with pytest.raises(InterplayError, match="at least one pixel"):
        MultiCropLoader(beton, recipe, ())
