"""Views for self-supervised losses: what happens to each, how often, and that they do not depend on each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from interplay.augment import BYOL, View, dino, ssl_views
from interplay.augment.blur import gaussian_blur
from tests.unit.augment_images import keys, photo, photos

PLAIN = View(jitter_probability=0.0, grayscale=0.0, blur=0.0, solarise=0.0)


def test_byols_views_are_those_of_the_paper() -> None:
    first, second = BYOL
    assert (first.blur, first.solarise) == (1.0, 0.0)
    assert (second.blur, second.solarise) == (0.1, 0.2)
    for view in BYOL:
        assert view.jitter == (0.4, 0.4, 0.2, 0.1)
        assert (view.jitter_probability, view.grayscale) == (0.8, 0.2)
    assert dino(small=3) == (first, second, *[replace(first, blur=0.5)] * 3)


@pytest.mark.parametrize(
    ("what", "probability"), [("jitter_probability", 0.8), ("grayscale", 0.2), ("blur", 0.3), ("solarise", 0.2)]
)
def test_each_happens_as_often_as_it_says(what: str, probability: float) -> None:
    count = 3000
    x = photo(6, 0).expand(count, -1, -1, -1).contiguous()
    view = replace(PLAIN, blur_radius=(1.0, 2.0), **{what: probability})
    (out,) = ssl_views(x, [view], keys(count))
    changed = (out != x).flatten(1).any(1).float().mean()
    assert abs(float(changed) - probability) < 4 * (probability * (1 - probability) / count) ** 0.5 + 0.005


def test_what_is_off_changes_nothing() -> None:
    assert torch.equal(ssl_views(photos(4), [PLAIN], keys(4))[0], photos(4))


def test_what_happens_is_what_it_is_called() -> None:
    x = photos(6)
    blur = replace(PLAIN, blur=1.0, blur_radius=(1.5, 1.5))
    views = [replace(PLAIN, grayscale=1.0), replace(PLAIN, solarise=1.0), blur]
    grey, solarised, blurred = ssl_views(x, views, keys(6))
    assert torch.equal(grey[:, 0], grey[:, 2])
    assert torch.equal(solarised, torch.where(x < 128, x, 255 - x))
    assert torch.equal(blurred, gaussian_blur(x, torch.full((6,), 1.5), 1.5))


def test_views_differ_and_may_have_crops_of_their_own() -> None:
    large, small = photos(12, 24), photos(12, 10)
    views = ssl_views([large, large, small], dino(small=1), keys(12))
    assert [view.shape[-1] for view in views] == [24, 24, 10]
    one, other = ssl_views(large, [BYOL[0], BYOL[0]], keys(12))
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="zip"):
        ssl_views([large], BYOL, keys(12))


def test_a_view_does_not_depend_on_the_batch_or_the_views_after_it() -> None:
    x = photos(20)
    whole = ssl_views(x, BYOL, keys(20))
    assert torch.equal(ssl_views(x, BYOL[:1], keys(20))[0], whole[0])
    rows = np.array([17, 3, 4])
    for part, expected in zip(ssl_views(x[rows], BYOL, keys(20)[rows]), whole, strict=True):
        assert torch.equal(part, expected[rows])
