"""What can be known before anything is trained: sizes, and dimensions that change nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from interplay.augment import Normalise, TrainingStage
from interplay.data import ArrayLoader
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe import Recipe
from interplay.study.proposals import Space, changes_of, random_draws
from interplay.training.loss import make_loss
from interplay.training.optimiser import clip_gradients, make_optimiser
from interplay.training.schedule import learning_rate

_CLASSES, _SAMPLES, _SIDE = 5, 64, 40
_EPOCHS, _BATCH = 8, 16
_PAIRS = 6


def meta_model(recipe: Recipe, classes: int) -> nn.Module:
    """The model without memory for its weights: sizes and structure only."""
    with torch.device("meta"):
        return build(recipe.model, classes=classes, image_size=recipe.data.resolution)


def effects(recipe: Recipe) -> str:
    """A hash of everything a recipe does: the model built, the batches made, the loss, the optimiser's steps.

    Batches are made from noise at a small resolution; two recipes with the same hash train the same way.
    """
    digest = hashlib.sha256()
    model = meta_model(recipe, _CLASSES)
    digest.update(repr(model).encode())
    digest.update(repr([(name, tuple(p.shape)) for name, p in model.named_parameters()]).encode())
    for part in (_batches(recipe), _steps(recipe)):
        digest.update(part)
    schedule, peak = recipe.schedule, recipe.optimiser.lr
    rates = [learning_rate(schedule, peak, schedule.epochs * i / 64) for i in range(64)]
    sizes = (recipe.data.resolution, recipe.evaluation.resolution, recipe.data.batch_size)
    rest = (rates, schedule.epochs, sizes, recipe.evaluation.every, recipe.precision, recipe.seeds)
    digest.update(repr(rest).encode())
    return digest.hexdigest()


def dead_dimensions(space: Space, base: Recipe, *, draws: int = 12) -> tuple[list[str], list[str]]:
    """Names of the dimensions of `space`, and of those that change nothing `effects` can see.

    Each dimension is changed alone, between values that random draws of the space took.

    Raises:
        InterplayError: if no draw of the space gives a recipe.
    """
    params = [draw for draw in random_draws(space, draws) if _recipe_of(draw, space, base) is not None]
    if not params:
        base.with_(changes_of(space, random_draws(space, 1)[0]))  # says what is wrong with it
    names = sorted({name for p in params for name in p})
    return names, [name for name in names if not _matters(name, params, space, base)]


def _matters(name: str, params: list[dict[str, Any]], space: Space, base: Recipe) -> bool:
    have = sorted((p for p in params if name in p), key=lambda p: str(p[name]))
    pairs = [(one, other) for one, other in zip(have, reversed(have), strict=True) if one[name] != other[name]]
    compared = 0
    for one, other in pairs[:_PAIRS]:
        before = _recipe_of({**other, **one}, space, base)
        after = _recipe_of({**other, **one, name: other[name]}, space, base)
        if before is None or after is None:
            continue
        compared += 1
        if effects(before) != effects(after):
            return True
    return compared == 0  # never seen with two values: nothing can be said against it


def _recipe_of(params: Mapping[str, Any], space: Space, base: Recipe) -> Recipe | None:
    try:
        return base.with_(changes_of(space, params))
    except (InterplayError, ValueError):
        return None


def _batches(recipe: Recipe) -> bytes:
    patch = getattr(recipe.model, "patch_size", 8)
    resolution = max(patch, min(recipe.data.resolution, 32) // patch * patch)
    small = recipe.with_({"data.resolution": resolution, "evaluation.resolution": None, "data.batch_size": _BATCH})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_SAMPLES, _SIDE, _SIDE, 3)).astype(np.uint8)
    labels = rng.integers(0, _CLASSES, _SAMPLES)
    training = ArrayLoader(images, labels, small, training=True)
    normalise = Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), torch.device("cpu"))
    stage = TrainingStage(small.augment, small.seeds.augment, _CLASSES, normalise)
    digest = hashlib.sha256()
    for epoch in range(_EPOCHS):
        for step, batch in enumerate(training.epoch(epoch)):
            x, targets = stage(batch.images, batch.labels, batch.index, batch.view, epoch, step)
            digest.update(x.numpy().tobytes() + targets.numpy().tobytes())
    for batch in ArrayLoader(images, labels, small, training=False).epoch(0):
        digest.update(batch.images.numpy().tobytes())
    return digest.digest()


def _steps(recipe: Recipe) -> bytes:
    """Three steps of the optimiser on the loss, on a small network with fixed weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Linear(8, _CLASSES)
        inputs, targets = 10.0 * torch.randn(16, 8), torch.rand(16, _CLASSES).softmax(dim=1)
    optimiser, loss = make_optimiser(recipe.optimiser, network), make_loss(recipe.loss)
    values = []
    for _ in range(3):
        value = loss(network(inputs), targets)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        clip_gradients(recipe.optimiser, network)
        optimiser.step()
        values.append(value.item())
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    return repr(values).encode() + weights.numpy().tobytes()
