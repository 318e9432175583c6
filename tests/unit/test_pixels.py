"""Crops and pixels: torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as reference

from interplay.data.crops import Windows, evaluation_windows, training_windows
from interplay.data.decode import Pixels, cut, mirrored
from interplay.recipe import Augment, SimpleRandomCrop
from interplay.recipe import RandomResizedCrop as CropRecipe

MODES = {
    "bicubic": InterpolationMode.BICUBIC,
    "bilinear": InterpolationMode.BILINEAR,
    "box": InterpolationMode.BOX,
}


# ---------------------------------------------------------------------------------------------- crops
def windows(crop: CropRecipe, height: int, width: int, count: int) -> NDArray[np.int64]:
    heights, widths, sample = np.full(count, height), np.full(count, width), np.arange(count)
    return draw(Augment(crop=crop), 224, heights, widths, sample).boxes


def draw(
    augment: Augment,
    resolution: int,
    heights: NDArray[np.int64],
    widths: NDArray[np.int64],
    sample: NDArray[np.int64],
    view: NDArray[np.int64] | int = 0,
) -> Windows:
    view = view + 0 * sample
    return training_windows(augment, resolution, heights, widths, seed=0, epoch=0, sample=sample, view=view)


CROPS = [
    (CropRecipe(), 240, 320),
    (CropRecipe(scale=(0.7, 1.0)), 32, 32),
    (CropRecipe(scale=(0.9, 1.0)), 40, 400),  # most attempts do not fit: the centred window
    (CropRecipe(scale=(0.9, 1.0)), 400, 40),
    (CropRecipe(scale=(0.01, 0.02), ratio=(0.2, 5.0)), 12, 17),
]


@pytest.mark.parametrize(("crop", "height", "width"), CROPS)
def test_windows_lie_within_the_image(crop: CropRecipe, height: int, width: int) -> None:
    left, top, right, bottom = windows(crop, height, width, 5_000).T
    assert ((left >= 0) & (top >= 0) & (left < right) & (top < bottom)).all()
    assert ((right <= width) & (bottom <= height)).all()


@pytest.mark.parametrize(("crop", "height", "width"), CROPS)
def test_windows_are_distributed_as_torchvisions(crop: CropRecipe, height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    count = 2_000
    theirs = np.array(
        [RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio)) for _ in range(count)]
    )  # top, left, height, width
    left, top, right, bottom = windows(crop, height, width, count).T
    ours = np.stack([top, left, bottom - top, right - left], axis=1)
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    areas = [boxes[:, 2] * boxes[:, 3] for boxes in (ours, theirs)]
    assert stats.ks_2samp(*areas).pvalue > 1e-3


@pytest.mark.parametrize("flip", [0.0, 0.3, 1.0])
def test_the_share_of_mirrored_images(flip: float) -> None:
    sample = np.arange(5_000)
    side = np.full(5_000, 8)
    flips = draw(Augment(flip=flip), 8, side, side, sample).flips
    assert flips.mean() == pytest.approx(flip, abs=0.03 if 0 < flip < 1 else 0)


def test_views_get_windows_of_their_own() -> None:
    sample, view = np.zeros(50, dtype=np.int64), np.arange(50)
    side = np.full(50, 224)
    boxes = draw(Augment(), 224, side, side, sample, view).boxes
    assert len({tuple(b) for b in boxes}) == 50


# --------------------------------------------------------------------------------------------- pixels
def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "box"])
@pytest.mark.parametrize(("resolution", "ratio"), [(32, 0.875), (32, 1.0), (48, 0.9), (16, 0.95)])
@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (32, 32), (31, 97), (300, 200)])
def test_evaluation_is_torchvisions_resize_and_centre_crop(
    height: int, width: int, resolution: int, ratio: float, interpolation: str
) -> None:
    image = Image.fromarray(noise(height, width))
    resized = reference.resize(image, int(resolution / ratio), MODES[interpolation])
    expected = np.asarray(reference.center_crop(resized, [resolution, resolution]))
    windows = evaluation_windows(resolution, ratio, np.array([height]), np.array([width]))
    np.testing.assert_array_equal(cut(image, windows, 0, resolution, interpolation), expected)


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (32, 32), (24, 24), (300, 200)])
def test_the_simple_random_crop_is_torchvisions(height: int, width: int, padding: int) -> None:
    """Short side to the resolution, mirrored padding, then every square has the same chance."""
    image = Image.fromarray(noise(height, width))
    resized = reference.resize(image, 24, MODES["bicubic"])
    padded = np.asarray(reference.pad(resized, padding, padding_mode="reflect"))
    rows, columns = padded.shape[0] - 23, padded.shape[1] - 23
    sample = np.arange(200)
    crop = Augment(crop=SimpleRandomCrop(padding=padding), flip=0.0)
    w = draw(crop, 24, np.full(200, height), np.full(200, width), sample)
    left, top = (w.corners + padding).T
    assert set(left) == set(range(columns)) or columns > 20
    assert set(top) == set(range(rows)) or rows > 20
    for slot in range(0, 200, 10):
        expected = padded[top[slot] : top[slot] + 24, left[slot] : left[slot] + 24]
        np.testing.assert_array_equal(cut(image, w, slot, 24, "bicubic"), expected)


@pytest.mark.parametrize(("start", "expected"), [(-3, [3, 2, 1, 0, 1]), (2, [2, 3, 2, 1, 0]), (0, [0, 1, 2, 3, 2])])
def test_an_axis_is_mirrored_without_its_border(start: int, expected: list[int]) -> None:
    np.testing.assert_array_equal(mirrored(start, 5, 4), expected)
    np.testing.assert_array_equal(mirrored(start, 5, 1), np.zeros(5))


BOXES = [(0, 0, 61, 40), (5, 3, 25, 33), (10, 10, 11, 11), (0, 7, 50, 9), (60, 39, 61, 40)]


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("box", BOXES)
def test_training_is_torchvisions_resized_crop(box: tuple[int, ...], flip: bool, interpolation: str) -> None:
    image = Image.fromarray(noise(40, 61))
    left, top, right, bottom = box
    expected = reference.resized_crop(
        image, top, left, bottom - top, right - left, [24, 24], MODES[interpolation], antialias=True
    )
    expected = reference.hflip(expected) if flip else expected
    sizes = np.array([[24, 24]])
    windows = Windows(np.array([box]), sizes, 0 * sizes, np.array([flip]))
    np.testing.assert_array_equal(cut(image, windows, 0, 24, interpolation), np.asarray(expected))
