"""The training loop, top to bottom. It knows torch, a recipe and loaders, and nothing of who started it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from interplay.augment import Normalise, TrainingStage
from interplay.counter_rng import torch_seed
from interplay.data.batch import Loaders
from interplay.errors import InterplayError
from interplay.models import build
from interplay.models.parts.head import TwoHeads
from interplay.recipe.augmentation import NoPolicy
from interplay.recipe.procedure import Ema, NoDistillation
from interplay.recipe.tree import Recipe
from interplay.training.average import make_average
from interplay.training.checkpoint import LatestCheckpoint, Offer, Report, State
from interplay.training.evaluate import evaluate
from interplay.training.loss import make_objective
from interplay.training.meter import PeakMemory
from interplay.training.optimiser import freeze, gradient_norm, make_optimiser
from interplay.training.precision import autocast_dtype
from interplay.training.progress import Progress
from interplay.training.ranks import Ranks
from interplay.training.schedule import learning_rate, set_learning_rate
from interplay.training.start import put_weights
from interplay.training.step import Step
from interplay.training.teacher import Teacher, load_teacher


class Diverged(Exception):
    """The training loss was not finite. Some published rows did this: it is a result, not a fault."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(f"the training loss was {loss} in epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True)
class Outcome:
    """What a finished job leaves.

    Attributes:
        metrics: of the last epoch, and of the test split under `test/`.
        state: the final checkpoint.
        first_step_at: Unix time of the first optimiser step of this process, None if nothing was left to do.
        samples_seen: training images processed by this process and its peers since it started.
    """

    metrics: dict[str, float]
    state: State = field(repr=False)
    first_step_at: float | None
    samples_seen: int


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


