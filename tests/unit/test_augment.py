"""Augmentation against Pillow and timm, and its randomness against what the recipe says."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import timm.data.auto_augment as timm_ops
import timm.data.mixup as timm_mixup
import torch
from PIL import Image, ImageFilter, ImageOps
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from interplay.augment import Keys, Mixing, Normalise, TrainingStage, apply_policy, colour, draw_mixing, geometry, mix
from interplay.augment import policy as policy_module
from interplay.augment.erasing import AREA, colour_jitter, random_erasing
from interplay.counter_rng import beta
from interplay.recipe import Augment, RandAugment, ThreeAugment

PilOperation = Callable[[Image.Image, float], Image.Image]
SIDES = (24, 37)  # an odd side too: half pixels show mistakes about the centre


def photo(side: int, seed: int) -> Tensor:
    """[3, side, side] in 0..255: waves with noise on them, different in every channel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    phase, pace = rng.uniform(0, 6, (3, 1, 1)), rng.uniform(2, 9, (3, 1, 1))
    waves = 127 + 90 * np.sin(pace * x + phase) * np.cos(pace * y - phase) + rng.normal(0, 12, (3, side, side))
    return torch.from_numpy(waves.clip(0, 255).round()).float()


def photos(count: int, side: int = 24) -> Tensor:
    return torch.stack([photo(side, seed) for seed in range(count)])


def to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(image.permute(1, 2, 0).byte().numpy())


