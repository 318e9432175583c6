"""What several families share: the teacher, and stages that follow a first training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from interplay.recipe import Constant, HardDistillation, Recipe, SoftDistillation, Weights
from interplay.recipe.catalogue import architecture

Maker = Callable[[], Recipe]
TEACHER = Weights(checkpoint="", model=architecture("regnety_16gf"))
"""A RegNetY-16GF trained as `deit.regnety_16gf` is (S3.4.2); its weights are given by who trains."""
SOFT = SoftDistillation(teacher=TEACHER, weight=0.1, tau=3.0)
HARD = HardDistillation(teacher=TEACHER, weight=0.5)


def fine_tuned(earlier: Maker, side: int, changes: dict[str, Any] | None = None) -> Recipe:
    """`earlier` fine-tuned at another size (S3.4.5): the same augmentation, a small constant rate, no drop path.

    The code of the paper kept the model in evaluation mode meanwhile, which leaves drop path and dropout out.
    """
    return earlier().with_(
        {
            "after": earlier(),
            "data.resolution": side,
            "data.batch_size": 512,
            "model.drop_path": 0.0,
            "optimiser.lr": 5e-6,
            "optimiser.weight_decay": 1e-8,
            "schedule": Constant(epochs=30, warmup_epochs=5.0, warmup_lr=1e-6),
            **(changes or {}),
        }
    )