def fit(
    recipe: Recipe,
    loaders: Loaders,
    *,
    device: torch.device | str = "cpu",
    earlier: Path | None = None,
    computing: Computing = Computing(),
    report: Report = lambda metrics, state: None,
    after_step: Offer = lambda state: None,
    latest_checkpoint: LatestCheckpoint = lambda: None,
) -> Outcome:
    """Trains `recipe` on `loaders` and evaluates it.

    Selection must look at `val/*` only: the test split is evaluated once, after the last epoch.

    Args:
        recipe: the complete description of the job.
        loaders: this rank's loaders.
        device: where the model lives.
        earlier: the checkpoint of the earlier stage, if the recipe has one (`recipe.after`).
        computing: how, not what.
        report: called after every epoch on every rank.
        after_step: called after every step on every rank with a function that makes a checkpoint of it.
        latest_checkpoint: where to continue from, if anywhere, at an epoch's end or within an epoch.

    Raises:
        Diverged: if the training loss is not finite.
        InterplayError: if the checkpoint belongs to another recipe, or the recipe's weights do not fit.
    """
    device, ranks = torch.device(device), Ranks.current()
    autocast = autocast_dtype(recipe, device)
    peak = PeakMemory(device)

    model = build(recipe.model, classes=loaders.classes, image_size=recipe.data.resolution, seed=recipe.seeds.init)
    checkpoint = latest_checkpoint()
    if checkpoint is None and (start := _start(recipe, earlier)) is not None:
        put_weights(model, start)
    freeze(model, recipe.trainable)
    memory_format = torch.channels_last if computing.channels_last else torch.preserve_format
    model.to(device).to(memory_format=memory_format)
    teacher = _teacher(recipe, loaders, device, autocast)
    _answer_apart(model, taught=teacher is not None)
    average = None
    if isinstance(recipe.average, Ema):
        average = make_average(recipe.average, model, recipe.data.batch_size)
    normalise = Normalise(loaders.mean, loaders.std, device)
    augment = recipe.augment.model_copy(update={"policy": NoPolicy()}) if loaders.policy_applied else recipe.augment
    stage = TrainingStage(augment, recipe.seeds.augment, loaders.classes, normalise)
    if computing.compile:
        compile_blocks(model)
    wrapped = ranks.wrap(model, device)
    train_step = Step(
        model=wrapped,
        optimiser=make_optimiser(recipe.optimiser, model),
        recipe=recipe.optimiser,
        objective=make_objective(recipe.loss, recipe.distillation),
        teacher=teacher,
        autocast=autocast,
        scaler=torch.amp.GradScaler(device.type, enabled=autocast is torch.float16),
        micro_batch=computing.micro_batch,
    )

    steps = len(loaders.train)
    now = Progress.start(device)
    if checkpoint is not None:
        now = _resume(checkpoint, recipe, model, train_step, average, device)
    evaluated = model if average is None else average.module

    def state() -> State:
        found: State = {
            "model": model.state_dict(),
            "optimiser": train_step.optimiser.state_dict(),
            "recipe": recipe.model_dump(mode="json"),
            "classes": loaders.classes,
            "mean": loaders.mean,
            "std": loaders.std,
            **now.plain(),
        }
        if average is not None:
            found["average"] = average.module.state_dict()
        if train_step.scaler.is_enabled():
            found["scaler"] = train_step.scaler.state_dict()
        return found

    first_step_at: float | None = None
    samples_seen = 0
    for epoch in range(now.epoch, recipe.schedule.epochs):
        wrapped.train()
        started, first = time.perf_counter(), now.step
        rate, norm = 0.0, None
        for step, batch in enumerate(loaders.train.epoch(epoch, first), start=first):
            # drop path and dropout draw from torch: seeded by the step, a resumed run needs no generator's state
            torch.manual_seed(torch_seed("network", recipe.seeds.augment, epoch, step, ranks.rank))
            rate = learning_rate(recipe.schedule, recipe.optimiser.lr, epoch + step / steps)
            set_learning_rate(train_step.optimiser, rate)
            images = batch.images.to(device, non_blocking=True)
            labels = batch.labels.to(device, non_blocking=True)
            with torch.no_grad():
                inputs, targets = stage(images, labels, batch.index, batch.view, epoch, step)
            loss, norm = train_step(inputs.to(memory_format=memory_format), targets)
            if average is not None:
                average.update_parameters(model)
            now.add(loss)
            first_step_at = first_step_at or time.time()
            after_step(state)
        train_loss = float(ranks.sum(now.loss_sum)) / (steps * ranks.world)  # waits for the device: the epoch ends
        seconds = time.perf_counter() - started
        if not math.isfinite(train_loss):
            raise Diverged(epoch, train_loss)
        norm = gradient_norm(model) if norm is None else norm
        samples_seen += (steps - first) * recipe.data.batch_size
        metrics = {
            "train/loss": train_loss,
            "train/loss_max": float(ranks.max(now.loss_max)),
            "train/grad_norm": float(norm),
            "train/lr": rate,
            "throughput/images_per_s": (steps - first) * recipe.data.batch_size / seconds,
        }
        if (memory := peak.megabytes()) is not None:
            metrics["memory/peak_mb"] = memory
        now = Progress.start(device, epoch=epoch + 1, metrics=metrics)
        if loaders.val is not None and (
            now.epoch % recipe.evaluation.every == 0 or now.epoch == recipe.schedule.epochs
        ):
            scores = evaluate(evaluated, loaders.val, normalise, device=device, ranks=ranks, autocast=autocast)
            metrics |= {f"val/{name}": value for name, value in scores.items()}
        report(metrics | {"epoch": float(now.epoch)}, state)

    metrics = now.metrics
    if loaders.test is not None:
        scores = evaluate(evaluated, loaders.test, normalise, device=device, ranks=ranks, autocast=autocast)
        metrics |= {f"test/{name}": value for name, value in scores.items()}
    return Outcome(metrics, state(), first_step_at, samples_seen)


def _start(recipe: Recipe, earlier: Path | None) -> Path | None:
    """The weights to start from, if not from nothing."""
    if recipe.after is not None and earlier is None:
        raise InterplayError(
            f"{recipe.name} starts where {recipe.after.name} ends; give its checkpoint as start instead of after"
        )
    return Path(recipe.start.checkpoint) if recipe.start is not None else earlier


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


def _resume(
    checkpoint: State,
    recipe: Recipe,
    model: nn.Module,
    step: Step,
    average: AveragedModel | None,
    device: torch.device,
) -> Progress:
    """Loads `checkpoint`; says how far it had come."""
    if _deciding(checkpoint["recipe"]) != _deciding(recipe.model_dump(mode="json")):
        raise InterplayError("the checkpoint belongs to another recipe; start again without it")
    model.load_state_dict(checkpoint["model"])
    step.optimiser.load_state_dict(checkpoint["optimiser"])
    if average is not None:
        average.module.load_state_dict(checkpoint["average"])
    if step.scaler.is_enabled():
        step.scaler.load_state_dict(checkpoint["scaler"])
    return Progress.of(checkpoint, device)


def _deciding(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as plain data without the names that are not part of a fingerprint: studies share cells."""
    return recipe | {"name": "", "data": recipe["data"] | {"dataset": ""}}
