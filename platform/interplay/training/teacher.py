"""The trained network whose answers a student learns (thesis S3.3)."""

# B batch, R side, K classes
from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.data.batch import Loaders
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe.changes import validate
from interplay.recipe.procedure import HardDistillation, SoftDistillation
from interplay.training.start import put_weights, read_checkpoint


class Teacher:
    """Gives logits for the student's own inputs: augmented, mixed and normalised as the student sees them."""

    def __init__(self, model: nn.Module, resolution: int | None, dtype: torch.dtype | None) -> None:
        self.model = model.eval().requires_grad_(False)
        self._resolution, self._dtype = resolution, dtype

    @torch.no_grad()
    def __call__(self, inputs_B3RR: Tensor) -> Tensor:
        """[B, 3, R, R] normalised images -> [B, K] logits in float32."""
        x = inputs_B3RR
        if self._resolution is not None and self._resolution != x.shape[-1]:
            x = F.interpolate(x, self._resolution, mode="bicubic", antialias=True, align_corners=False)
        with torch.autocast(x.device.type, dtype=self._dtype or torch.bfloat16, enabled=self._dtype is not None):
            logits: Tensor = self.model(x)
        return logits.float()


def check_teacher(distillation: SoftDistillation | HardDistillation) -> None:
    """Refuses a recipe whose teacher has no weights: no recipe can carry them.

    Raises:
        InterplayError: naming the setting.
    """
    if not distillation.teacher.checkpoint:
        name = getattr(distillation.teacher.model, "name", "the teacher")
        raise InterplayError(
            f"distillation.teacher.checkpoint is not set; give the trained weights of {name}: "
            "-s distillation.teacher.checkpoint=FILE"
        )


def load_teacher(
    distillation: SoftDistillation | HardDistillation,
    loaders: Loaders,
    *,
    resolution: int,
    device: torch.device,
    dtype: torch.dtype | None,
) -> Teacher:
    """The teacher that `distillation` names, for the classes of `loaders`.

    Raises:
        InterplayError: if its file is not given or no checkpoint, or its classes are others.
    """
    model = teacher_model(distillation, loaders.classes, resolution)
    return Teacher(model.to(device), distillation.teacher_resolution, dtype)


def teacher_model(distillation: SoftDistillation | HardDistillation, classes: int, resolution: int) -> nn.Module:
    """The trained network that `distillation` names, for `classes` classes and images of side `resolution`.

    Raises:
        InterplayError: as `load_teacher`.
    """
    check_teacher(distillation)
    weights = distillation.teacher
    path = Path(weights.checkpoint)
    side = distillation.teacher_resolution
    if weights.model is None:
        state = read_checkpoint(path)
        recipe = validate(state["recipe"])
        node, trained_at = recipe.model, recipe.data.resolution
        if state["classes"] != classes:
            raise InterplayError(
                f"the teacher {path} knows {state['classes']} classes, not {classes}; give one of this data set"
            )
    else:
        node, trained_at = weights.model, side or resolution
    model = build(node, classes=classes, image_size=side or trained_at)
    put_weights(model, path, new_head=False)
    return model
