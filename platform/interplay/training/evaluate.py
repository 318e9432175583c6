"""Exact evaluation: every sample counts once, on any number of workers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.augment import Normalise
from interplay.data.batch import Loader
from interplay.training import precision
from interplay.training.ranks import Ranks
from interplay.training.scores import Answers


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    loader: Loader,
    normalise: Normalise,
    *,
    device: torch.device,
    ranks: Ranks,
    autocast: torch.dtype | None = None,
) -> dict[str, float]:
    """`top1` and `top5` in per cent and mean cross-entropy `loss` of `model` on a split.

    Raises:
        RuntimeError: if the workers together did not see every sample exactly once.
    """
    training = model.training
    model.eval()
    totals = torch.zeros(4, dtype=torch.float64, device=device)
    for batch in loader.epoch(0):
        labels = batch.labels.to(device, non_blocking=True)
        images = normalise(batch.images.to(device, non_blocking=True))
        with precision.autocast(device, autocast):
            logits = model(images)
        logits = logits.float()
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        totals += torch.stack(
            [loss.double(), best[:, 0].sum().double(), best.sum().double(), loss.new_tensor(len(labels)).double()]
        )
    model.train(training)
    loss_sum, top1, top5, count = ranks.sum(totals).tolist()
    if int(count) != loader.samples:
        raise RuntimeError(f"evaluation saw {int(count)} of {loader.samples} samples")
    return {"top1": 100.0 * top1 / count, "top5": 100.0 * top5 / count, "loss": loss_sum / count}


@torch.inference_mode()
def answer(
    model: nn.Module,
    loader: Loader,
    normalise: Normalise,
    *,
    device: torch.device,
    autocast: torch.dtype | None = None,
) -> Answers:
    """All of `model`'s answers on a split, in this process alone."""
    model.eval()
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for batch in loader.epoch(0):
        images = normalise(batch.images.to(device, non_blocking=True))
        with precision.autocast(device, autocast):
            logits = model(images)
        found.append((logits.float().cpu(), batch.labels, batch.index))
    return Answers(*(torch.cat(part) for part in zip(*found, strict=True)))
