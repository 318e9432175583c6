"""Every operation against Pillow's, timm's or torchvision's, over all its levels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm.data.auto_augment as timm_ops
import torch
import torchvision.transforms.functional as torchvision_ops
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor

from interplay.augment import colour, geometry
from interplay.augment.blur import gaussian_blur
from interplay.augment.geometry import BLACK, Resampling
from tests.unit.augment_images import SIDES, from_pil, noise, photo, photos, to_pil

Operation = Callable[[Tensor, Tensor], Tensor]
PilOperation = Callable[[Image.Image, float], Image.Image]

FACTORS = [0.0, 0.01, 0.1, 0.55, 0.7, 1.0, 1.3, 1.44, 1.9, 1.99]
COLOUR: dict[str, tuple[Operation, PilOperation, list[float]]] = {
    "grayscale": (lambda x, _: colour.grayscale(x), lambda i, _: ImageOps.grayscale(i), [0.0] * 5),
    "invert": (lambda x, _: colour.invert(x), lambda i, _: timm_ops.invert(i), [0.0] * 5),
    "autocontrast": (lambda x, _: colour.autocontrast(x), lambda i, _: timm_ops.auto_contrast(i), [0.0] * 5),
    "equalise": (lambda x, _: colour.equalise(x), lambda i, _: timm_ops.equalize(i), [0.0] * 5),
    "solarise": (colour.solarise, lambda i, v: timm_ops.solarize(i, int(v)), [0, 1, 26, 128, 200, 255, 256]),
    "solarise_add": (colour.solarise_add, lambda i, v: timm_ops.solarize_add(i, int(v)), [0, 11, 60, 99, 110, 128]),
    "posterise": (colour.posterise, lambda i, v: timm_ops.posterize(i, int(v)), [1, 2, 3, 4, 5, 6, 7, 8]),
    "brightness": (colour.brightness, timm_ops.brightness, FACTORS),
    "contrast": (colour.contrast, timm_ops.contrast, FACTORS),
    "saturation": (colour.saturation, timm_ops.color, FACTORS),
    "desaturation": (colour.saturation, lambda i, v: timm_ops.desaturate(i, 1.0 - v), [0.0, 0.1, 0.25, 0.5]),
    "sharpness": (colour.sharpness, timm_ops.sharpness, FACTORS),
    "hue": (colour.hue, torchvision_ops.adjust_hue, [-0.5, -0.31, -0.1, -0.004, 0.0, 0.01, 0.1, 0.27, 0.499, 0.5]),
}
EXACT = ["invert", "grayscale", "solarise", "solarise_add", "posterise", "equalise", "hue"]


def apart(name: str, x: Tensor) -> Tensor:
    """How far our images are from the other side's, with a value of the table for each."""
    ours, others, values = COLOUR[name]
    out = ours(x, torch.tensor(values, dtype=torch.float32))
    assert out.dtype == torch.uint8
    expected = [from_pil(others(to_pil(image), value)) for image, value in zip(x, values, strict=True)]
    return (out.short() - torch.stack(expected)).abs()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("make", [photos, noise])
@pytest.mark.parametrize("name", COLOUR)
def test_colour_is_pillows_within_a_grey_level(name: str, make: Callable[[int, int], Tensor], side: int) -> None:
    difference = apart(name, make(len(COLOUR[name][2]), side))
    assert difference.max() <= (0 if name in EXACT else 1)


def test_hue_is_exactly_torchvisions_for_every_colour() -> None:
    """All 32^3 colours in steps of 8 or so, and all greys: nowhere is a sector or a rounding another."""
    steps = torch.linspace(0, 255, 32).round()
    colours = torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, 128, 256).byte()
    for share in (-0.5, -0.2, 0.0, 0.013, 0.35, 0.5):
        expected = from_pil(torchvision_ops.adjust_hue(to_pil(colours[0]), share))
        assert torch.equal(colour.hue(colours, torch.tensor([share]))[0].short(), expected)


@pytest.mark.parametrize("name", ["autocontrast", "equalise", "contrast", "sharpness", "hue"])
@pytest.mark.parametrize("level", [0, 77, 255])
def test_a_constant_image_is_as_pillow_leaves_it(name: str, level: int) -> None:
    ours, pillows, _ = COLOUR[name]
    x = torch.full((1, 3, 8, 8), level, dtype=torch.uint8)
    value = 0.5 if name == "hue" else 1.9
    assert (ours(x, torch.tensor([value])).short() - from_pil(pillows(to_pil(x[0]), value))).abs().max() <= 1


