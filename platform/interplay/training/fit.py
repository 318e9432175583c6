"""The training loop, top to bottom. It knows torch, a recipe and loaders, and nothing of who started it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from interplay.augment import Normalise, TrainingStage
from interplay.counter_rng import torch_seed
from interplay.data.batch import Loaders
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe.tree import Recipe
from interplay.training.checkpoint import LatestCheckpoint, Report, State
from interplay.training.evaluate import evaluate
from interplay.training.loss import make_loss
from interplay.training.meter import PeakMemory
from interplay.training.optimiser import clip_gradients, make_optimiser
from interplay.training.ranks import Ranks
from interplay.training.schedule import learning_rate, set_learning_rate


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


def fit(
    recipe: Recipe,
    loaders: Loaders,
    *,
    device: torch.device | str = "cpu",
    report: Report = lambda metrics, state: None,
    latest_checkpoint: LatestCheckpoint = lambda: None,
) -> Outcome:
    """Trains `recipe` on `loaders` and evaluates it.

    Selection must look at `val/*` only: the test split is evaluated once, after the last epoch.

    Args:
        recipe: the complete description of the job.
        loaders: this rank's loaders.
        device: where the model lives.
        report: called after every epoch on every rank.
        latest_checkpoint: where to continue from, if anywhere.

    Raises:
        Diverged: if the training loss is not finite.
        InterplayError: if the checkpoint belongs to another recipe.
    """
    device, ranks = torch.device(device), Ranks.current()
    autocast = autocast_dtype(recipe, device)
    peak = PeakMemory(device)
    image_size = recipe.data.resolution

    model = build(recipe.model, classes=loaders.classes, image_size=image_size, seed=recipe.seeds.init)
    model.to(device)
    optimiser = make_optimiser(recipe.optimiser, model)
    loss_function = make_loss(recipe.loss)
    normalise = Normalise(loaders.mean, loaders.std, device)
    stage = TrainingStage(recipe.augment, recipe.seeds.augment, loaders.classes, normalise)

    done, metrics = _resume(latest_checkpoint(), recipe, model, optimiser)
    wrapped = ranks.wrap(model, device)

    def state() -> State:
        return {
            "model": model.state_dict(),
            "optimiser": optimiser.state_dict(),
            "epoch": done,
            "metrics": metrics,
            "recipe": recipe.model_dump(mode="json"),
            "classes": loaders.classes,
        }

    first_step_at: float | None = None
    samples_seen = 0
    steps = len(loaders.train)
    for epoch in range(done, recipe.schedule.epochs):
        # drop path and dropout draw from torch: seeded by the epoch, a resumed run needs no generator state
        torch.manual_seed(torch_seed("network", recipe.seeds.augment, epoch, ranks.rank))
        wrapped.train()
        started = time.perf_counter()
        loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        rate = 0.0
        for step, batch in enumerate(loaders.train.epoch(epoch)):
            rate = learning_rate(recipe.schedule, recipe.optimiser.lr, epoch + step / steps)
            set_learning_rate(optimiser, rate)
            images = batch.images.to(device, non_blocking=True)
            labels = batch.labels.to(device, non_blocking=True)
            with torch.no_grad():
                inputs, targets = stage(images, labels, batch.index, batch.view, epoch, step)
            with torch.autocast(device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
                logits = wrapped(inputs)
            loss = loss_function(logits.float(), targets)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            clip_gradients(recipe.optimiser, model)
            optimiser.step()
            loss_sum += loss.detach()
            first_step_at = first_step_at or time.time()
        train_loss = float(ranks.sum(loss_sum)) / (steps * ranks.world)  # waits for the device: the epoch ends here
        seconds = time.perf_counter() - started
        if not math.isfinite(train_loss):
            raise Diverged(epoch, train_loss)
        done = epoch + 1
        samples_seen += steps * recipe.data.batch_size
        metrics = {
            "train/loss": train_loss,
            "train/lr": rate,
            "throughput/images_per_s": steps * recipe.data.batch_size / seconds,
        }
        if (memory := peak.megabytes()) is not None:
            metrics["memory/peak_mb"] = memory
        if loaders.val is not None and (done % recipe.evaluation.every == 0 or done == recipe.schedule.epochs):
            scores = evaluate(model, loaders.val, normalise, device=device, ranks=ranks, autocast=autocast)
            metrics |= {f"val/{name}": value for name, value in scores.items()}
        report(metrics | {"epoch": float(done)}, state)

    if loaders.test is not None:
        scores = evaluate(model, loaders.test, normalise, device=device, ranks=ranks, autocast=autocast)
        metrics |= {f"test/{name}": value for name, value in scores.items()}
    return Outcome(metrics, state(), first_step_at, samples_seen)


def autocast_dtype(recipe: Recipe, device: torch.device) -> torch.dtype | None:
    """bfloat16 where the recipe wants it or, with `auto`, where the device computes in it; None is float32."""
    if recipe.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
    return torch.bfloat16 if recipe.precision == "bf16" else None


def _resume(
    checkpoint: State | None, recipe: Recipe, model: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, dict[str, float]]:
    """Loads `checkpoint`, if any; says how many epochs are done and the metrics of the last of them."""
    if checkpoint is None:
        return 0, {}
    if _deciding(checkpoint["recipe"]) != _deciding(recipe.model_dump(mode="json")):
        raise InterplayError("the checkpoint belongs to another recipe; start again without it")
    model.load_state_dict(checkpoint["model"])
    optimiser.load_state_dict(checkpoint["optimiser"])
    return int(checkpoint["epoch"]), dict(checkpoint["metrics"])


def _deciding(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as plain data without the names that are not part of a fingerprint: studies share cells."""
    return recipe | {"name": "", "data": recipe["data"] | {"dataset": ""}}
