"""Everything that a training is made of, put together on one rank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from interplay.augment import Normalise, TrainingStage
from interplay.data.batch import Loader, Loaders
from interplay.data.order import part_of_batch
from interplay.errors import InterplayError
from interplay.models import build
from interplay.models.parts.head import TwoHeads
from interplay.recipe.augmentation import NoPolicy
from interplay.recipe.procedure import Ema, NoDistillation
from interplay.recipe.tree import Recipe
from interplay.training.average import make_average
from interplay.training.checkpoint import State
from interplay.training.evaluate import evaluate
from interplay.training.grafit.learning import Learning, make_learning
from interplay.training.loss import make_objective
from interplay.training.optimiser import freeze, make_optimiser
from interplay.training.precision import autocast_dtype, weights_dtype
from interplay.training.progress import Progress
from interplay.training.ranks import Ranks
from interplay.training.start import put_weights
from interplay.training.step import Step
from interplay.training.teacher import Teacher, load_teacher


@dataclass(frozen=True)
class Computing:
    """How a job is computed. It changes seconds and bytes, and results by rounding alone.

    Attributes:
        micro_batch: images of a rank that are in memory at a time; None is its whole part of the batch.
        compile: let torch compile each block of the model (all blocks share one compilation).
        channels_last: keep images and maps in that memory format, which convolutions on GPUs prefer.
    """

    micro_batch: int | None = None
    compile: bool = False
    channels_last: bool = False

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.preserve_format


PLAIN = Computing()


@dataclass(frozen=True)
class Parts:
    """One training on one rank.

    Attributes:
        recipe: what is trained.
        loaders: this rank's.
        device: where the model lives.
        ranks: this process among its peers.
        memory_format: of images and maps.
        model: as it was built, without wrappers.
        average: the moving average of its weights, if the recipe has one.
        normalise: pixels to the model's inputs.
        stage: what happens to a training batch on the device.
        step: one optimiser step; its model is the wrapped one.
        learning: what is learnt or evaluated besides a classifier, if anything.
    """

    recipe: Recipe
    loaders: Loaders
    device: torch.device
    ranks: Ranks
    memory_format: torch.memory_format
    model: nn.Module
    average: AveragedModel | None
    normalise: Normalise
    stage: TrainingStage
    step: Step
    learning: Learning | None

    def begin(self) -> Progress:
        """Before the first step of a training that is not resumed."""
        if self.learning is not None:
            self.learning.remember()
        return Progress.start(self.device)

    def train(self) -> None:
        """Before the steps of an epoch."""
        self.step.model.train()
        if self.learning is not None:
            self.learning.retriever.forget()

    def finish(self) -> None:
        """After the last step."""
        if self.learning is not None:
            self.learning.remember()

    def scores(self, loader: Loader, *, last: bool) -> dict[str, float]:
        """Of what is evaluated, the model or its average: what its classifier answers, and what neighbours tell.

        Probes too if it is the `last` evaluation of its split.
        """
        if self.learning is None:
            return self.answers(loader)
        return (self.answers(loader) if self.learning.classifies else {}) | self.learning.scores(loader, last=last)

    def answers(self, loader: Loader, right: torch.Tensor | None = None) -> dict[str, float]:
        """Of the classifier; see `evaluate`."""
        model = self.model if self.average is None else self.average.module
        how: dict[str, Any] = {"device": self.device, "ranks": self.ranks, "autocast": self.step.autocast}
        return evaluate(model, loader, self.normalise, right=right, **how)

    def state(self, now: Progress) -> State:
        """The checkpoint of this moment; within an epoch all ranks make it together."""
        found: State = {
            "model": self.model.state_dict(),
            "optimiser": self.step.optimiser.state_dict(),
            "recipe": self.recipe.model_dump(mode="json"),
            "classes": self.loaders.classes,
            "mean": self.loaders.mean,
            "std": self.loaders.std,
            **now.plain(self.ranks),
        }
        if self.average is not None:
            found["average"] = self.average.module.state_dict()
        if self.step.scaler.is_enabled():
            found["scaler"] = self.step.scaler.state_dict()
        if self.learning is not None and (learnt := self.learning.state()):
            found["embedding"] = learnt
        return found

    def resume(self, checkpoint: State) -> Progress:
        """Loads `checkpoint`; says how far it had come.

        Raises:
            InterplayError: if it belongs to another recipe.
        """
        if _deciding(checkpoint["recipe"]) != _deciding(self.recipe.model_dump(mode="json")):
            raise InterplayError("the checkpoint belongs to another recipe; start again without it")
        self.model.load_state_dict(checkpoint["model"])
        self.step.optimiser.load_state_dict(checkpoint["optimiser"])
        if self.average is not None:
            self.average.module.load_state_dict(checkpoint["average"])
        if self.step.scaler.is_enabled():
            self.step.scaler.load_state_dict(checkpoint["scaler"])
        if self.learning is not None:
            self.learning.load(checkpoint.get("embedding", {}))
        return Progress.of(checkpoint, self.device)


def assemble(
    recipe: Recipe, loaders: Loaders, device: torch.device, ranks: Ranks, computing: Computing, start: Path | None
) -> Parts:
    """The parts of a training that begins with the weights at `start`, or with its seed's.

    Raises:
        InterplayError: if the recipe's weights do not fit.
    """
    model = build(recipe.model, classes=loaders.classes, image_size=recipe.data.resolution, seed=recipe.seeds.init)
    if start is not None:
        put_weights(model, start)
    freeze(model, recipe.trainable)
    if weights_dtype(recipe) is torch.float64:
        model.double()
    model.to(device).to(memory_format=computing.memory_format)
    autocast = autocast_dtype(recipe, device)
    teacher = _teacher(recipe, loaders, device, autocast)
    _answer_apart(model, taught=teacher is not None)
    average = None
    if isinstance(recipe.average, Ema):
        average = make_average(recipe.average, model, recipe.data.batch_size)
    normalise = Normalise(loaders.mean, loaders.std, device, weights_dtype(recipe))
    augment = recipe.augment.model_copy(update={"policy": NoPolicy()}) if loaders.policy_applied else recipe.augment
    stage = TrainingStage(augment, recipe.seeds.augment, loaders.classes, normalise)
    evaluated = model if average is None else average.module
    learning = make_learning(recipe, model, evaluated, loaders, normalise, device, ranks, autocast)
    if computing.compile:
        compile_blocks(model)
    batch_size = recipe.data.batch_size
    step = Step(
        model=ranks.wrap(model, device) if learning is None else model,
        optimiser=make_optimiser(recipe.optimiser, model),
        recipe=recipe.optimiser,
        objective=make_objective(recipe.loss, recipe.distillation),
        teacher=teacher,
        autocast=autocast,
        scaler=torch.amp.GradScaler(device.type, enabled=autocast is torch.float16),
        micro_batch=computing.micro_batch,
        share=part_of_batch(batch_size, rank=ranks.rank, world=ranks.world) * ranks.world / batch_size,
    )
    if learning is not None:
        step = learning.step(step, device)
    formatted = computing.memory_format
    return Parts(recipe, loaders, device, ranks, formatted, model, average, normalise, stage, step, learning)


def compile_blocks(model: nn.Module) -> None:
    """Compiles every block in place (regional compilation): alike blocks are compiled once, not once for each."""
    blocks = getattr(model, "blocks", None)
    for block in blocks.values() if isinstance(blocks, nn.ModuleDict) else blocks or [model]:
        block.compile()


def _teacher(recipe: Recipe, loaders: Loaders, device: torch.device, autocast: torch.dtype | None) -> Teacher | None:
    if isinstance(recipe.distillation, NoDistillation):
        return None
    return load_teacher(
        recipe.distillation, loaders, resolution=recipe.data.resolution, device=device, dtype=autocast
    )


def _answer_apart(model: nn.Module, *, taught: bool) -> None:
    """Two heads give two answers in training, if the second one has something of its own to learn."""
    head = getattr(model, "head", None)
    if isinstance(head, TwoHeads):
        head.separate = taught or head.trained_on == "class"


def _deciding(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as plain data without what is not part of a fingerprint: studies share cells."""
    also = {
        name: {key: value for key, value in one.items() if key not in ("dataset", "right_labels")}
        for name, one in recipe["evaluation"].get("also", {}).items()
    }
    evaluation = recipe["evaluation"] | {"also": also}
    return recipe | {"name": "", "data": recipe["data"] | {"dataset": ""}, "evaluation": evaluation}
