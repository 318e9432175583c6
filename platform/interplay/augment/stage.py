"""What happens to a training batch on the device, in order."""

from __future__ import annotations

import torch
from torch import Tensor

from interplay.augment.erasing import erase_
from interplay.augment.jitter import colour_jitter
from interplay.augment.keys import Keys
from interplay.augment.mix import Mixing, MixingEach, draw_mixing, draw_mixing_each, mix_
from interplay.augment.policy import apply_policy
from interplay.recipe.augmentation import Augment


class Normalise:
    """[B, 3, H, W] in 0..255 -> zero mean and unit deviation over the training split, as `dtype`.

    It is computed in float32 whatever `dtype` is, and rounded once.
    """

    def __init__(
        self,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.dtype = dtype
        self._mean = 255.0 * torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self._scale = 1.0 / (255.0 * torch.tensor(std, device=device).view(1, 3, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        return self.full(images).to(self.dtype)

    def full(self, images: Tensor) -> Tensor:
        """The same in float32, always a new tensor: for what goes on computing."""
        return images.to(torch.float32, copy=True).sub_(self._mean).mul_(self._scale)


class TrainingStage:
    """Policy, colour jitter, normalisation, erasing, then mixup or CutMix: uint8 levels, then float32."""

    def __init__(self, augment: Augment, seed: int, classes: int, normalise: Normalise) -> None:
        self._augment, self._seed, self._classes, self._normalise = augment, seed, classes, normalise

    def __call__(
        self, images: Tensor, labels: Tensor, sample: Tensor, view: Tensor, epoch: int, step: int
    ) -> tuple[Tensor, Tensor]:
        """One batch on the device.

        Args:
            images: [B, 3, H, W] uint8, on the device.
            labels: [B] int64, on the device.
            sample: [B] int64 data set indices, on the CPU.
            view: [B] int64 repetitions, on the CPU.
            epoch: number of the epoch.
            step: number of the batch within the epoch.

        Returns:
            Normalised images [B, 3, H, W] of the normalisation's dtype and soft targets [B, classes] float32.
        """
        augment = self._augment
        keys = Keys(self._seed, epoch, sample.numpy(), view.numpy())
        images = apply_policy(augment.policy, images, keys)
        if augment.color_jitter or augment.hue_jitter:
            strength = augment.color_jitter
            strengths = (strength, strength, strength, augment.hue_jitter)
            images = colour_jitter(images, strengths, augment.jitter_order, keys)
        x = self._normalise.full(images)
        if augment.erasing:
            x = erase_(x, augment, keys)
        mixing: Mixing | MixingEach | None = None
        if augment.mixes and augment.mix_mode != "batch":
            mixing = draw_mixing_each(augment, keys, side=x.shape[-1])
        else:
            mixing = draw_mixing(augment, self._seed, epoch, step, side=x.shape[-1])
        x, targets = mix_(x, labels, self._classes, mixing)
        return x.to(self._normalise.dtype), targets
