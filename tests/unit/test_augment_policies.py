"""Policies draw what timm's and torchvision's draw: the same operations as often, with the same values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import timm.data.auto_augment as timm_ops
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from interplay.augment import apply_policy, colour, draw_policy, levels
from interplay.augment.auto_augment import SCHEMES
from interplay.augment.geometry import BLACK, Resampling
from interplay.augment.operations import Layer, apply_layer
from interplay.errors import InterplayError
from interplay.recipe import (
    AugMix,
    AutoAugment,
    NoPolicy,
    RandAugment,
    Recipe,
    ThreeAugment,
    TrivialAugment,
    fingerprint,
    from_yaml,
    to_yaml,
)
from interplay.recipe.augmentation import Policy
from tests.unit.augment_images import chi_square, from_pil, keys, photo, photos, to_pil

LEVELS = np.arange(0.0, 14.01, 0.25)  # mmax lets them beyond 10


# ---------------------------------------------------------------------------------------- timm's levels
@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", [n for n in levels.TIMM if timm_ops.LEVEL_TO_ARG[n] and n != "GaussianBlurRand"])
def test_values_at_a_level_are_timms(monkeypatch: pytest.MonkeyPatch, name: str, sign: float) -> None:
    monkeypatch.setattr(timm_ops, "_randomly_negate", lambda value: sign * value)
    expected = np.array([timm_ops.LEVEL_TO_ARG[name](level, {})[0] for level in LEVELS], dtype=np.float64)
    if name == "Desaturate":
        expected = 1.0 - expected  # timm turns it into Pillow's factor in the operation
    if name.startswith("Posterize"):
        expected = np.maximum(1, expected)  # zero bits is an error in Pillow
    ours = levels.TIMM[name].argument(LEVELS, np.full_like(LEVELS, sign))
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_operation_sets_are_timms() -> None:
    assert list(levels.RAND) == timm_ops._RAND_TRANSFORMS
    assert list(levels.RAND_INCREASING) == timm_ops._RAND_INCREASING_TRANSFORMS
    assert list(levels.RAND_3A) == timm_ops._RAND_3A
    assert levels.RAND_WEIGHTS == timm_ops._RAND_WEIGHTED_0
    assert levels.RAND_3A_WEIGHTS == timm_ops._RAND_WEIGHTED_3A
    assert list(levels.AUG_MIX) == timm_ops._AUGMIX_TRANSFORMS


@pytest.mark.parametrize("scheme", SCHEMES)
def test_auto_augment_schemes_are_timms(scheme: str) -> None:
    policy = timm_ops.auto_augment_policy(scheme)
    assert [list(map(tuple, steps)) for steps in SCHEMES[scheme]] == [
        [(op.name, op.prob, op.magnitude) for op in steps] for steps in policy
    ]


def test_posterise_keeps_a_bit() -> None:
    with pytest.raises(ValueError, match="bits"):
        timm_ops.posterize(to_pil(photo(8, 0)), 0)
    drawn = draw_policy(RandAugment(magnitude=10.0, layers=1, probability=1.0), keys(4000), 8, 8)[0]
    assert drawn.value[drawn.choice == drawn.names.index("posterise")].min() == 1.0


# --------------------------------------------------------------------- what is drawn, next to timm's draws
Draws = list[tuple[tuple[str, float], ...]]
"""For each image, the operations it gets in order, with their values."""


def ours(policy: Policy, count: int, *, seed: int = 0) -> Draws:
    images: list[list[tuple[str, float]]] = [[] for _ in range(count)]
    for layer in draw_policy(policy, keys(count, seed=seed), 100, 100):
        for image in np.flatnonzero(layer.choice >= 0):
            images[image].append((layer.names[layer.choice[image]], float(layer.value[image])))
    return [tuple(image) for image in images]


class Probe:
    """An image that notes how it is blurred: the radius is drawn inside timm's operation."""

    def __init__(self, seen: list[tuple[str, float]]) -> None:
        self.seen = seen

    def filter(self, blur: Any) -> Probe:
        self.seen.append(("blur", float(blur.radius)))
        return self


