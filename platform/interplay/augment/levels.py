"""timm's operations by timm's names: which operation each is, and the value it takes at a level.

Levels go from 0 to 10, or further where a policy lets them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interplay.augment.keys import Keys
from interplay.augment.operations import Layer, Values

Argument = Callable[[Values, Values], Values]
"""Levels from 0 on and signs of 1 or -1 -> values."""

_MOST = 10.0

UNIFORM_ABOVE = 100.0
"""The `mstd` from which timm's RandAugment takes uniform levels."""


@dataclass(frozen=True)
class Levelled:
    """An operation of `operations.OPERATIONS`, and its value at a level."""

    name: str
    argument: Argument


def _level(level: Values, _: Values) -> Values:
    return level


def _signed(largest: float) -> Argument:
    return lambda level, sign: sign * level / _MOST * largest


def _span(low: float, high: float) -> Argument:
    return lambda level, _: np.clip(low + (high - low) * (level / _MOST), low, high)


def _enhance(level: Values, _: Values) -> Values:
    return level / _MOST * 1.8 + 0.1


def _enhance_increasing(level: Values, sign: Values) -> Values:
    return np.maximum(0.1, 1.0 + sign * level / _MOST * 0.9)


def _posterise(level: Values, _: Values) -> Values:
    # one bit at least: timm's zero bits is an error in Pillow
    return np.maximum(1.0, np.floor(level / _MOST * 4.0))


def _posterise_increasing(level: Values, _: Values) -> Values:
    return np.maximum(1.0, 4.0 - np.floor(level / _MOST * 4.0))


def _posterise_original(level: Values, _: Values) -> Values:
    return np.floor(level / _MOST * 4.0) + 4.0


def _solarise(level: Values, _: Values) -> Values:
    return np.minimum(256.0, np.floor(level / _MOST * 256.0))


def _solarise_increasing(level: Values, sign: Values) -> Values:
    return 256.0 - _solarise(level, sign)


def _solarise_add(level: Values, _: Values) -> Values:
    return np.minimum(128.0, np.floor(level / _MOST * 110.0))


def _desaturate(level: Values, _: Values) -> Values:
    return np.clip(1.0 - (0.5 + 0.5 * (level / _MOST)), 0.0, 1.0)


TIMM: dict[str, Levelled] = {
    "AutoContrast": Levelled("autocontrast", _level),
    "Equalize": Levelled("equalise", _level),
    "Invert": Levelled("invert", _level),
    "Rotate": Levelled("rotate", _signed(30.0)),
    "Posterize": Levelled("posterise", _posterise),
    "PosterizeIncreasing": Levelled("posterise", _posterise_increasing),
    "PosterizeOriginal": Levelled("posterise", _posterise_original),
    "Solarize": Levelled("solarise", _solarise),
    "SolarizeIncreasing": Levelled("solarise", _solarise_increasing),
    "SolarizeAdd": Levelled("solarise_add", _solarise_add),
    "Color": Levelled("saturation", _enhance),
    "ColorIncreasing": Levelled("saturation", _enhance_increasing),
    "Contrast": Levelled("contrast", _enhance),
    "ContrastIncreasing": Levelled("contrast", _enhance_increasing),
    "Brightness": Levelled("brightness", _enhance),
    "BrightnessIncreasing": Levelled("brightness", _enhance_increasing),
    "Sharpness": Levelled("sharpness", _enhance),
    "SharpnessIncreasing": Levelled("sharpness", _enhance_increasing),
    "ShearX": Levelled("shear_x", _signed(0.3)),
    "ShearY": Levelled("shear_y", _signed(0.3)),
    "TranslateXRel": Levelled("translate_x", _signed(0.45)),
    "TranslateYRel": Levelled("translate_y", _signed(0.45)),
    "Desaturate": Levelled("saturation", _desaturate),
    "GaussianBlur": Levelled("blur", _span(0.1, 2.0)),
    # the radius is uniform from 0.1 to this value: see `auto_augment`
    "GaussianBlurRand": Levelled("blur", _span(0.0, 2.0)),
}

_PIXELS = ["AutoContrast", "Equalize", "Invert"]
_COLOURS = ["Posterize", "Solarize", "SolarizeAdd", "Color", "Contrast", "Brightness", "Sharpness"]
_ALL = [*_PIXELS, "Rotate", *_COLOURS, "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"]
_INCREASE = {"Posterize", "Solarize", "Color", "Contrast", "Brightness", "Sharpness"}

RAND = tuple(_ALL)
RAND_INCREASING = tuple(f"{name}Increasing" if name in _INCREASE else name for name in _ALL)
AUG_MIX = (
    "AutoContrast",
    "ColorIncreasing",
    "ContrastIncreasing",
    "BrightnessIncreasing",
    "SharpnessIncreasing",
    "Equalize",
    "Rotate",
    "PosterizeIncreasing",
    "SolarizeIncreasing",
    "ShearX",
    "ShearY",
    "TranslateXRel",
    "TranslateYRel",
)
RAND_3A = ("SolarizeIncreasing", "Desaturate", "GaussianBlur")
RAND_WEIGHTS = {
    "Rotate": 3.0,
    "ShearX": 2.0,
    "ShearY": 2.0,
    "TranslateXRel": 1.0,
    "TranslateYRel": 1.0,
    "ColorIncreasing": 0.25,
    "SharpnessIncreasing": 0.25,
    "AutoContrast": 0.25,
    "SolarizeIncreasing": 0.05,
    "SolarizeAdd": 0.05,
    "ContrastIncreasing": 0.05,
    "BrightnessIncreasing": 0.05,
    "Equalize": 0.05,
    "PosterizeIncreasing": 0.05,
    "Invert": 0.05,
}
RAND_3A_WEIGHTS = {
    "SolarizeIncreasing": 6.0,
    "Desaturate": 6.0,
    "GaussianBlur": 6.0,
    "Rotate": 3.0,
    "ShearX": 2.0,
    "ShearY": 2.0,
    "PosterizeIncreasing": 1.0,
    "AutoContrast": 1.0,
    "ColorIncreasing": 1.0,
    "SharpnessIncreasing": 1.0,
    "ContrastIncreasing": 1.0,
    "BrightnessIncreasing": 1.0,
    "Equalize": 1.0,
    "Invert": 1.0,
}


def levelled(names: Sequence[str], choice: NDArray[np.int64], level: Values, sign: Values) -> Layer:
    """A layer of timm's operations `names` at `level` and `sign`."""
    value = np.zeros_like(level)
    for number, name in enumerate(names):
        rows = choice == number
        value[rows] = TIMM[name].argument(level[rows], sign[rows])
    operations = tuple(dict.fromkeys(TIMM[name].name for name in names))
    place = np.array([operations.index(TIMM[name].name) for name in names] + [-1])
    return Layer(operations, place[choice], value)


def noisy(magnitude: Values, std: float, keys: Keys, operation: str, most: float = _MOST) -> Values:
    """Levels, normal about `magnitude`, or uniform from 0 to it if `std` is above 100, cut to [0, `most`]."""
    if std > UNIFORM_ABOVE:
        magnitude = magnitude * keys.uniform(operation)[:, 0]
    elif std:
        magnitude = magnitude + std * keys.normal(operation)[:, 0]
    return np.clip(magnitude, 0.0, most)


def sign_of(uniform: Values) -> Values:
    """1 or -1, equally likely."""
    return np.where(uniform < 0.5, -1.0, 1.0)
