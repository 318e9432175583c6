"""AugMix: several chains of operations on each image, averaged, and blended with the image (arXiv:1912.02781)."""

# B batch, W chains
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from interplay.augment import levels
from interplay.augment.keys import Keys
from interplay.augment.operations import Layer, Values, apply_layer
from interplay.recipe.augmentation import AugMix

_DEEPEST = 3


@dataclass(frozen=True)
class Chains:
    """What is drawn for a batch: W chains of layers, their weights [B, W], and the mixture's share [B]."""

    chains: list[list[Layer]]
    weights: Values
    share: Values


def draw_aug_mix(policy: AugMix, keys: Keys) -> Chains:
    """As timm draws them: depths from 1 to 3, operations with repetition, weights of a Dirichlet distribution."""
    chains = []
    for number in range(policy.width):
        name = f"aug_mix.{number}"
        depth = np.full(len(keys), policy.depth or 0)
        if policy.depth is None:
            depth = 1 + (keys.uniform(f"{name}.depth")[:, 0] * _DEEPEST).astype(np.int64)
        chains.append(
            [_layer(policy, keys, f"{name}.{step}", depth > step) for step in range(policy.depth or _DEEPEST)]
        )
    weights = keys.dirichlet("aug_mix.weights", policy.alpha, policy.width)
    return Chains(chains, weights, keys.beta("aug_mix.share", policy.alpha))


def _layer(policy: AugMix, keys: Keys, name: str, happens: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Layer:
    draws = keys.uniform(name, 2)
    choice = np.where(happens, (draws[:, 0] * len(levels.AUG_MIX)).astype(np.int64), -1)
    level = levels.noisy(np.full(len(keys), policy.magnitude), policy.std, keys, f"{name}.level")
    return levels.levelled(levels.AUG_MIX, choice, level, levels.sign_of(draws[:, 1]))


def apply_aug_mix(policy: AugMix, x: Tensor, keys: Keys) -> Tensor:
    """[B, 3, H, W] uint8 -> the same; the mixture and the blend are cut to whole levels, as timm's."""
    drawn = draw_aug_mix(policy, keys)
    weights, share = (torch.from_numpy(part).to(x.device, torch.float32) for part in (drawn.weights, drawn.share))
    mixed = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for number, chain in enumerate(drawn.chains):
        changed = x
        for layer in chain:
            changed = apply_layer(changed, layer)
        mixed += weights[:, number].view(-1, 1, 1, 1) * changed.float()
    mixed = mixed.clamp_(0.0, 255.0).floor_()
    image = x.float()
    return image.add_(mixed.sub_(image).mul_(share.view(-1, 1, 1, 1))).to(torch.uint8)
