"""Whether the trained weights that a recipe names fit, before a worker finds out."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from interplay.models import build
from interplay.recipe import NoDistillation, Recipe
from interplay.recipe.architecture import Model
from interplay.recipe.part import checkpoint_file
from interplay.recipe.procedure import Distillation
from interplay.training.start import put_weights
from interplay.training.teacher import teacher_model


def check_weights(recipe: Recipe, classes: int) -> None:
    """Reads the weights that `recipe` starts from and its teacher's, each file once for each model.

    Raises:
        InterplayError: if a file is no checkpoint, belongs to another model, or is of a teacher of other classes.
    """
    side = recipe.data.resolution
    if recipe.start is not None:
        path = checkpoint_file(Path(recipe.start.checkpoint))
        _check_start(recipe.model, classes, side, path, path.stat().st_mtime_ns)
    if not isinstance(recipe.distillation, NoDistillation):
        _check_teacher(recipe.distillation, classes, side)


@lru_cache(maxsize=256)
def _check_start(model: Model, classes: int, side: int, path: Path, written_ns: int) -> None:
    put_weights(build(model, classes=classes, image_size=side), path)


@lru_cache(maxsize=256)
def _check_teacher(distillation: Distillation, classes: int, side: int) -> None:
    if not isinstance(distillation, NoDistillation):
        teacher_model(distillation, classes, side)
