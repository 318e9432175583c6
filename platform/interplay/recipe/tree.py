"""The recipe: one complete, frozen, typed description of a training job.

Nothing outside a recipe changes a result. Every node is immutable and refuses unknown fields; a choice
between kinds (which loss, which policy) is a union told apart by `kind`, and a kind whose defaults are
wanted may be written as its name alone: `"augment.policy": "three_augment"`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from interplay.recipe.architecture import Model, ResMLP, ViT
from interplay.recipe.augmentation import Augment
from interplay.recipe.part import ByName, Part, Positive, Real, Whole
from interplay.recipe.procedure import (
    AdamW,
    AnySchedule,
    Average,
    Cosine,
    CrossEntropy,
    Distillation,
    Loss,
    NoAverage,
    NoDistillation,
    Optimiser,
    TrainedWeights,
)


# ----------------------------------------------------------------------------------------------- data
class Shuffle(Part):
    """Every sample once in an epoch, in a random order."""

    kind: Literal["shuffle"] = "shuffle"


class Sequential(Part):
    """Every sample once in an epoch, as stored."""

    kind: Literal["sequential"] = "sequential"


class QuasiRandom(Part):
    """Every sample once in an epoch, read in large pieces: for files larger than memory.

    Blocks of `block` neighbouring samples come in a random order; samples are shuffled among `window` blocks.
    """

    kind: Literal["quasi_random"] = "quasi_random"
    block: Positive = 256
    window: Positive = 64


class ClassBalanced(Part):
    """Every class equally often: rare ones are repeated within an epoch, in other crops; its length stays."""

    kind: Literal["class_balanced"] = "class_balanced"


Order = Annotated[Shuffle | Sequential | QuasiRandom | ClassBalanced, Field(discriminator="kind"), ByName]


class Data(Part):
    """What is read. `batch_size` is global: it does not change with the number of workers."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"dataset"})
    dataset: str = "digits"
    resolution: Positive = 224
    batch_size: Positive = 1024
    interpolation: Literal["bicubic", "bilinear", "box"] = "bicubic"
    order: Order = Shuffle()


# ------------------------------------------------------------------------------- evaluation and seeds
class Evaluation(Part):
    """Resize the short side to resolution / `crop_ratio`, centre crop; `resolution: null` is data's.

    `every`: epochs between evaluations on the validation split. The test split is evaluated once, at the end.
    """

    crop_ratio: Real = Field(0.875, gt=0.0, le=1.0)
    resolution: Positive | None = None
    every: Positive = 1


class Seeds(Part):
    """One seed for each kind of randomness: initial weights, order of samples, augmentation."""

    init: Whole = Field(0, ge=0)
    order: Whole = Field(0, ge=0)
    augment: Whole = Field(0, ge=0)


class Recipe(Part):
    """One training job, complete. `name` is for people and is not part of the fingerprint.

    `start` holds the weights to fine-tune; `after` is the recipe of an earlier stage, whose last weights are started
    from. `trainable` leaves all but the attention layers, position embeddings and head as they are (`attention`,
    thesis S6.3.3), or all but the head (`head`). `precision: auto` is bf16 where the device computes in it,
    otherwise fp32.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"name"})
    name: str = "unnamed"
    model: Model = ViT()
    start: TrainedWeights | None = None
    after: Recipe | None = None
    data: Data = Data()
    augment: Augment = Augment()
    loss: Loss = CrossEntropy()
    distillation: Distillation = NoDistillation()
    optimiser: Optimiser = AdamW()
    schedule: AnySchedule = Cosine()
    average: Average = NoAverage()
    evaluation: Evaluation = Evaluation()
    seeds: Seeds = Seeds()
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    trainable: Literal["all", "attention", "head"] = "all"

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        if self.start is not None and self.after is not None:
            raise ValueError("start and after both say what to start from; set one of them")
        patch = getattr(self.model, "patch_size", 1)
        for where, side in (("data", self.data.resolution), ("evaluation", self.evaluation.resolution)):
            if side is not None and side % patch:
                raise ValueError(
                    f"{where}.resolution={side} is not a multiple of model.patch_size={patch}; "
                    f"use {side // patch * patch or patch} or {(side // patch + 1) * patch}"
                )
        if self.data.batch_size % 2 and self.augment.mixes:
            raise ValueError("mixup and cutmix pair images: data.batch_size must be even")
        if isinstance(self.model, ViT | ResMLP) and self.evaluation.resolution not in (None, self.data.resolution):
            raise ValueError(
                f"evaluation.resolution must equal data.resolution for family {self.model.family}: its "
                "weights are made for one size"
            )
        return self

    def with_(self, changes: dict[str, Any]) -> Recipe:
        """This recipe with `changes` (dotted path -> value); see `interplay.recipe.apply_changes`."""
        from interplay.recipe.changes import apply_changes

        return apply_changes(self, changes)

    def with_seed(self, seed: int) -> Recipe:
        """This recipe with all three seeds set to `seed`."""
        return self.with_({"seed": seed})