def timms(config: str, count: int) -> Draws:
    seen: list[tuple[str, float]] = []

    def note(op: timm_ops.AugmentOp) -> None:
        name, blur = op.name, op.aug_fn

        def noted(image: Probe, *values: float, **_: Any) -> Probe:
            if name == "GaussianBlurRand":
                return blur(image, *values)
            value = float(values[0]) if values else 0.0
            value = 1.0 - value if name == "Desaturate" else max(1.0, value) if "Posterize" in name else value
            seen.append((levels.TIMM[name].name, value))
            return image

        op.aug_fn = noted

    if config.startswith("rand"):
        transform = timm_ops.rand_augment_transform(config, {"translate_const": 100})
        list(map(note, transform.ops))
    else:
        transform = timm_ops.auto_augment_transform(config, {"translate_const": 100})
        for steps in transform.policy:
            list(map(note, steps))
    found = []
    for _ in range(count):
        seen.clear()
        transform(Probe(seen))
        found.append(tuple(seen))
    return found


TIMM_CONFIGS: dict[str, Policy] = {
    "rand-m9-mstd0.5-inc1": RandAugment(),
    "rand-m7-mstd0.5-inc1": RandAugment(magnitude=7.0),
    "rand-m7-mstd0.5": RandAugment(magnitude=7.0, increasing=False),
    "rand-m6-n3-p0.8-inc1": RandAugment(magnitude=6.0, std=0.0, layers=3, probability=0.8),
    "rand-m9-mstd101-inc1": RandAugment(std=101.0),
    "rand-m12-mstd2-mmax14-inc1": RandAugment(magnitude=12.0, std=2.0, max_level=14.0),
    "rand-m10-mstd2-mmax11": RandAugment(magnitude=10.0, std=2.0, max_level=11.0, increasing=False),
    "rand-m5-n2-mstd3-p0.9-tweights": RandAugment(magnitude=5.0, std=3.0, probability=0.9, choice="weights"),
    "rand-m8-n1-mstd1-t3a": RandAugment(magnitude=8.0, std=1.0, layers=1, choice="3a"),
    "rand-m8-n4-mstd1-p1-t3aw": RandAugment(magnitude=8.0, std=1.0, layers=4, probability=1.0, choice="3aw"),
    "original": AutoAugment(),
    "originalr-mstd0.5": AutoAugment(scheme="originalr", std=0.5),
    "v0-mstd3": AutoAugment(scheme="v0", std=3.0),
    "v0r": AutoAugment(scheme="v0r"),
    "3a": AutoAugment(scheme="3a"),
    "3a-mstd2": AutoAugment(scheme="3a", std=2.0),
}


def counts_differ(one: Counter[Any], other: Counter[Any]) -> float:
    """p of the hypothesis that both were counted in the same distribution; rare things are taken together."""
    common = [k for k in one | other if one[k] + other[k] >= 20]
    table = np.array([[c[k] for k in common] + [c.total() - sum(c[k] for k in common)] for c in (one, other)])
    table = table[:, table.sum(axis=0) > 0]
    return 1.0 if table.shape[1] < 2 else float(stats.chi2_contingency(table).pvalue)


@pytest.mark.slow
@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("config", TIMM_CONFIGS)
def test_draws_are_distributed_as_timms(config: str) -> None:
    """Sequences of operations by chi-square, values by Kolmogorov-Smirnov; each at 1 in 10,000 per comparison."""
    one, other = ours(TIMM_CONFIGS[config], 8000), timms(config, 4000)
    names = [Counter(tuple(name for name, _ in image) for image in images) for images in (one, other)]
    assert counts_differ(*names) > 1e-4
    values = [[step for image in images for step in image] for images in (one, other)]
    compared = 0
    for name in {name for name, _ in values[0]} | {name for name, _ in values[1]}:
        samples = [np.array([value for n, value in drawn if n == name]) for drawn in values]
        if name in ("autocontrast", "equalise", "invert"):
            continue  # they take no value
        if min(map(len, samples)) < 5:
            assert max(map(len, samples)) < 30, name
            continue
        compared += 1
        assert stats.ks_2samp(*(np.round(s, 9) for s in samples)).pvalue > 1e-4, name
    assert compared


def test_another_magnitude_would_be_noticed() -> None:
    """The comparison above tells levels half a step apart."""
    one, other = (
        [v for image in ours(RandAugment(magnitude=m), 4000) for n, v in image if n == "rotate"] for m in (8.0, 8.5)
    )
    assert stats.ks_2samp(one, other).pvalue < 1e-4


def test_rand_augment_layers_are_independent() -> None:
    drawn = draw_policy(RandAugment(probability=1.0), keys(12000), 8, 8)
    table = np.bincount(drawn[0].choice * 15 + drawn[1].choice, minlength=225)
    assert chi_square(table, np.full(225, 12000 / 225)) < 295.0  # 0.1 % of fair draws, 224 degrees of freedom


