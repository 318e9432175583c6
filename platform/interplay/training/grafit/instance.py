"""Losses that tell one image from another, from several views of each (thesis S2.2, S2.3.1)."""

# N images, V views, D width
from __future__ import annotations

import torch
from torch import Tensor

from interplay.recipe.embedding import Triplet
from interplay.training.ranks import Ranks


def likeness_loss(predictions_NVD: Tensor, targets_NVD: Tensor) -> Tensor:
    """Minus the mean cosine of each view's prediction with the slow copy's embeddings of the other views (eq. 2.1).

    Both are of unit length. -1 is perfect.
    """
    views = predictions_NVD.shape[1]
    # the sum over i != j is that over all pairs without i = j
    everything = (predictions_NVD.sum(dim=1) * targets_NVD.sum(dim=1)).sum(dim=1)
    same = (predictions_NVD * targets_NVD).sum(dim=(1, 2))
    return -((everything - same) / (views * (views - 1))).mean()


def triplet_loss(embeddings_NVD: Tensor, recipe: Triplet, ranks: Ranks) -> Tensor:
    """Views of an image shall be nearer to each other, by a margin, than to other images of the whole batch.

    The mean over all ordered pairs of views of an image, and over the other images' views or the nearest of them.
    """
    images, views, _ = embeddings_NVD.shape
    anchors_AD = embeddings_NVD.flatten(0, 1)
    everyone_BD = gather_with_gradient(anchors_AD, ranks)
    cosines_AB = anchors_AD @ everyone_BD.T
    image_A = torch.arange(images, device=anchors_AD.device).repeat_interleave(views) + ranks.rank * images
    image_B = torch.arange(len(everyone_BD) // views, device=anchors_AD.device).repeat_interleave(views)
    same_AB = image_A[:, None] == image_B
    place_A = torch.arange(len(anchors_AD), device=anchors_AD.device) + ranks.rank * len(anchors_AD)
    itself_AB = place_A[:, None] == torch.arange(len(everyone_BD), device=anchors_AD.device)
    positive_AP = cosines_AB[same_AB & ~itself_AB].view(len(anchors_AD), views - 1)
    negative_AM = cosines_AB[~same_AB].view(len(anchors_AD), -1)
    if recipe.mining == "hardest":
        negative_AM = negative_AM.max(dim=1, keepdim=True).values
    return (recipe.margin + negative_AM[:, None, :] - positive_AP[:, :, None]).clamp(min=0.0).mean()


def gather_with_gradient(x_AD: Tensor, ranks: Ranks) -> Tensor:
    """Equally many rows of each worker, in the order of workers; gradients flow back to their owners."""
    if ranks.world == 1:
        return x_AD
    gathered: Tensor = _Gather.apply(x_AD, ranks)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x_AD: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks, ctx.rows = ranks, len(x_AD)  # type: ignore[attr-defined]
        return ranks.gather(x_AD)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        ranks, rows = ctx.ranks, ctx.rows  # type: ignore[attr-defined]
        summed = ranks.sum(grads[0].contiguous())
        return summed[ranks.rank * rows : (ranks.rank + 1) * rows], None