def from_pil(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float()


def keys(count: int, *, seed: int = 0, epoch: int = 0) -> Keys:
    return Keys(seed, epoch, np.arange(count), np.zeros(count, dtype=np.int64))


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    return float(((observed - expected) ** 2 / expected).sum())


# --------------------------------------------------------------------------------------------- colour
COLOUR: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], PilOperation, list[float]]] = {
    "grayscale": (lambda x, _: colour.grayscale(x), lambda i, _: ImageOps.grayscale(i), [0.0] * 5),
    "invert": (lambda x, _: colour.invert(x), lambda i, _: timm_ops.invert(i), [0.0] * 5),
    "autocontrast": (lambda x, _: colour.autocontrast(x), lambda i, _: timm_ops.auto_contrast(i), [0.0] * 5),
    "equalise": (lambda x, _: colour.equalise(x), lambda i, _: timm_ops.equalize(i), [0.0] * 5),
    "solarise": (colour.solarise, lambda i, v: timm_ops.solarize(i, int(v)), [0, 26, 128, 200, 256]),
    "solarise_add": (colour.solarise_add, lambda i, v: timm_ops.solarize_add(i, int(v)), [0, 11, 60, 99, 110]),
    "posterise": (colour.posterise, lambda i, v: timm_ops.posterize(i, int(v)), [1, 2, 3, 4, 8]),
    "brightness": (colour.brightness, timm_ops.brightness, [0.1, 0.7, 1.0, 1.3, 1.9]),
    "contrast": (colour.contrast, timm_ops.contrast, [0.1, 0.7, 1.0, 1.3, 1.9]),
    "saturation": (colour.saturation, timm_ops.color, [0.1, 0.7, 1.0, 1.3, 1.9]),
    "sharpness": (colour.sharpness, timm_ops.sharpness, [0.1, 0.7, 1.0, 1.3, 1.9]),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", COLOUR)
def test_colour_is_pillows_within_a_grey_level(name: str, side: int) -> None:
    ours, pillows, values = COLOUR[name]
    x = photos(len(values), side)
    out = ours(x, torch.tensor(values, dtype=torch.float32))
    for image, changed, value in zip(x, out, values, strict=True):
        assert (changed - from_pil(pillows(to_pil(image), value))).abs().max() <= 1.0


@pytest.mark.parametrize("name", ["invert", "grayscale", "solarise", "solarise_add", "posterise", "equalise"])
def test_colour_without_a_blend_is_exactly_pillows(name: str) -> None:
    ours, pillows, values = COLOUR[name]
    x = photos(len(values))
    expected = torch.stack([from_pil(pillows(to_pil(i), v)) for i, v in zip(x, values, strict=True)])
    assert torch.equal(ours(x, torch.tensor(values, dtype=torch.float32)), expected)


@pytest.mark.parametrize("name", ["autocontrast", "equalise", "contrast", "sharpness"])
@pytest.mark.parametrize("level", [0.0, 77.0, 255.0])
def test_a_constant_image_is_as_pillow_leaves_it(name: str, level: float) -> None:
    ours, pillows, _ = COLOUR[name]
    x = torch.full((1, 3, 8, 8), level)
    assert (ours(x, torch.tensor([1.9])) - from_pil(pillows(to_pil(x[0]), 1.9))).abs().max() <= 1.0


@pytest.mark.parametrize("side", SIDES)
def test_blur_is_pillows_within_two_grey_levels(side: int) -> None:
    # Pillow rounds each of its six box blurs from fixed point, we from floats: a level here and there
    radii = torch.linspace(0.1, 2.0, 12)
    x = torch.stack([torch.from_numpy(np.random.default_rng(s).integers(0, 256, (3, side, side))) for s in range(12)])
    out = colour.gaussian_blur(x.float(), radii, 2.0)
    for image, blurred, radius in zip(x, out, radii, strict=True):
        difference = (blurred - from_pil(to_pil(image).filter(ImageFilter.GaussianBlur(float(radius))))).abs()
        assert difference.max() <= 2.0
        assert difference.mean() < 0.2


def test_blur_does_not_depend_on_the_largest_radius_allowed() -> None:
    x, radii = photos(4), torch.tensor([0.1, 0.5, 1.0, 2.0])
    assert torch.equal(colour.gaussian_blur(x, radii, 2.0), colour.gaussian_blur(x, radii, 9.0))


# ------------------------------------------------------------------------------------------- geometry
GEOMETRY: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., Image.Image], list[float]]] = {
    "rotate": (geometry.rotate, timm_ops.rotate, [-30.0, -7.3, 0.0, 11.0, 27.0]),
    "shear_x": (geometry.shear_x, timm_ops.shear_x, [-0.3, -0.11, 0.0, 0.07, 0.27]),
    "shear_y": (geometry.shear_y, timm_ops.shear_y, [-0.3, -0.11, 0.0, 0.07, 0.27]),
    "translate_x": (geometry.translate_x, timm_ops.translate_x_rel, [-0.45, -0.11, 0.0, 0.07, 0.4]),
    "translate_y": (geometry.translate_y, timm_ops.translate_y_rel, [-0.45, -0.11, 0.0, 0.07, 0.4]),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_is_pillows_bilinear(name: str, side: int) -> None:
    """Within a grey level, and half of one on average: Pillow drops the fraction, we round it."""
    ours, pillows, values = GEOMETRY[name]
    x, fill = photos(len(values), side), tuple(int(v) for v in geometry.FILL)
    out = ours(x, torch.tensor(values))
    for image, moved, value in zip(x, out, values, strict=True):
        expected = pillows(to_pil(image), value, resample=Image.Resampling.BILINEAR, fillcolor=fill)
        difference = (moved - from_pil(expected)).abs()
        assert difference.max() <= 1.0
        assert difference.mean() < 0.55


@pytest.mark.parametrize("name", GEOMETRY)
def test_no_movement_changes_nothing(name: str) -> None:
    x = photos(3)
    assert torch.equal(GEOMETRY[name][0](x, torch.zeros(3)), x)


# ------------------------------------------------------------------------------------------- policies
TIMM_NAMES = {
    "autocontrast": "AutoContrast",
    "equalise": "Equalize",
    "invert": "Invert",
    "rotate": "Rotate",
    "posterise": "PosterizeIncreasing",
    "solarise": "SolarizeIncreasing",
    "solarise_add": "SolarizeAdd",
    "colour": "ColorIncreasing",
    "contrast": "ContrastIncreasing",
    "brightness": "BrightnessIncreasing",
    "sharpness": "SharpnessIncreasing",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateXRel",
    "translate_y": "TranslateYRel",
}
LEVELS = np.arange(0.0, 10.01, 0.25)


def test_rand_augment_has_timms_increasing_operations() -> None:
    assert list(policy_module.RAND_AUGMENT) == list(TIMM_NAMES)
    assert set(TIMM_NAMES.values()) == set(timm_ops._RAND_INCREASING_TRANSFORMS)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", [name for name, timms in TIMM_NAMES.items() if timm_ops.LEVEL_TO_ARG[timms]])
def test_rand_augment_levels_are_timms(monkeypatch: pytest.MonkeyPatch, name: str, sign: float) -> None:
    monkeypatch.setattr(timm_ops, "_randomly_negate", lambda value: sign * value)
    # zero bits, which timm would ask of Pillow at level 10, is an error there
    levels = LEVELS[LEVELS < 10.0] if name == "posterise" else LEVELS
    expected = [timm_ops.LEVEL_TO_ARG[TIMM_NAMES[name]](level, {})[0] for level in levels]
    ours = policy_module.RAND_AUGMENT[name][1](levels, np.full_like(levels, sign))
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_posterise_keeps_a_bit_at_level_ten() -> None:
    assert policy_module.RAND_AUGMENT["posterise"][1](np.array([10.0]), np.array([1.0])) == 1.0
    with pytest.raises(ValueError, match="bits"):
        timm_ops.posterize(to_pil(photo(8, 0)), 0)


def test_three_augment_applies_exactly_one_operation_with_equal_chance() -> None:
    count, one = 6000, photo(6, 0)
    x = one.expand(count, -1, -1, -1).contiguous()
    out = apply_policy(ThreeAugment(blur_radius=(1.0, 2.0)), x, keys(count))
    grey = (out == colour.grayscale(one[None])).flatten(1).all(1)
    solarised = (out == colour.solarise(one[None], torch.tensor([128.0]))).flatten(1).all(1)
    blurred = out[~grey & ~solarised]
    observed = np.array([int(grey.sum()), int(solarised.sum()), len(blurred)])
    assert not (grey & solarised).any()
    assert chi_square(observed, np.full(3, count / 3)) < 13.8  # 0.1 % of fair draws, 2 degrees of freedom
    # a blur of an image that was neither greyed nor inverted keeps every channel's mean, more or less
    assert (blurred.mean(dim=(2, 3)) - one.mean(dim=(1, 2))).abs().max() < 15.0


def test_blur_radius_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    radii: list[Tensor] = []
    monkeypatch.setattr(colour, "gaussian_blur", lambda x, radius, largest: (radii.append(radius), x)[1])
    apply_policy(ThreeAugment(ops=("blur",)), torch.zeros(4000, 3, 1, 1), keys(4000))
    counts = np.histogram(radii[0].numpy(), bins=10, range=(0.1, 2.0))[0]
    assert counts.sum() == 4000
    assert chi_square(counts, np.full(10, 400.0)) < 27.9  # 0.1 %, 9 degrees of freedom


@pytest.mark.parametrize("probability", [0.5, 1.0])
def test_rand_augment_draws_every_operation_equally(monkeypatch: pytest.MonkeyPatch, probability: float) -> None:
    for number, name in enumerate(TIMM_NAMES, start=1):
        # each layer appends its operation's number as a digit
        marker = (lambda x, _, n=number: 16.0 * x + n, lambda level, sign: level)
        monkeypatch.setitem(policy_module.RAND_AUGMENT, name, marker)
    count = 12000
    recipe = RandAugment(layers=1, probability=probability)
    first = apply_policy(recipe, torch.zeros(count, 3, 1, 1), keys(count))[:, 0, 0, 0].long().numpy()
    expected = np.array([1.0 - probability] + [probability / 15] * 15) * count
    used = expected > 0
    observed = np.bincount(first, minlength=16)
    assert observed[~used].sum() == 0
    assert chi_square(observed[used], expected[used]) < 37.7  # 0.1 %, 15 degrees of freedom
    if probability == 1.0:
        two = apply_policy(recipe.model_copy(update={"layers": 2}), torch.zeros(count, 3, 1, 1), keys(count))
        pairs = two[:, 0, 0, 0].long().numpy()
        assert (pairs // 16 == first).all()
        table = np.bincount((pairs // 16 - 1) * 15 + pairs % 16 - 1, minlength=225)
        assert chi_square(table, np.full(225, count / 225)) < 295.0  # layers are independent: 224 degrees


def test_rand_augment_levels_are_normal_about_the_magnitude_and_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TIMM_NAMES:
        monkeypatch.setitem(
            policy_module.RAND_AUGMENT,
            name,
            (lambda x, value: value[:, None, None, None].expand_as(x), lambda level, sign: sign * level),
        )
    recipe = RandAugment(magnitude=7.0, std=2.0, layers=1, probability=1.0)
    signed = apply_policy(recipe, torch.zeros(8000, 3, 1, 1), keys(8000))[:, 0, 0, 0]
    level = signed.abs()
    assert abs(float((signed > 0).float().mean()) - 0.5) < 0.02
    assert abs(float((level < 7.0).float().mean()) - 0.5) < 0.02
    assert abs(float((level < 5.0).float().mean()) - 0.1587) < 0.015
    assert abs(float((level == 10.0).float().mean()) - 0.0668) < 0.01


# ------------------------------------------------------------------------------------ counter randomness
EVERYTHING = {
    "three_augment": Augment(policy=ThreeAugment(), color_jitter=0.3, erasing=0.5),
    "rand_augment": Augment(policy=RandAugment(probability=1.0, layers=3), color_jitter=0.3, erasing=0.5),
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", EVERYTHING)
def test_an_image_gets_the_same_result_whatever_batch_it_is_in(name: str, side: int) -> None:
    normalise = Normalise((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), torch.device("cpu"))
    stage = TrainingStage(EVERYTHING[name], 5, 10, normalise)
    images, labels = photos(40, side).byte(), torch.arange(40) % 10
    view = torch.arange(40) % 3

    def run(rows: Tensor, step: int) -> Tensor:
        return stage(images[rows], labels[rows], rows, view[rows], 2, step)[0]

    whole = run(torch.arange(40), 0)
    for rows in (torch.arange(40).flip(0), torch.arange(3, 40, 7), *torch.arange(40).split(1)):
        assert torch.equal(run(rows, 1), whole[rows])


@pytest.mark.parametrize("name", EVERYTHING)
def test_epochs_seeds_and_views_differ(name: str) -> None:
    normalise = Normalise((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), torch.device("cpu"))
    images, labels, rows = photos(16).byte(), torch.zeros(16, dtype=torch.int64), torch.arange(16)

    def run(seed: int = 0, epoch: int = 0, view: int = 0) -> Tensor:
        stage = TrainingStage(EVERYTHING[name], seed, 10, normalise)
        return stage(images, labels, rows, torch.full((16,), view), epoch, 0)[0]

    assert torch.equal(run(), run())
    for other in (run(seed=1), run(epoch=1), run(view=1)):
        same = (run() == other).flatten(1).all(1)
        assert same.float().mean() < 0.5


def test_jitter_stays_within_its_strength() -> None:
    x = torch.full((4000, 3, 1, 1), 100.0)
    out = colour_jitter(x, 0.3, keys(4000))  # of a grey pixel only the brightness is seen
    assert out.min() >= 70.0
    assert out.max() <= 130.0
    assert abs(float(out.mean()) - 100.0) < 1.0
    assert abs(float(out.std()) - 60.0 / 12**0.5) < 0.5


def test_normalise() -> None:
    x = photos(4)
    mean, std = (x / 255).mean(dim=(0, 2, 3)), (x / 255).std(dim=(0, 2, 3))
    out = Normalise(tuple(mean.tolist()), tuple(std.tolist()), torch.device("cpu"))(x.byte())
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=(0, 2, 3)), torch.ones(3))


# -------------------------------------------------------------------------------------- mixup and CutMix
@pytest.mark.parametrize(
    "mixing",
    [
        None,
        Mixing(0.3, None),
        Mixing(1.0 - 35 / 256, (4, 9, 2, 9)),
        Mixing(1.0 - 48 / 256, (13, 16, 0, 16)),
        Mixing(0.0, (0, 16, 0, 16)),
    ],
)
def test_mix_is_timms(monkeypatch: pytest.MonkeyPatch, mixing: Mixing | None) -> None:
    box = mixing.box if mixing else None
    drawn = (0.123 if box else mixing.share, box is not None) if mixing else (1.0, False)
    timms = timm_mixup.Mixup(mixup_alpha=1.0, cutmix_alpha=1.0, num_classes=5, label_smoothing=0.0)
    monkeypatch.setattr(timms, "_params_per_batch", lambda: drawn)
    monkeypatch.setattr(timm_mixup, "rand_bbox", lambda *_, **__: box)
    images, labels = photos(8, 16), torch.tensor([0, 1, 2, 3, 4, 0, 0, 3])
    expected_images, expected_targets = timms(images.clone(), labels)
    mixed, targets = mix(images, labels, 5, mixing)
    torch.testing.assert_close(mixed, expected_images)
    torch.testing.assert_close(targets, expected_targets)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))


def test_mix_leaves_its_arguments_alone() -> None:
    images, labels = photos(4, 16), torch.tensor([0, 1, 2, 3])
    before = images.clone()
    mix(images, labels, 5, Mixing(0.5, (0, 8, 0, 16)))
    mix(images, labels, 5, Mixing(0.5, None))
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("mixup", "cutmix", "mix_prob", "switch_prob", "mixed", "cut"),
    [
        (0.8, 1.0, 1.0, 0.5, 1.0, 0.5),
        (0.8, 1.0, 0.7, 0.2, 0.7, 0.14),
        (0.8, 0.0, 0.4, 0.5, 0.4, 0.0),
        (0.0, 1.0, 0.4, 0.1, 0.4, 0.4),
        (0.0, 0.0, 1.0, 0.5, 0.0, 0.0),
    ],
)
def test_how_often_batches_are_mixed(
    mixup: float, cutmix: float, mix_prob: float, switch_prob: float, mixed: float, cut: float
) -> None:
    augment = Augment(mixup=mixup, cutmix=cutmix, mix_prob=mix_prob, mix_switch_prob=switch_prob)
    draws = [draw_mixing(augment, 0, epoch, step, 32) for epoch in range(20) for step in range(150)]
    tolerance = 4 * 0.5 / len(draws) ** 0.5
    assert abs(np.mean([d is not None for d in draws]) - mixed) <= (tolerance if 0 < mixed < 1 else 0)
    assert abs(np.mean([d is not None and d.box is not None for d in draws]) - cut) <= (tolerance if cut else 0)


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_mixup_shares_are_beta(alpha: float) -> None:
    shares = [draw_mixing(Augment(mixup=alpha), 0, 0, step, 32).share for step in range(3000)]
    assert abs(np.mean(shares) - 0.5) < 0.03
    assert abs(np.var(shares) - 0.25 / (2 * alpha + 1)) < 0.01


