"""Random erasing against timm's."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import stats
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from interplay.augment.erasing import draw_boxes, erase_
from interplay.errors import InterplayError
from interplay.recipe import Augment, Recipe
from tests.unit.augment_images import keys


def erased(count: int, side: int, augment: Augment, *, value: float = 50.0, epoch: int = 0) -> Tensor:
    return erase_(torch.full((count, 3, side, side), value), augment, keys(count, epoch=epoch))


def test_erasing_replaces_one_rectangle_of_some_images_with_normal_noise() -> None:
    count, side, augment = 2000, 32, Augment(erasing=0.25)
    out = erased(count, side, augment)
    where = out != 50.0
    rows = where.flatten(1).any(1).nonzero()[:, 0]
    assert abs(len(rows) / count - augment.erasing) < 4 * (0.25 * 0.75 / count) ** 0.5
    for row in rows:
        assert torch.equal(where[row, 0], where[row, 1])
        ys, xs = where[row, 0].any(1).nonzero()[:, 0], where[row, 0].any(0).nonzero()[:, 0]
        high, wide = int(ys[-1] - ys[0]) + 1, int(xs[-1] - xs[0]) + 1
        assert int(where[row, 0].sum()) == high * wide
        assert (high + 0.5) * (wide + 0.5) >= augment.erasing_area[0] * side**2
        assert (high - 0.5) * (wide - 0.5) <= augment.erasing_area[1] * side**2
        assert max(high, wide) < side
    noise = out[where]
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1.0) < 0.01
    assert abs(float((noise**4).mean()) - 3.0) < 0.1
    assert torch.equal(out, erased(count, side, augment))


@pytest.fixture
def seeded() -> Iterator[None]:
    state = random.getstate()
    random.seed(0)
    yield
    random.setstate(state)


@pytest.mark.slow
@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("side", [32, 75])
@pytest.mark.parametrize("changes", [{}, {"erasing_count": 3}, {"erasing_area": (0.1, 0.2), "erasing_aspect": 0.6}])
def test_boxes_are_distributed_as_timms(changes: dict[str, object], side: int) -> None:
    """Which share of the image, of its rows, and where: Kolmogorov-Smirnov at 1 in 1,000."""
    augment = Augment(erasing=0.7, erasing_mode="const", **changes)
    timms = RandomErasing(
        augment.erasing,
        *augment.erasing_area,
        min_aspect=augment.erasing_aspect,
        mode="const",
        max_count=augment.erasing_count,
        device="cpu",
    )
    found = []
    for images in (erased(2000, side, augment, value=1.0), timms(torch.ones(1200, 3, side, side))):
        gone = (images[:, 0] == 0.0).float()
        y, x = torch.arange(side).view(1, -1, 1), torch.arange(side).view(1, 1, -1)
        area = gone.sum(dim=(1, 2))
        middles = [(gone * part).sum(dim=(1, 2))[area > 0] / area[area > 0] for part in (y, x)]
        rows = gone.amax(dim=2).sum(dim=1)
        found.append([area, rows, *middles])
    for one, other in zip(*found, strict=True):
        assert stats.ks_2samp(one, other).pvalue > 1e-3


def test_modes() -> None:
    count, side = 60, 24
    boxes = {}
    for mode in ("pixel", "rand", "const"):
        out = erased(count, side, Augment(erasing=1.0, erasing_mode=mode))
        where = boxes[mode] = (out != 50.0)[:, 0]
        values = [out[i, :, where[i]] for i in range(count)]
        distinct = {"pixel": None, "rand": 1, "const": 1}[mode]
        for value in values:
            for channel in value:
                assert len(channel.unique()) == (distinct or len(channel))
        colours = torch.stack([value[:, 0] for value in values])
        assert len(colours.unique()) == {"pixel": 3 * count, "rand": 3 * count, "const": 1}[mode]
        if mode == "rand":
            assert stats.kstest(colours.flatten().numpy(), "norm").pvalue > 1e-3
        if mode == "const":
            assert not colours.any()
    assert torch.equal(boxes["pixel"], boxes["rand"])
    assert torch.equal(boxes["pixel"], boxes["const"])


def test_every_number_of_boxes_is_equally_likely_and_they_share_the_area() -> None:
    augment, count, side = Augment(erasing=1.0, erasing_count=3, erasing_area=(0.03, 0.03)), 3000, 60
    share = (erased(count, side, augment, value=1.0)[:, 0] != 1.0).float().mean(dim=(1, 2))
    assert share.max() <= 0.03 * 1.2  # sides are whole pixels
    times = 1.0 + np.floor(keys(count).uniform("erasing.count")[:, 0] * 3)
    for number in range(3):
        boxes, fits = draw_boxes(augment, keys(count), number, times, side, side)
        assert fits.all()
        np.testing.assert_allclose((boxes[:, 2] * boxes[:, 3]) / side**2, 0.03 / times, rtol=0.35)
    assert stats.chisquare(np.bincount(times.astype(int))[1:]).pvalue > 1e-3


def test_the_first_box_does_not_depend_on_how_many_there_are() -> None:
    one = draw_boxes(Augment(), keys(9), 0, np.ones(9), 30, 30)[0]
    other = draw_boxes(Augment(erasing_count=4), keys(9), 0, np.ones(9), 30, 30)[0]
    assert np.array_equal(one, other)
    assert not np.array_equal(one, draw_boxes(Augment(erasing_count=4), keys(9), 1, np.ones(9), 30, 30)[0])


def test_erasing_noise_differs_between_images_channels_and_epochs() -> None:
    first, second = (erased(64, 16, Augment(erasing=1.0), value=0.0, epoch=epoch) for epoch in (0, 1))
    values = torch.cat([first[first != 0], second[second != 0]])
    assert len(values.unique()) > 0.99 * len(values)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_erasing_never_and_always(probability: float) -> None:
    out = erased(200, 16, Augment(erasing=probability), value=0.0)
    assert bool((out != 0).flatten(1).any(1).all()) == bool(probability)
    assert bool((out != 0).any()) == bool(probability)


def test_an_image_too_small_for_a_box_stays() -> None:
    out = erased(20, 2, Augment(erasing=1.0, erasing_area=(1.0, 1.0), erasing_aspect=1.0))
    assert bool((out == 50.0).all())


def test_memory_formats_give_the_same() -> None:
    x = torch.arange(4 * 3 * 16 * 16, dtype=torch.float32).view(4, 3, 16, 16)
    expected = erase_(x.clone(), Augment(erasing=1.0), keys(4))
    other = x.clone().contiguous(memory_format=torch.channels_last)
    assert torch.equal(erase_(other, Augment(erasing=1.0), keys(4)), expected)
    assert torch.equal(other, expected)  # in place, as the name says


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"augment.erasing_area": [0.4, 0.1]}, "must rise"),
        ({"augment.erasing_area": [0.0, 0.1]}, "must rise"),
        ({"augment.erasing_mode": "pixels"}, "did you mean 'pixel'"),
        ({"augment.erasing_count": 0}, "greater than 0"),
        ({"augment.erasing_aspect": 0.0}, "greater than 0"),
    ],
)
def test_mistakes_name_the_fix(changes: dict[str, object], fix: str) -> None:
    with pytest.raises(InterplayError, match=fix):
        Recipe().with_(changes)
