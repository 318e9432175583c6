"""What happens to a training batch on the device, in order."""

from __future__ import annotations

import torch
from torch import Tensor

from interplay.augment.erasing import colour_jitter, random_erasing
from interplay.augment.mix import draw_mixing, mix
from interplay.augment.policy import Keys, apply_policy
from interplay.recipe.tree import Augment, NoPolicy


class Normalise:
    """[B, 3, H, W] in 0..255 -> zero mean and unit deviation over the training split."""

    def __init__(
        self, mean: tuple[float, float, float], std: tuple[float, float, float], device: torch.device
    ) -> None:
        self._mean = 255.0 * torch.tensor(mean, device=device).view(1, 3, 1, 1)
        self._scale = 1.0 / (255.0 * torch.tensor(std, device=device).view(1, 3, 1, 1))

    def __call__(self, images: Tensor) -> Tensor:
        return (images.float() - self._mean) * self._scale


class TrainingStage:
    """Policy, colour jitter, normalisation, erasing, then mixup or CutMix."""

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
            Normalised images [B, 3, H, W] float32 and soft targets [B, classes].
        """
        augment = self._augment
        keys = Keys(self._seed, epoch, sample.numpy(), view.numpy())
        if not isinstance(augment.policy, NoPolicy) or augment.color_jitter:
            images = apply_policy(augment.policy, images.float(), keys)
            if augment.color_jitter:
                images = colour_jitter(images, augment.color_jitter, keys)
        x = self._normalise(images)
        if augment.erasing:
            x = random_erasing(x, augment.erasing, keys)
        mixing = draw_mixing(augment, self._seed, epoch, step, side=x.shape[-1])
        return mix(x, labels, self._classes, mixing)