def test_cutmix_boxes_lie_in_the_image_and_correct_the_share() -> None:
    side, augment = 33, Augment(cutmix=1.0)
    uncut = 0
    for step in range(500):
        mixing = draw_mixing(augment, 3, 1, step, side)
        top, bottom, left, right = mixing.box
        assert 0 <= top <= bottom <= side
        assert 0 <= left <= right <= side
        assert mixing.share == 1.0 - (bottom - top) * (right - left) / side**2
        wanted = int(side * (1.0 - beta("cutmix", 1.0, 3, 1, step)) ** 0.5) // 2 * 2
        assert max(bottom - top, right - left) <= wanted
        if min(top, left) > 0 and max(bottom, right) < side:
            assert bottom - top == right - left == wanted
            uncut += 1
    assert uncut > 50


def test_a_draw_depends_on_seed_epoch_and_step() -> None:
    augment = Augment(mixup=0.8)
    shares = {draw_mixing(augment, s, e, t, 32).share for s in range(3) for e in range(3) for t in range(3)}
    assert len(shares) == 27
    assert draw_mixing(augment, 1, 2, 3, 32) == draw_mixing(augment, 1, 2, 3, 32)


# --------------------------------------------------------------------------------------- random erasing
def test_erasing_replaces_one_rectangle_of_some_images_with_normal_noise() -> None:
    count, side, probability = 2000, 32, 0.25
    x = torch.full((count, 3, side, side), 50.0)
    out = random_erasing(x, probability, keys(count))
    erased = out != 50.0
    rows = erased.flatten(1).any(1).nonzero()[:, 0]
    assert abs(len(rows) / count - probability) < 4 * (0.25 * 0.75 / count) ** 0.5
    areas = []
    for row in rows:
        assert torch.equal(erased[row, 0], erased[row, 1])
        ys, xs = erased[row, 0].any(1).nonzero()[:, 0], erased[row, 0].any(0).nonzero()[:, 0]
        high, wide = int(ys[-1] - ys[0]) + 1, int(xs[-1] - xs[0]) + 1
        assert int(erased[row, 0].sum()) == high * wide
        assert (high + 0.5) * (wide + 0.5) >= AREA[0] * side**2
        assert (high - 0.5) * (wide - 0.5) <= AREA[1] * side**2
        assert max(high, wide) < side
        areas.append(high * wide / side**2)
    noise = out[erased]
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1.0) < 0.01
    assert abs(float((noise**4).mean()) - 3.0) < 0.1
    assert abs(np.mean(areas) - _timm_mean_area(side)) < 0.015
    assert torch.equal(out, random_erasing(x, probability, keys(count)))


def _timm_mean_area(side: int) -> float:
    state = random.getstate()
    random.seed(0)
    erasing = RandomErasing(probability=1.0, mode="const", device="cpu")
    areas = [float((erasing(torch.ones(1, side, side)) == 0).float().mean()) for _ in range(2000)]
    random.setstate(state)
    return float(np.mean(areas))


def test_erasing_noise_differs_between_images_channels_and_epochs() -> None:
    x = torch.zeros(64, 3, 16, 16)
    first, second = (random_erasing(x, 1.0, keys(64, epoch=epoch)) for epoch in (0, 1))
    values = torch.cat([first[first != 0], second[second != 0]])
    assert len(values.unique()) > 0.99 * len(values)


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_erasing_never_and_always(probability: float) -> None:
    out = random_erasing(torch.zeros(200, 3, 16, 16), probability, keys(200))
    assert bool((out != 0).flatten(1).any(1).all()) == bool(probability)
    assert bool((out != 0).any()) == bool(probability)
