"""What a recipe does to training images, with the code and the random numbers of training (thesis F6.1)."""

# I images, E draws, R side
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from interplay import native
from interplay.augment import Keys, Normalise, TrainingStage, draw_policy
from interplay.data.pipeline import Stored, TrainingPixels
from interplay.models.backbone import PREPARATION
from interplay.recipe import Recipe
from interplay.recipe.augmentation import Augment, AugMix, NoPolicy, Policy

Change = dict[str, Any]

_MEAN, _STD = PREPARATION["mean"], PREPARATION["std"]
_NO_MIX: Change = {"mixup": 0.0, "cutmix": 0.0, "cutmix_minmax": None}
_PLAIN: Change = {"policy": NoPolicy(), "color_jitter": 0.0, "hue_jitter": 0.0, "erasing": 0.0, **_NO_MIX}


@dataclass(frozen=True)
class Drawn:
    """One row: every image drawn in several epochs, with the same crops and draws in all rows.

    Attributes:
        name: what is done to the images.
        pixels: [E, I, 3, R, R] in [0, 1].
        labels: [E][I] what the policy did, empty where it is not the row's own addition.
    """

    name: str
    pixels: Tensor
    labels: list[list[str]]


def steps(augment: Augment) -> list[tuple[str, Augment]]:
    """The recipe's augmentation, one step after the other as training applies them: names, and all up to there."""
    kept: Change = dict(_PLAIN)
    rows = [("crop" + (" and flip" if augment.flip else ""), _only(augment, kept))]

    def add(name: str, *fields: str) -> None:
        for field in fields:
            kept[field] = getattr(augment, field)
        rows.append((name, _only(augment, kept)))

    if not isinstance(augment.policy, NoPolicy):
        add(_spaced(augment.policy.kind), "policy")
    if augment.color_jitter or augment.hue_jitter:
        add("colour jitter", "color_jitter", "hue_jitter")
    if augment.erasing:
        add("random erasing", "erasing")
    if augment.mixes:
        both = bool(augment.mixup) and bool(augment.cutmix or augment.cutmix_minmax)
        add("mixup or CutMix" if both else "mixup" if augment.mixup else "CutMix", *_NO_MIX)
    return rows


def policies(augment: Augment) -> list[tuple[str, Augment]]:
    """Every augmentation policy there is, alone after the recipe's crop; the recipe's own with its settings."""
    kinds = [kind for kind in get_args(get_args(Policy)[0]) if kind is not NoPolicy]
    found = [augment.policy if isinstance(augment.policy, kind) else kind() for kind in kinds]
    return [(_spaced(policy.kind), _only(augment, {**_PLAIN, "policy": policy})) for policy in found]


def draw_rows(
    rows: Sequence[tuple[str, Augment]], images: Sequence[Image.Image], recipe: Recipe, epochs: int
) -> list[Drawn]:
    """Each row's augmentation of all images, drawn as in the first `epochs` epochs of training.

    The images are samples 0, 1, ... and one batch, so they are mixed with each other.
    """
    drawn: list[Drawn] = []
    policy: object = NoPolicy()
    for name, augment in rows:
        changed = Recipe.model_validate({**dict(recipe), "augment": augment})
        batches = [draw(changed, images, epoch) for epoch in range(epochs)]
        new = augment.policy != policy and not isinstance(augment.policy, NoPolicy)
        labels = [operations(changed, len(images), epoch) if new else [""] * len(images) for epoch in range(epochs)]
        drawn.append(Drawn(name, torch.stack(batches), labels))
        policy = augment.policy
    return drawn


def draw(recipe: Recipe, images: Sequence[Image.Image], epoch: int) -> Tensor:
    """What training would be given of these images in one epoch: [I, 3, R, R].

    In [0, 1], that is with the normalisation by ImageNet's mean and deviation undone; noise of random erasing reaches
    beyond this range and is cut.
    """
    pipeline = TrainingPixels(recipe)
    sample = np.arange(len(images), dtype=np.int64)
    out = np.empty((len(images), *pipeline.shape), dtype=np.uint8)
    pipeline.fill(out, sample, epoch, _stored(images), None)
    index = torch.from_numpy(sample)
    stage = TrainingStage(recipe.augment, recipe.seeds.augment, 2, Normalise(_MEAN, _STD, torch.device("cpu")))
    x, _ = stage(
        torch.from_numpy(out).permute(0, 3, 1, 2), torch.zeros_like(index), index, torch.zeros_like(index), epoch, 0
    )
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _STD))
    return (x * std + mean).clamp(0.0, 1.0)


def operations(recipe: Recipe, count: int, epoch: int) -> list[str]:
    """What the recipe's policy does to samples 0 to `count` in one epoch, in words."""
    sample = np.arange(count, dtype=np.int64)
    keys = Keys(recipe.seeds.augment, epoch, sample, np.zeros_like(sample))
    side = recipe.data.resolution
    policy = recipe.augment.policy
    if isinstance(policy, AugMix):  # chains of operations, averaged
        return [f"{policy.width} chains"] * count
    layers = draw_policy(policy, keys, side, side)
    words = []
    for row in range(count):
        chosen = [(layer.names[layer.choice[row]], layer.value[row]) for layer in layers if layer.choice[row] >= 0]
        words.append("\n".join(_operation(name, value) for name, value in chosen) or "no operation")
    return words


_WITHOUT_VALUE = {"identity", "grayscale", "autocontrast", "equalise", "invert"}


def _operation(name: str, value: float) -> str:
    return _spaced(name) if name in _WITHOUT_VALUE else f"{_spaced(name)} {value:.3g}"


def _only(augment: Augment, changes: Change) -> Augment:
    return Augment.model_validate({**dict(augment), **changes})


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _stored(images: Sequence[Image.Image]) -> Stored:
    """The images as a batch that is read from memory."""
    pixels = [np.asarray(image.convert("RGB")) for image in images]
    lengths = np.array([p.size for p in pixels], dtype=np.int64)
    return Stored(
        base=np.concatenate([p.reshape(-1) for p in pixels]),
        starts=np.cumsum(lengths) - lengths,
        lengths=lengths,
        modes=np.full(len(pixels), native.RAW, dtype=np.uint8),
        sizes=np.array([p.shape[:2] for p in pixels], dtype=np.int64),
        samples=np.arange(len(pixels), dtype=np.int64),
        place="the images",
    )
