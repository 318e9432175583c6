"""Augmentation policies: which operation each image gets is drawn on the CPU, and applied on the device.

The draws are NumPy arrays made from counters, so grouping images by operation needs no transfer from the
device, and the same image gets the same operation whatever batch or rank it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from interplay.augment import levels
from interplay.augment.aug_mix import apply_aug_mix
from interplay.augment.auto_augment import SCHEMES
from interplay.augment.geometry import BLACK, TIMMS, Resampling
from interplay.augment.keys import Keys
from interplay.augment.operations import Layer, Values, apply_layer
from interplay.native import AVAILABLE, BLUR, GRAYSCALE, SOLARISE, three_augment
from interplay.recipe.augmentation import (
    Augment,
    AugMix,
    AutoAugment,
    NoPolicy,
    Policy,
    RandAugment,
    ThreeAugment,
    TrivialAugment,
)

InLayers = NoPolicy | ThreeAugment | RandAugment | AutoAugment | TrivialAugment
"""Policies that do one thing after the other."""

AfterCut = Callable[[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], int], None]
"""Changes images [B, R, R, 3] in place, given their samples [B] and views [B] and the epoch."""


def apply_policy(policy: Policy, x: Tensor, keys: Keys) -> Tensor:
    """[B, 3, H, W] uint8 -> the same, each image changed by its own draw."""
    if isinstance(policy, AugMix):
        return apply_aug_mix(policy, x, keys)
    resampling = TIMMS
    if isinstance(policy, TrivialAugment):
        resampling = Resampling(policy.interpolation, BLACK)
    for layer in draw_policy(policy, keys, x.shape[3], x.shape[2]):
        x = apply_layer(x, layer, resampling)
    return x


def draw_policy(policy: InLayers, keys: Keys, width: int, height: int) -> list[Layer]:
    """What `policy` does to each image, layer after layer; `width` and `height` are the images'."""
    if isinstance(policy, NoPolicy):
        return []
    if isinstance(policy, ThreeAugment):
        return [_three_augment(policy, keys)]
    if isinstance(policy, RandAugment):
        return _rand_augment(policy, keys)
    if isinstance(policy, AutoAugment):
        return _auto_augment(policy, keys)
    return [_trivial_augment(policy, keys, width, height)]


def policy_in_loader(augment: Augment, seed: int) -> AfterCut | None:
    """The policy as an operation on a batch that the loader's threads do, with the same pixels; None if it has none.

    For machines whose processor does the training: 3-Augment in C, beside the decoding.
    """
    policy = augment.policy
    if not isinstance(policy, ThreeAugment) or not AVAILABLE:
        return None
    codes = np.array([_CODES[name] for name in policy.ops], dtype=np.uint8)

    def apply(images: NDArray[np.uint8], sample: NDArray[np.int64], view: NDArray[np.int64], epoch: int) -> None:
        layer = _three_augment(policy, Keys(seed, epoch, sample, view))
        three_augment(images, codes[layer.choice], layer.value)

    return apply


_CODES = {"grayscale": GRAYSCALE, "solarise": SOLARISE, "blur": BLUR}


def _three_augment(policy: ThreeAugment, keys: Keys) -> Layer:
    draws = keys.uniform("three_augment", 2)
    choice = (draws[:, 0] * len(policy.ops)).astype(np.int64)
    low, high = policy.blur_radius
    is_blur = np.array([name == "blur" for name in policy.ops])[choice]
    return Layer(policy.ops, choice, np.where(is_blur, low + draws[:, 1] * (high - low), 128.0))


def _rand_augment(policy: RandAugment, keys: Keys) -> list[Layer]:
    sets: dict[str, Sequence[str] | Mapping[str, float]] = {
        "all": levels.RAND_INCREASING if policy.increasing else levels.RAND,
        "weights": levels.RAND_WEIGHTS,
        "3a": levels.RAND_3A,
        "3aw": levels.RAND_3A_WEIGHTS,
    }
    chosen = sets[policy.choice]
    names = tuple(chosen)
    without_repetition: NDArray[np.int64] | None = None
    if isinstance(chosen, Mapping):
        # the first of independent exponentials with these rates, then the next: as numpy's choice(replace=False)
        race = -np.log1p(-keys.uniform("rand_augment.choice", len(names))) / np.array(list(chosen.values()))
        without_repetition = np.argsort(race, axis=1, kind="stable")
    drawn = []
    for number in range(policy.layers):
        draws = keys.uniform(f"rand_augment.{number}", 3)
        choice = (draws[:, 0] * len(names)).astype(np.int64)
        if without_repetition is not None:
            choice = without_repetition[:, number]
        magnitude = np.full(len(keys), policy.magnitude)
        operation = f"rand_augment.{number}.level"
        level = levels.noisy(magnitude, policy.std, keys, operation, policy.max_level)
        choice = np.where(draws[:, 1] < policy.probability, choice, -1)
        drawn.append(levels.levelled(names, choice, level, levels.sign_of(draws[:, 2])))
    return drawn


def _auto_augment(policy: AutoAugment, keys: Keys) -> list[Layer]:
    scheme = SCHEMES[policy.scheme]
    row = (keys.uniform("auto_augment")[:, 0] * len(scheme)).astype(np.int64)
    names = tuple(sorted({step.name for steps in scheme for step in steps}))
    drawn = []
    for number in range(len(scheme[0])):
        steps = [steps[number] for steps in scheme]
        choice = np.array([names.index(step.name) for step in steps])[row]
        probability = np.array([step.probability for step in steps])[row]
        magnitude = np.array([float(step.level) for step in steps])[row]
        draws = keys.uniform(f"auto_augment.{number}", 3)
        level = levels.noisy(magnitude, policy.std, keys, f"auto_augment.{number}.level")
        choice = np.where(draws[:, 0] < probability, choice, -1)
        layer = levels.levelled(names, choice, level, levels.sign_of(draws[:, 1]))
        if "GaussianBlurRand" in names:
            below = choice == names.index("GaussianBlurRand")
            layer.value[below] = 0.1 + draws[below, 2] * (layer.value[below] - 0.1)
        drawn.append(layer)
    return drawn


def _trivial_augment(policy: TrivialAugment, keys: Keys, width: int, height: int) -> Layer:
    draws = keys.uniform("trivial_augment", 3)
    step = np.floor(draws[:, 1] * policy.bins) / (policy.bins - 1)  # 0 to 1
    sign = levels.sign_of(draws[:, 2])
    pixels = np.trunc(step * 32.0)
    enhanced = 1.0 + sign * step * 0.99
    values: dict[str, Values] = {
        "identity": step,
        "shear_x": sign * step * 0.99,
        "shear_y": sign * step * 0.99,
        "translate_x": sign * pixels / width,
        "translate_y": sign * pixels / height,
        "rotate": sign * step * 135.0,
        "brightness": enhanced,
        "saturation": enhanced,
        "contrast": enhanced,
        "sharpness": enhanced,
        "posterise": 8.0 - np.rint(step * 6.0),
        "solarise": 255.0 * (1.0 - step),
        "autocontrast": step,
        "equalise": step,
    }
    choice = (draws[:, 0] * len(values)).astype(np.int64)
    return Layer(tuple(values), choice, np.choose(choice, list(values.values())))
