"""Views for self-supervised and instance-level losses: the photometric part, crops are the loader's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interplay.augment.jitter import Strengths, random_order
from interplay.augment.keys import Keys
from interplay.augment.operations import Layer, Values, apply_layer


@dataclass(frozen=True)
class View:
    """How one view is changed, in this order: jitter (in random order), grayscale, blur, solarise.

    `jitter_probability`, `grayscale`, `blur` and `solarise` are probabilities; `blur_radius` is in pixels, and
    pixels from 128 on are inverted.
    """

    jitter: Strengths = (0.4, 0.4, 0.2, 0.1)
    jitter_probability: float = 0.8
    grayscale: float = 0.2
    blur: float = 0.5
    blur_radius: tuple[float, float] = (0.1, 2.0)
    solarise: float = 0.0


_FIRST, _SECOND, _SMALL = View(blur=1.0), View(blur=0.1, solarise=0.2), View(blur=0.5)

BYOL = (_FIRST, _SECOND)
"""Two views that are not alike (arXiv:2006.07733, Table 6)."""


def dino(small: int = 8) -> tuple[View, ...]:
    """Two large crops as BYOL's and `small` ones (arXiv:2104.14294)."""
    return (*BYOL, *(_SMALL for _ in range(small)))


def ssl_views(images: Tensor | Sequence[Tensor], views: Sequence[View], keys: Keys) -> list[Tensor]:
    """One batch for each of `views`, each image changed by its own draw.

    Args:
        images: [B, 3, H, W] uint8, which all views are made of, or one such batch of crops for each view.
        views: what is done to each.
        keys: of the images.

    Returns:
        For each view [B, 3, H, W] uint8.
    """
    crops = [images] * len(views) if isinstance(images, Tensor) else images
    made = []
    for number, (x, view) in enumerate(zip(crops, views, strict=True)):
        made.append(_view(x, view, replace(keys, use=f"view.{number}.")))
    return made


def _view(x: Tensor, view: View, keys: Keys) -> Tensor:
    jitter, grey, blur, solarise = keys.uniform("happens", 4).T
    low, high = view.blur_radius
    radius = low + (high - low) * keys.uniform("radius")[:, 0]
    layers = random_order(view.jitter, keys, jitter < view.jitter_probability)
    layers.append(_sometimes("grayscale", grey < view.grayscale, radius))
    layers.append(_sometimes("blur", blur < view.blur, radius))
    layers.append(_sometimes("solarise", solarise < view.solarise, np.full_like(radius, 128.0)))
    for layer in layers:
        x = apply_layer(x, layer)
    return x


def _sometimes(name: str, happens: NDArray[np.bool_], value: Values) -> Layer:
    return Layer((name,), np.where(happens, 0, -1), value)
