"""How much memory a training needs, and how large its checkpoints are: counted without a device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from interplay.data.order import part_of_batch
from interplay.errors import InterplayError
from interplay.recipe import Adagrad, Ema, Recipe, Sgd
from interplay.recipe.architecture import Model
from interplay.recipe.procedure import Optimiser
from interplay.study.foresight.effects import built_on_meta, meta_model
from interplay.training.optimiser import freeze
from interplay.training.precision import weights_dtype


@dataclass(frozen=True)
class Footprint:
    """Bytes of one training on each of its workers.

    Attributes:
        parameters: trainable ones, a number.
        weights: all weights and buffers.
        gradients: of what is trained.
        states: of the optimiser.
        average: of the moving average; 0 without one.
    """

    parameters: int
    weights: int
    gradients: int
    states: int
    average: int

    @property
    def resident(self) -> int:
        """What is in memory from the first step to the last."""
        return self.weights + self.gradients + self.states + self.average

    @property
    def checkpoint(self) -> int:
        """What a checkpoint holds: weights, their average, the optimiser's state."""
        return self.weights + self.states + self.average


def footprint(recipe: Recipe, classes: int) -> Footprint:
    """Counts `recipe`'s model on the meta device.

    Raises:
        InterplayError: if the model cannot be built, or `trainable` leaves nothing of it.
    """
    model = meta_model(recipe, classes)
    size = torch.finfo(weights_dtype(recipe)).bits // 8
    held = [*model.parameters(), *model.buffers()]
    weights = sum(t.numel() * (size if t.is_floating_point() else t.element_size()) for t in held)
    trained = _trained(model, recipe)
    return Footprint(
        parameters=trained,
        weights=weights,
        gradients=trained * size,
        states=trained * size * _states(recipe.optimiser),
        average=weights if isinstance(recipe.average, Ema) else 0,
    )


def kept_for_backward(recipe: Recipe, classes: int, images: int, dtype: torch.dtype | None) -> int | None:
    """Bytes that autograd keeps between forward and backward, with fake tensors: nothing is computed.

    They are those of the operators that CPUs use; fused attention keeps as much on a GPU. Blocks that torch compiles
    may keep less.

    Args:
        recipe: whose model is counted; a teacher or an embedding's memory is not.
        classes: number of outputs.
        images: in memory at a time.
        dtype: of autocast; None is the weights'.

    Returns:
        None for a model that has an operator without a fake form, as some of other people's have.
    """
    side, weights = recipe.data.resolution, weights_dtype(recipe)
    try:
        return _kept(recipe.model, side, classes, images, dtype, weights, recipe.trainable)
    except InterplayError:
        raise
    except Exception:  # whatever the operator says
        return None


def micro_batch(recipe: Recipe, workers: int, asked: int) -> int:
    """Images of a worker in memory at a time, all views counted."""
    mine = part_of_batch(recipe.data.batch_size, rank=0, world=workers) * recipe.augment.views
    return min(mine, asked) if asked else mine


@lru_cache(maxsize=64)
def _kept(
    model: Model,
    side: int,
    classes: int,
    images: int,
    autocast: torch.dtype | None,
    weights: torch.dtype,
    trainable: str,
) -> int:
    built = built_on_meta(model, classes, side)
    trained = _names_of_trained(built, trainable)
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # a storage that is freed could lend its address to the next one
    with FakeTensorMode(allow_non_fake_inputs=True):
        fake = {
            name: torch.empty(t.shape, dtype=weights if t.is_floating_point() else t.dtype)
            for name, t in [*built.named_parameters(), *built.named_buffers()]
        }
        for name in trained:
            fake[name].requires_grad_()
        own = {t.untyped_storage()._cdata for t in fake.values()}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage.nbytes()
                alive.append(tensor)
            return tensor

        pictures = torch.empty(images, 3, side, side, dtype=weights)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            with torch.autocast("cpu", dtype=autocast or torch.bfloat16, enabled=autocast is not None):
                answer = torch.func.functional_call(built, fake, (pictures,))
            answer.float().log_softmax(-1).sum()
    return sum(kept.values())


def _names_of_trained(model: nn.Module, trainable: str) -> list[str]:
    """Names of the parameters that are trained; the model stays as it is."""
    before = {name: p.requires_grad for name, p in model.named_parameters()}
    try:
        freeze(model, trainable)  # type: ignore[arg-type]
        return [name for name, p in model.named_parameters() if p.requires_grad]
    finally:
        for name, p in model.named_parameters():
            p.requires_grad_(before[name])


def _trained(model: nn.Module, recipe: Recipe) -> int:
    sizes = {name: p.numel() for name, p in model.named_parameters()}
    return sum(sizes[name] for name in _names_of_trained(model, recipe.trainable))


def _states(optimiser: Optimiser) -> int:
    """Numbers that the optimiser keeps for each trained one."""
    if isinstance(optimiser, Sgd):
        return 1 if optimiser.momentum else 0
    return 1 if isinstance(optimiser, Adagrad) else 2
