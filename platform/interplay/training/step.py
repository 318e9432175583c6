"""One optimiser step."""

# B batch, R side, K classes
from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from interplay.recipe.procedure import Optimiser
from interplay.training import precision
from interplay.training.loss import Objective
from interplay.training.optimiser import clip_gradients
from interplay.training.teacher import Teacher


@dataclass(frozen=True)
class Step:
    """Forward, backward and update on one rank's part of a batch.

    Attributes:
        model: as it is called, perhaps wrapped or compiled.
        optimiser: of its parameters.
        recipe: of the optimiser.
        objective: what is minimised.
        teacher: whose answers are learnt, if there is one.
        autocast: dtype to compute in; None is that of the weights.
        scaler: of the loss, for float16.
        micro_batch: images in memory at a time; None is all. The gradient is that of the whole batch, up to
            rounding (batch norms see the parts).
        share: this rank's part of a batch over the mean one: ranks average their gradients.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    recipe: Optimiser
    objective: Objective
    teacher: Teacher | None
    autocast: torch.dtype | None
    scaler: torch.amp.GradScaler
    micro_batch: int | None = None
    share: float = 1.0

    def __call__(self, inputs_B3RR: Tensor, targets_BK: Tensor, index_B: Tensor) -> tuple[Tensor, Tensor | None]:
        """The loss, and the norm of the gradients if it was needed; both stay on the device.

        `index_B` are the images' positions in their split, for losses that know each image.
        """
        self.optimiser.zero_grad(set_to_none=True)
        batch, size = len(inputs_B3RR), self.micro_batch or len(inputs_B3RR)
        total: Tensor | None = None
        for start in range(0, batch, size):
            x, y = inputs_B3RR[start : start + size], targets_BK[start : start + size]
            with self._synchronised(start + size >= batch):
                loss = self._loss(x, y, index_B[start : start + size])
                if (weight := self.share * len(x) / batch) != 1.0:
                    loss = loss * weight
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None, "a batch holds images"
        self.scaler.unscale_(self.optimiser)
        norm = clip_gradients(self.recipe, self.model)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        return total, norm

    def _loss(self, x_B3RR: Tensor, y_BK: Tensor, index_B: Tensor) -> Tensor:
        taught = self.teacher(x_B3RR) if self.teacher is not None else None
        with precision.autocast(x_B3RR.device, self.autocast):
            logits = precision.at_least_float32(self.model(x_B3RR))
        return self.objective(logits, y_BK.to(logits.dtype), taught)

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """Ranks exchange gradients once, with the last part."""
        return nullcontext() if last or not isinstance(self.model, DistributedDataParallel) else self.model.no_sync()
