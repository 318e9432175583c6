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
    right: Tensor | None = None,
) -> dict[str, float]:
    """`top1` and `top5` in per cent and mean cross-entropy `loss` of `model` on a split.

    With several `right` labels [N, M] for each image of the split, filled with -1, an answer counts if it is one of
    them; images without any are left out, `images` says how many remain, and there is no loss.

    Raises:
        RuntimeError: if the workers together did not see every sample exactly once.
    """
    training = model.training
    model.eval()
    totals = torch.zeros(5, dtype=torch.float64, device=device)
    for batch in loader.epoch(0):
        labels = batch.labels.to(device, non_blocking=True)
        images = normalise(batch.images.to(device, non_blocking=True))
        with precision.autocast(device, autocast):
            logits = model(images)
        logits = precision.at_least_float32(logits)
        accepted = labels[:, None] if right is None else right[batch.index].to(device, non_blocking=True)
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices
        hits = (best[:, :, None] == accepted[:, None, :]).any(dim=2)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        counts = (hits[:, 0].sum(), hits.any(dim=1).sum(), (accepted >= 0).any(dim=1).sum())
        totals += torch.stack(
            [loss.double(), *(count.double() for count in counts), loss.new_tensor(len(labels)).double()]
        )
    model.train(training)
    loss_sum, top1, top5, counted, seen = ranks.sum(totals).tolist()
    if int(seen) != loader.samples:
        raise RuntimeError(f"evaluation saw {int(seen)} of {loader.samples} samples")
    scores = {"top1": 100.0 * top1 / counted, "top5": 100.0 * top5 / counted}
    return scores | ({"loss": loss_sum / counted} if right is None else {"images": counted})


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