# --------------------------------------------------------------------------------------- TrivialAugment
def torchvisions_bin(name: str, side: int) -> np.ndarray:
    """torchvision's magnitudes of one of our operations, as our values."""
    known = TrivialAugmentWide()._augmentation_space(31)
    theirs = {"saturation": "Color", "autocontrast": "AutoContrast"}
    title = theirs.get(name) or "".join(part.title() for part in name.split("_"))
    title = title.replace("Solarise", "Solarize").replace("Posterise", "Posterize").replace("Equalise", "Equalize")
    magnitudes, signed = known[title]
    values = magnitudes.double().reshape(-1).numpy()
    values = np.concatenate([values, -values]) if signed else values
    if title.startswith("Translate"):
        # the middle level is 16 pixels; torchvision's float32 makes it 15.999999, and cuts that to 15
        return np.trunc(values + 1e-4 * np.sign(values)) / side
    return 1.0 + values if title in ("Brightness", "Color", "Contrast", "Sharpness") else values


def test_trivial_augment_draws_torchvisions_operations_and_magnitudes() -> None:
    count, side = 60000, 50
    layer = draw_policy(TrivialAugment(), keys(count), side, side)[0]
    assert len(layer.names) == len(TrivialAugmentWide()._augmentation_space(31)) == 14
    assert chi_square(np.bincount(layer.choice, minlength=14), np.full(14, count / 14)) < 34.5  # 0.1 %, 13 degrees
    for number, name in enumerate(layer.names):
        drawn = layer.value[layer.choice == number]
        if name in ("identity", "autocontrast", "equalise"):
            continue
        expected, weight = np.unique(np.round(torchvisions_bin(name, side), 5), return_counts=True)
        found, times = np.unique(np.round(drawn, 5), return_counts=True)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        assert chi_square(times, len(drawn) * weight / weight.sum()) < stats.chi2.ppf(0.9999, len(found) - 1)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_trivial_augment_does_what_torchvision_does(interpolation: str) -> None:
    side, step = 36, 21
    resampling = Resampling(interpolation, BLACK)
    enhance = {"Brightness", "Color", "Contrast", "Sharpness"}
    signed = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", *enhance}
    names = {"Color": "saturation", "AutoContrast": "autocontrast", "ShearX": "shear_x", "ShearY": "shear_y"}
    names |= {"TranslateX": "translate_x", "TranslateY": "translate_y", "Equalize": "equalise"}
    names |= {"Solarize": "solarise", "Posterize": "posterise"}
    for name, (magnitudes, _) in TrivialAugmentWide()._augmentation_space(31).items():
        for sign in (1.0, -1.0) if name in signed else (1.0,):
            magnitude = sign * float(magnitudes[step]) if magnitudes.ndim else 0.0
            value = 1.0 + magnitude if name in enhance else magnitude
            value = -int(magnitude) / side if name.startswith("Translate") else value  # ours is to the left
            image = photo(side, 3)
            layer = Layer((names.get(name, name.lower()),), np.zeros(1, np.int64), np.array([value]))
            out = apply_layer(image[None], layer, resampling)[0].short()
            expected = _apply_op(to_pil(image), name, magnitude, InterpolationMode(interpolation), [0.0, 0.0, 0.0])
            # sheared and rotated edges may fall on the other side of a pixel
            assert ((out - from_pil(expected)).abs() > 1).float().mean() < 0.04, (name, sign)


# ------------------------------------------------------------------------------------------- 3-Augment
def test_three_augment_applies_exactly_one_operation_with_equal_chance() -> None:
    count, one = 6000, photo(6, 0)
    x = one.expand(count, -1, -1, -1).contiguous()
    out = apply_policy(ThreeAugment(blur_radius=(1.0, 2.0)), x, keys(count))
    grey = (out == colour.grayscale(one[None])).flatten(1).all(1)
    solarised = (out == colour.solarise(one[None], torch.tensor([128.0]))).flatten(1).all(1)
    blurred = out[~grey & ~solarised].float()
    observed = np.array([int(grey.sum()), int(solarised.sum()), len(blurred)])
    assert not (grey & solarised).any()
    assert chi_square(observed, np.full(3, count / 3)) < 13.8  # 0.1 % of fair draws, 2 degrees of freedom
    # a blur of an image that was neither greyed nor inverted keeps every channel's mean, more or less
    assert (blurred.mean(dim=(2, 3)) - one.float().mean(dim=(1, 2))).abs().max() < 15.0


