"""The sub-policies of AutoAugment for ImageNet, in timm's operations: learnt, so only to be written down."""

from __future__ import annotations

from typing import NamedTuple


class Step(NamedTuple):
    """One operation of a sub-policy, by timm's name."""

    name: str
    probability: float
    level: int


def _scheme(text: str) -> tuple[tuple[Step, ...], ...]:
    """One sub-policy a line: operations of name, probability in tenths and level."""
    scheme = []
    for line in text.strip().splitlines():
        words = line.split()
        scheme.append(
            tuple(Step(words[i], int(words[i + 1]) / 10, int(words[i + 2])) for i in range(0, len(words), 3))
        )
    return tuple(scheme)


_ORIGINAL = """
PosterizeOriginal 4 8   Rotate 6 9
Solarize 6 5            AutoContrast 6 5
Equalize 8 8            Equalize 6 3
PosterizeOriginal 6 7   PosterizeOriginal 6 6
Equalize 4 7            Solarize 2 4
Equalize 4 4            Rotate 8 8
Solarize 6 3            Equalize 6 7
PosterizeOriginal 8 5   Equalize 10 2
Rotate 2 3              Solarize 6 8
Equalize 6 8            PosterizeOriginal 4 6
Rotate 8 8              Color 4 0
Rotate 4 9              Equalize 6 2
Equalize 0 7            Equalize 8 8
Invert 6 4              Equalize 10 8
Color 6 4               Contrast 10 8
Rotate 8 8              Color 10 2
Color 8 8               Solarize 8 7
Sharpness 4 7           Invert 6 8
ShearX 6 5              Equalize 10 9
Color 4 0               Equalize 6 3
Equalize 4 7            Solarize 2 4
Solarize 6 5            AutoContrast 6 5
Invert 6 4              Equalize 10 8
Color 6 4               Contrast 10 8
Equalize 8 8            Equalize 6 3
"""

_V0 = """
Equalize 8 1            ShearY 8 4
Color 4 9               Equalize 6 3
Color 4 1               Rotate 6 8
Solarize 8 3            Equalize 4 7
Solarize 4 2            Solarize 6 2
Color 2 0               Equalize 8 8
Equalize 4 8            SolarizeAdd 8 3
ShearX 2 9              Rotate 6 8
Color 6 1               Equalize 10 2
Invert 4 9              Rotate 6 0
Equalize 10 9           ShearY 6 3
Color 4 7               Equalize 6 0
Posterize 4 6           AutoContrast 4 7
Solarize 6 8            Color 6 9
Solarize 2 4            Rotate 8 9
Rotate 10 7             TranslateYRel 8 9
ShearX 0 0              Solarize 8 4
ShearY 8 0              Color 6 4
Color 10 0              Rotate 6 2
Equalize 8 4            Equalize 0 8
Equalize 10 4           AutoContrast 6 2
ShearY 4 7              SolarizeAdd 6 7
Posterize 8 2           Solarize 6 10
Solarize 6 8            Equalize 6 1
Color 8 6               Rotate 4 5
"""

_3A = """
Solarize 10 5
Desaturate 10 10
GaussianBlurRand 10 10
"""

SCHEMES: dict[str, tuple[tuple[Step, ...], ...]] = {
    "original": _scheme(_ORIGINAL),
    "originalr": _scheme(_ORIGINAL.replace("PosterizeOriginal", "PosterizeIncreasing")),
    "v0": _scheme(_V0),
    "v0r": _scheme(_V0.replace("Posterize", "PosterizeIncreasing")),
    "3a": _scheme(_3A),
}
"""Each a list of sub-policies, equally likely."""
