"""Colour jitter against torchvision's ColorJitter."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as torchvision_ops
from scipy import stats

from interplay.augment.jitter import NAMES, colour_jitter, jitter_values
from interplay.augment.operations import OPERATIONS
from tests.unit.augment_images import chi_square, from_pil, keys, photos, to_pil

ADJUST = {
    "brightness": torchvision_ops.adjust_brightness,
    "contrast": torchvision_ops.adjust_contrast,
    "saturation": torchvision_ops.adjust_saturation,
    "hue": torchvision_ops.adjust_hue,
}


def test_jitter_stays_within_its_strength() -> None:
    x = torch.full((4000, 3, 1, 1), 100, dtype=torch.uint8)
    out = colour_jitter(x, (0.3, 0.3, 0.3, 0.0), "fixed", keys(4000)).float()  # of grey only the brightness is seen
    assert out.min() >= 70
    assert out.max() <= 130
    assert abs(float(out.mean()) - 100.0) < 1.0
    assert abs(float(out.std()) - 60.0 / 12**0.5) < 0.5


def test_factors_are_uniform_and_independent() -> None:
    strengths = (0.4, 0.3, 0.2, 0.1)
    values = jitter_values(strengths, keys(5000))
    for column, strength, middle in zip(values.T, strengths, (1, 1, 1, 0), strict=True):
        assert stats.kstest(column, stats.uniform(middle - strength, 2 * strength).cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(values.T) - np.eye(4)).max() < 0.06


@pytest.mark.parametrize("hue", [0.0, 0.1])
def test_the_fixed_order_is_torchvisions_operations_one_after_the_other(hue: float) -> None:
    """Each rounds to whole grey levels where Pillow cuts, so four of them may be some levels apart."""
    strengths = (0.3, 0.3, 0.3, hue)
    x = photos(12)
    out = colour_jitter(x, strengths, "fixed", keys(12))
    for image, changed, values in zip(x, out, jitter_values(strengths, keys(12)), strict=True):
        expected = to_pil(image)
        for name, value in zip(NAMES, values, strict=True):
            expected = ADJUST[name](expected, float(value))
        difference = (changed.short() - from_pil(expected)).abs().float()
        assert difference.mean() < (3.0 if hue else 2.0)
        assert difference.max() <= (16 if hue else 8)


@pytest.mark.parametrize("hue", [0.0, 0.1])
def test_the_random_order_is_any_order_equally_often(hue: float) -> None:
    """Found by doing the operations in all orders and looking which one an image got."""
    strengths, count = (0.9, 0.9, 0.9, hue), 1200
    x = photos(1, 12).expand(count, -1, -1, -1).contiguous()
    values = torch.from_numpy(jitter_values(strengths, keys(count))).float()
    out = colour_jitter(x, strengths, "random", keys(count))
    on = [name for name, strength in zip(NAMES, strengths, strict=True) if strength]
    orders = list(permutations(on))
    same = []
    for order in orders:
        y = x
        for name in order:
            y = OPERATIONS[name](y, values[:, NAMES.index(name)])
        same.append((y == out).flatten(1).all(1))
    matches = torch.stack(same)
    assert matches.any(dim=0).all()
    clear = matches.sum(dim=0) == 1  # a factor near 1 fits several orders
    assert clear.float().mean() > 0.8
    found = Counter(matches[:, clear].int().argmax(dim=0).tolist())
    expected = np.full(len(orders), int(clear.sum()) / len(orders))
    observed = np.array([found[i] for i in range(len(orders))])
    assert chi_square(observed, expected) < stats.chi2.ppf(0.9999, len(orders) - 1) * 1.2


def test_a_strength_of_zero_is_left_out() -> None:
    x = photos(8)
    for order in ("fixed", "random"):
        assert torch.equal(colour_jitter(x, (0.0, 0.0, 0.0, 0.0), order, keys(8)), x)
        grey = colour_jitter(x[:, :1].expand(-1, 3, -1, -1), (0.0, 0.0, 0.9, 0.5), order, keys(8))
        assert torch.equal(grey, x[:, :1].expand(-1, 3, -1, -1))


def test_turning_hue_on_leaves_the_other_draws() -> None:
    assert np.array_equal(
        jitter_values((0.3, 0.3, 0.3, 0.0), keys(5))[:, :3], jitter_values((0.3, 0.3, 0.3, 0.1), keys(5))[:, :3]
    )
