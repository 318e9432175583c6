"""Everything a recipe does, so that two can be compared: a path may be set and be without effect."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import nn

from interplay.augment import Normalise, TrainingStage
from interplay.data import ArrayLoader
from interplay.models import build
from interplay.recipe import NoDistillation, NoEmbedding, Recipe
from interplay.recipe.architecture import Model, OwnModel, TimmModel
from interplay.recipe.embedding import NoClusters, NoRetrieval
from interplay.training.loss import make_loss
from interplay.training.optimiser import clip_gradients, make_optimiser, parameter_groups
from interplay.training.schedule import learning_rate

_CLASSES, _SAMPLES, _SIDE = 5, 64, 40
_EPOCHS, _BATCH = 8, 16


def meta_model(recipe: Recipe, classes: int) -> nn.Module:
    """The model without memory for its weights: sizes and structure only. It is shared: leave it as it is.

    Raises:
        InterplayError: if it cannot be built.
    """
    return built_on_meta(recipe.model, classes, recipe.data.resolution)


@lru_cache(maxsize=64)
def built_on_meta(model: Model, classes: int, image_size: int) -> nn.Module:
    """As `meta_model`, for images of side `image_size`."""
    with torch.device("meta"):
        return build(model, classes=classes, image_size=image_size)


def effects(recipe: Recipe) -> str:
    """A hash of everything a recipe does: the model built, the batches made, the loss, the optimiser's steps.

    Batches are made from noise at a small resolution; two recipes with the same hash train the same way.
    """
    digest = hashlib.sha256()
    for piece in _pieces(recipe):
        for part in piece.found():
            digest.update(part)
    return digest.hexdigest()


def differ(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes do anything differently; it ends at the first difference, which `effects` cannot."""
    return Effects(one).differ(other)


class Effects:
    """What one recipe does, found out as far as comparisons need it, and once."""

    def __init__(self, recipe: Recipe) -> None:
        self._pieces = _pieces(recipe)

    def differ(self, other: Recipe) -> bool:
        """Whether `other` does anything differently."""
        pairs = zip(self._pieces, _pieces(other), strict=True)
        return any(mine.key != theirs.key and mine.differs(theirs) for mine, theirs in pairs)


class _Piece:
    """One kind of effect, which is tried out only if what it follows from (`key`) is compared with another."""

    def __init__(self, key: Any, parts: Iterator[bytes]) -> None:
        self.key, self._left = key, parts
        self._found: list[bytes] = []

    def found(self) -> Iterator[bytes]:
        yield from self._found
        for part in self._left:
            self._found.append(part)
            yield part

    def differs(self, other: _Piece) -> bool:
        return any(a != b for a, b in zip_longest(self.found(), other.found()))


def _pieces(recipe: Recipe) -> list[_Piece]:
    """Everything a recipe does, what is quick to find out first."""
    model, data, optimiser = recipe.model, recipe.data, recipe.optimiser
    groups = (model, data.resolution, optimiser.weight_decay, optimiser.layer_decay)
    times = (recipe.schedule, optimiser.lr, data.resolution, data.batch_size)
    shown = (data, recipe.augment, recipe.seeds, recipe.evaluation, getattr(model, "patch_size", 8))
    return [
        _Piece(_declared(recipe), iter([_declared(recipe)])),
        _Piece(groups, _structure(recipe)),
        _Piece(times, _rates(recipe)),
        _Piece((optimiser, recipe.loss), _steps(recipe)),
        _Piece(shown, _batches(recipe)),
    ]


def _structure(recipe: Recipe) -> Iterator[bytes]:
    model = meta_model(recipe, _CLASSES)
    yield repr(model).encode()
    yield repr([(name, tuple(p.shape)) for name, p in model.named_parameters()]).encode()
    groups = parameter_groups(model, recipe.optimiser.weight_decay, recipe.optimiser.layer_decay)
    yield repr([(g["weight_decay"], g["lr_scale"], len(g["params"])) for g in groups]).encode()


def _rates(recipe: Recipe) -> Iterator[bytes]:
    schedule, peak = recipe.schedule, recipe.optimiser.lr
    rates = [learning_rate(schedule, peak, schedule.epochs * i / 64) for i in range(64)]
    yield repr((rates, schedule.epochs, schedule.per, recipe.data.resolution, recipe.data.batch_size)).encode()


def _declared(recipe: Recipe) -> bytes:
    """What cannot be tried out here, as it is written: other data, weights of files, what evaluation does.

    Of the model it is what its structure does not show: how weights begin, and code of others.
    """
    data, model = recipe.data, recipe.model
    hidden = (
        getattr(model, "init_std", None),
        getattr(model, "scale", None),
        getattr(model, "fusion", None),
        model if isinstance(model, OwnModel | TimmModel) else None,
    )
    said = (data.dataset, data.share, data.level, data.clusters, data.order)
    learnt = (recipe.start, recipe.after, recipe.trainable, recipe.distillation, recipe.embedding)
    return repr((said, learnt, recipe.average, recipe.evaluation, recipe.precision, recipe.seeds, hidden)).encode()


def _batches(recipe: Recipe) -> Iterator[bytes]:
    patch = getattr(recipe.model, "patch_size", 8)
    resolution = max(patch, min(recipe.data.resolution, 32) // patch * patch)
    here = recipe.evaluation.model_copy(update={"also": (), "retrieval": NoRetrieval(), "resolution": None})
    # without what lies in files, which every change would read again; none of it changes a batch
    bare = {"start": None, "after": None, "distillation": NoDistillation(), "evaluation": here}
    data = {"clusters": NoClusters(), "level": 0, "resolution": resolution, "batch_size": _BATCH, "share": 1.0}
    small = recipe.model_copy(
        update={**bare, "data": recipe.data.model_copy(update=data), "embedding": NoEmbedding()}
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (_SAMPLES, _SIDE, _SIDE, 3)).astype(np.uint8)
    labels = rng.integers(0, _CLASSES, _SAMPLES)
    for batch in ArrayLoader(images, labels, small, training=False).epoch(0):
        yield batch.images.numpy().tobytes()
    training = ArrayLoader(images, labels, small, training=True)
    normalise = Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), torch.device("cpu"))
    stage = TrainingStage(small.augment, small.seeds.augment, _CLASSES, normalise)
    for epoch in range(_EPOCHS):
        for step, batch in enumerate(training.epoch(epoch)):
            x, targets = stage(batch.images, batch.labels, batch.index, batch.view, epoch, step)
            yield x.numpy().tobytes() + targets.numpy().tobytes()


def _steps(recipe: Recipe) -> Iterator[bytes]:
    """Some steps of the optimiser on the loss, on a small network with fixed weights, in double precision.

    Gradients are large and small: an optimiser that does not see their scale sees where clipping begins.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Linear(8, _CLASSES).double()
        inputs, targets = 10.0 * torch.randn(16, 8).double(), torch.rand(16, _CLASSES).double().softmax(dim=1)
    optimiser, loss = make_optimiser(recipe.optimiser, network), make_loss(recipe.loss)
    values = []
    for scale in (1.0, 0.3, 0.03, 0.003):
        value = loss(network(scale * inputs), targets)
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        clip_gradients(recipe.optimiser, network)
        optimiser.step()
        values.append(value.item())
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    yield repr(values).encode() + weights.numpy().tobytes()
