"""How far a training has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interplay.training.ranks import Ranks


@dataclass
class Progress:
    """Finished epochs, and the steps of the epoch that is being trained.

    Attributes:
        epoch: epochs that are finished.
        step: steps of the next epoch that are done.
        metrics: of the last finished epoch.
        loss_sum: of this epoch's steps on this rank; float64 on the device, so that no step waits for it.
        loss_max: the largest of them: a spike that the mean hides.
    """

    epoch: int
    step: int
    metrics: dict[str, float]
    loss_sum: Tensor
    loss_max: Tensor

    @staticmethod
    def start(device: torch.device, epoch: int = 0, metrics: dict[str, float] | None = None) -> Progress:
        """The beginning of an epoch; `metrics` may still grow."""
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return Progress(epoch, 0, {} if metrics is None else metrics, zero, torch.full_like(zero, -torch.inf))

    @staticmethod
    def of(checkpoint: dict[str, Any], device: torch.device) -> Progress:
        """As `plain` wrote it."""
        found = Progress.start(device, int(checkpoint["epoch"]), dict(checkpoint["metrics"]))
        found.step = int(checkpoint.get("step", 0))
        if found.step:
            found.loss_sum += checkpoint["loss_sum"]
            found.loss_max = torch.maximum(found.loss_max, found.loss_sum.new_tensor(checkpoint["loss_max"]))
        return found

    def add(self, loss: Tensor) -> None:
        """One more step."""
        self.step += 1
        self.loss_sum += loss
        self.loss_max = torch.maximum(self.loss_max, loss.double())

    def plain(self, ranks: Ranks) -> dict[str, Any]:
        """For a checkpoint. Within an epoch all ranks do this together, and wait for their devices."""
        finished = {"epoch": self.epoch, "metrics": self.metrics}
        if not self.step:
            return finished
        mean = float(ranks.sum(self.loss_sum.clone())) / ranks.world  # so that other numbers of ranks can go on
        return finished | {"step": self.step, "loss_sum": mean, "loss_max": float(ranks.max(self.loss_max.clone()))}