@pytest.mark.parametrize("name", COLOUR)
def test_arguments_and_memory_formats_stay(name: str) -> None:
    """Loaders send NHWC memory, and a batch may be kept by its caller."""
    ours, _, values = COLOUR[name]
    x, value = photos(len(values)), torch.tensor(values, dtype=torch.float32)
    before = x.clone()
    out = ours(x, value)
    assert torch.equal(x, before)
    assert torch.equal(ours(x.contiguous(memory_format=torch.channels_last), value), out)


@pytest.mark.parametrize("side", SIDES)
def test_blur_is_pillows_within_two_grey_levels(side: int) -> None:
    # Pillow rounds each of its six box blurs from fixed point, we from floats: a level here and there
    radii = torch.linspace(0.1, 5.0, 24)
    x = noise(24, side)
    out = gaussian_blur(x, radii, 5.0)
    for image, blurred, radius in zip(x, out, radii, strict=True):
        expected = from_pil(to_pil(image).filter(ImageFilter.GaussianBlur(float(radius))))
        difference = (blurred.short() - expected).abs().float()
        assert difference.max() <= 2.0
        assert difference.mean() < 0.2


def test_blur_does_not_depend_on_the_largest_radius_allowed() -> None:
    x, radii = photos(4), torch.tensor([0.1, 0.5, 1.0, 2.0])
    assert torch.equal(gaussian_blur(x, radii, 2.0), gaussian_blur(x, radii, 9.0))


def test_no_blur_changes_nothing() -> None:
    assert torch.equal(gaussian_blur(photos(2), torch.zeros(2), 0.0), photos(2))


# ------------------------------------------------------------------------------------------- geometry
GEOMETRY: dict[str, tuple[geometry.Affine, Callable[..., Image.Image], list[float]]] = {
    "rotate": (geometry.rotate, timm_ops.rotate, [-135.0, -30.0, -7.3, 0.0, 11.0, 27.0, 90.0]),
    "shear_x": (geometry.shear_x, timm_ops.shear_x, [-0.99, -0.3, -0.11, 0.0, 0.07, 0.27, 0.99]),
    "shear_y": (geometry.shear_y, timm_ops.shear_y, [-0.99, -0.3, -0.11, 0.0, 0.07, 0.27, 0.99]),
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
        difference = (moved.short() - from_pil(expected)).abs().float()
        # whether a pixel that falls on the very border is outside is decided by the last bit of a float
        assert (difference > 1.0).float().mean() <= (0.003 if abs(value) in (90.0, 0.99) else 0.0)
        assert difference.median() <= 1.0
        assert difference[difference <= 1.0].mean() < 0.55


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", GEOMETRY)
def test_geometry_is_pillows_nearest(name: str, side: int) -> None:
    """The same pixels but for a few: Pillow counts in 1/65536 of a pixel, so a tie may fall to the other side."""
    ours, pillows, values = GEOMETRY[name]
    x = noise(len(values), side)
    out = ours(x, torch.tensor(values), Resampling("nearest", BLACK))
    for image, moved, value in zip(x, out, values, strict=True):
        expected = from_pil(pillows(to_pil(image), value, resample=Image.Resampling.NEAREST))
        assert (moved.short() != expected).any(dim=0).float().mean() < 0.05


@pytest.mark.parametrize("resampling", [geometry.TIMMS, Resampling("nearest", BLACK)])
@pytest.mark.parametrize("name", GEOMETRY)
def test_no_movement_changes_nothing(name: str, resampling: Resampling) -> None:
    x = photos(3)
    assert torch.equal(GEOMETRY[name][0](x, torch.zeros(3), resampling), x)


def test_a_rectangle_is_moved_by_its_own_sides() -> None:
    x = torch.stack([photo(40, 0)[:, :24], photo(40, 1)[:, :24]])
    for name, (ours, pillows, _) in GEOMETRY.items():
        value = 20.0 if name == "rotate" else 0.21
        expected = pillows(to_pil(x[1]), value, resample=Image.Resampling.BILINEAR, fillcolor=(124, 116, 104))
        assert (ours(x, torch.tensor([0.0, value]))[1].short() - from_pil(expected)).abs().max() <= 1