@pytest.mark.usefixtures("seeded")
def test_three_augment_is_timms() -> None:
    one, other = ours(ThreeAugment(), 12000), timms("3a", 8000)
    kinds = {"grayscale": "saturation"}
    names = [Counter(kinds.get(image[0][0], image[0][0]) for image in images) for images in (one, other)]
    assert counts_differ(*names) > 1e-4
    radii = [[value for ((name, value),) in images if name == "blur"] for images in (one, other)]
    assert stats.ks_2samp(*radii).pvalue > 1e-4
    assert {value for ((name, value),) in one if name == "solarise"} == {128.0}


@pytest.mark.parametrize("ops", [("blur",), ("grayscale", "solarise"), ("solarise", "blur")])
def test_three_augment_subsets(ops: tuple[Any, ...]) -> None:
    drawn = Counter(name for ((name, _),) in ours(ThreeAugment(ops=ops), 3000))
    assert drawn.keys() == set(ops)
    assert chi_square(np.array(list(drawn.values())), np.full(len(ops), 3000 / len(ops))) < 10.9


# --------------------------------------------------------------------------------------------- recipes
POLICIES: list[Policy] = [
    ThreeAugment(),
    RandAugment(),
    RandAugment(layers=3, probability=1.0, choice="3aw"),
    AutoAugment(),
    AutoAugment(scheme="v0", std=0.5),
    AutoAugment(scheme="3a"),
    TrivialAugment(),
    TrivialAugment(interpolation="bilinear", bins=5),
    AugMix(),
    AugMix(magnitude=8.0, std=0.5, width=2, depth=1, alpha=0.5),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_policy_changes_images_and_nothing_else(policy: Policy) -> None:
    x = photos(24, 37)
    before = x.clone()
    out = apply_policy(policy, x, keys(24))
    assert torch.equal(x, before)
    assert out.shape == x.shape
    assert out.dtype == torch.uint8
    assert (out != x).flatten(1).any(1).float().mean() > 0.3
    assert torch.equal(apply_policy(policy, x.contiguous(memory_format=torch.channels_last), keys(24)), out)


def test_no_policy_changes_nothing() -> None:
    assert torch.equal(apply_policy(NoPolicy(), photos(3), keys(3)), photos(3))


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_a_policy_is_part_of_the_recipe(policy: Policy) -> None:
    recipe = Recipe().with_({"augment.policy": policy})
    assert from_yaml(to_yaml(recipe)).augment.policy == policy
    others = [p for p in POLICIES if p != policy]
    prints = {fingerprint(Recipe().with_({"augment.policy": p}), "d") for p in others}
    assert len(prints) == len(others)
    assert fingerprint(recipe, "d") not in prints


@pytest.mark.parametrize("kind", ["rand_augment", "auto_augment", "trivial_augment", "three_augment", "aug_mix"])
def test_a_policy_may_be_named(kind: str) -> None:
    assert Recipe().with_({"augment.policy": kind}).augment.policy.kind == kind


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"augment.policy": {"kind": "auto_augment", "scheme": "vor"}}, "did you mean 'v0r'"),
        ({"augment.policy.bins": 9}, "choose augment.policy=trivial_augment"),
        (
            {"augment.policy": "rand_augment", "augment.policy.choice": "3a", "augment.policy.increasing": False},
            "set augment.policy.choice='all'",
        ),
        (
            {"augment.policy": "rand_augment", "augment.policy.choice": "weights", "augment.policy.layers": 16},
            "use at most 15",
        ),
        ({"augment.policy": {"kind": "rand_augment", "magnitude": 12}}, "raise that too, or stay below"),
        ({"augment.policy": {"kind": "trivial_augment", "bins": 1}}, "greater than or equal to 2"),
    ],
)
def test_mistakes_name_the_fix(changes: dict[str, Any], fix: str) -> None:
    with pytest.raises(InterplayError, match=fix):
        Recipe().with_(changes)


def test_pillow_images_are_what_the_tests_think() -> None:
    assert to_pil(photo(9, 1)).size == (9, 9)
    assert torch.equal(from_pil(Image.fromarray(photo(9, 1).permute(1, 2, 0).numpy())), photo(9, 1).short())
