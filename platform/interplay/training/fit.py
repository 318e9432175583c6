"""The training loop, top to bottom. It knows torch, a recipe and loaders, and nothing of who started it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from interplay.counter_rng import torch_seed
from interplay.data.batch import Loaders
from interplay.errors import InterplayError
from interplay.recipe.tree import Recipe
from interplay.training.checkpoint import LatestCheckpoint, Offer, Report, State
from interplay.training.meter import PeakMemory
from interplay.training.optimiser import gradient_norm
from interplay.training.parts import PLAIN, Computing, Parts, assemble
from interplay.training.progress import Progress
from interplay.training.ranks import Ranks
from interplay.training.schedule import learning_rate, set_learning_rate

__all__ = ["Computing", "Diverged", "Outcome", "fit"]


class Diverged(Exception):
    """The training loss was not finite. Some published rows did this: it is a result, not a fault."""

    def __init__(self, epoch: int, loss: float) -> None:
        super().__init__(f"the training loss was {loss} in epoch {epoch}")
        self.epoch = epoch


@dataclass(frozen=True)
class Outcome:
    """What a finished job leaves.

    Attributes:
        metrics: of the last epoch, of the test split under `test/`, and of each further test set under its name.
        state: the final checkpoint.
        first_step_at: Unix time of the first optimiser step of this process, None if nothing was left to do.
        samples_seen: training images processed by this process and its peers since it started.
    """

    metrics: dict[str, float]
    state: State = field(repr=False)
    first_step_at: float | None
    samples_seen: int


def fit(
    recipe: Recipe,
    loaders: Loaders,
    *,
    device: torch.device | str = "cpu",
    earlier: Path | None = None,
    computing: Computing = PLAIN,
    report: Report = lambda metrics, state: None,
    after_step: Offer = lambda state: None,
    latest_checkpoint: LatestCheckpoint = lambda: None,
) -> Outcome:
    """Trains `recipe` on `loaders` and evaluates it.

    Selection must look at `val/*` only: test sets are evaluated once, after the last epoch.

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
    device = torch.device(device)
    peak = PeakMemory(device)
    checkpoint = latest_checkpoint()
    start = _start(recipe, earlier) if checkpoint is None else None
    parts = assemble(recipe, loaders, device, Ranks.current(), computing, start)
    now = parts.begin() if checkpoint is None else parts.resume(checkpoint)

    def state() -> State:
        return parts.state(now)

    first_step_at: float | None = None
    samples_seen = 0
    for epoch in range(now.epoch, recipe.schedule.epochs):
        trained = _train_epoch(parts, now, lambda: after_step(state))
        first_step_at = first_step_at or trained.first_step_at
        samples_seen += trained.images
        metrics = trained.metrics
        if (memory := peak.megabytes()) is not None:
            metrics["memory/peak_mb"] = memory
        now = Progress.start(device, epoch=epoch + 1, metrics=metrics)
        if now.epoch == recipe.schedule.epochs:
            parts.finish()
        if loaders.val is not None and _is_evaluated(recipe, now.epoch):
            metrics |= _under("val", parts.scores(loaders.val, last=now.epoch == recipe.schedule.epochs))
        report(metrics | {"epoch": float(now.epoch)}, state)

    if loaders.test is not None:
        now.metrics |= _under("test", parts.scores(loaders.test, last=True))
    for name, other in loaders.also.items():
        now.metrics |= _under(name, parts.answers(other.loader, other.right))
    return Outcome(now.metrics, state(), first_step_at, samples_seen)


@dataclass(frozen=True)
class _Trained:
    """One epoch, or what was left of it: its metrics, the images of all ranks, the Unix time of its first step."""

    metrics: dict[str, float]
    images: int
    first_step_at: float | None


def _train_epoch(parts: Parts, now: Progress, offer: Callable[[], None]) -> _Trained:
    """The steps of epoch `now.epoch` from `now.step` on; `now` moves along, `offer` is called after every step.

    Raises:
        Diverged: if the epoch's mean loss is not finite.
    """
    recipe, ranks, train = parts.recipe, parts.ranks, parts.loaders.train
    epoch, first, steps = now.epoch, now.step, len(train)
    parts.train()
    started, first_step_at = time.perf_counter(), None
    rate, norm = 0.0, None
    for step, batch in enumerate(train.epoch(epoch, first), start=first):
        # drop path and dropout draw from torch: seeded by the step, a resumed run needs no generator's state
        torch.manual_seed(torch_seed("network", recipe.seeds.augment, epoch, step, ranks.rank))
        rate = learning_rate(recipe.schedule, recipe.optimiser.lr, epoch + step / steps)
        set_learning_rate(parts.step.optimiser, rate)
        images = batch.images.to(parts.device, non_blocking=True)
        labels = batch.labels.to(parts.device, non_blocking=True)
        with torch.no_grad():
            inputs, targets = parts.stage(images, labels, batch.index, batch.view, epoch, step)
        loss, norm = parts.step(inputs.to(memory_format=parts.memory_format), targets, batch.index)
        if parts.average is not None:
            parts.average.update_parameters(parts.model)
        now.add(loss)
        first_step_at = first_step_at or time.time()
        offer()
    mean = float(ranks.sum(now.loss_sum)) / (steps * ranks.world)  # waits for the device: the epoch ends
    seconds = time.perf_counter() - started
    if not math.isfinite(mean):
        raise Diverged(epoch, mean)
    images_seen = (steps - first) * recipe.data.batch_size
    metrics = {
        "train/loss": mean,
        "train/loss_max": float(ranks.max(now.loss_max)),
        "train/grad_norm": float(gradient_norm(parts.step.model) if norm is None else norm),
        "train/lr": rate,
        "throughput/images_per_s": images_seen / seconds,
    }
    return _Trained(metrics, images_seen, first_step_at)


def _is_evaluated(recipe: Recipe, epoch: int) -> bool:
    return epoch % recipe.evaluation.every == 0 or epoch == recipe.schedule.epochs


def _under(name: str, scores: dict[str, float]) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in scores.items()}


def _start(recipe: Recipe, earlier: Path | None) -> Path | None:
    """The weights to start from, if not from nothing."""
    if recipe.after is not None and earlier is None:
        raise InterplayError(
            f"{recipe.name} starts where {recipe.after.name} ends; give its checkpoint as start instead of after"
        )
    return Path(recipe.start.checkpoint) if recipe.start is not None else earlier
