"""The recipe: one complete, frozen, typed description of a training job.

Nothing outside a recipe changes a result. Every node is immutable and refuses unknown fields; a choice
between kinds (which loss, which policy) is a union told apart by `kind`, and a kind whose defaults are
wanted may be written as its name alone: `"augment.policy": "three_augment"`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from interplay.recipe.architecture import Model, ResMLP, ViT
from interplay.recipe.part import ByName, Part, Positive, Probability, Rate, Real, Whole


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


# --------------------------------------------------------------------------------------- augmentation
class ResizeOnly(Part):
    """The whole image, resized to the resolution without keeping the aspect ratio."""

    kind: Literal["resize"] = "resize"


class RandomResizedCrop(Part):
    """A random window of `scale` of the area and `ratio` of width to height, resized."""

    kind: Literal["random_resized_crop"] = "random_resized_crop"
    scale: tuple[Real, Real] = (0.08, 1.0)
    ratio: tuple[Real, Real] = (3 / 4, 4 / 3)

    @model_validator(mode="after")
    def _ordered(self) -> RandomResizedCrop:
        if not 0.0 < self.scale[0] <= self.scale[1] <= 1.0:
            raise ValueError(f"augment.crop.scale={list(self.scale)} must rise within (0, 1]")
        if not 0.0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"augment.crop.ratio={list(self.ratio)} must be positive and rise")
        return self


class SimpleRandomCrop(Part):
    """The short side resized to the resolution, `padding` pixels mirrored around, a random square (thesis S6.2)."""

    kind: Literal["simple_random_crop"] = "simple_random_crop"
    padding: Whole = Field(4, ge=0)


Crop = Annotated[ResizeOnly | RandomResizedCrop | SimpleRandomCrop, Field(discriminator="kind"), ByName]


class NoPolicy(Part):
    kind: Literal["none"] = "none"


class ThreeAugment(Part):
    """Exactly one of `ops` per image, with equal chance (thesis S6.2); `blur_radius` in pixels."""

    kind: Literal["three_augment"] = "three_augment"
    ops: tuple[Literal["grayscale", "solarise", "blur"], ...] = ("grayscale", "solarise", "blur")
    blur_radius: tuple[Real, Real] = (0.1, 2.0)

    @model_validator(mode="after")
    def _some_ops(self) -> ThreeAugment:
        if not self.ops or len(set(self.ops)) != len(self.ops):
            raise ValueError("augment.policy.ops must name at least one operation, each once")
        if not 0.0 < self.blur_radius[0] <= self.blur_radius[1]:
            raise ValueError(f"augment.policy.blur_radius={list(self.blur_radius)} must be positive and rise")
        return self


class RandAugment(Part):
    """timm's `rand-m{magnitude}-mstd{std}-inc1`: `layers` operations, each applied with `probability`."""

    kind: Literal["rand_augment"] = "rand_augment"
    magnitude: Real = Field(9.0, ge=0.0, le=10.0)
    std: Real = Field(0.5, ge=0.0)
    layers: Positive = 2
    probability: Probability = 0.5


Policy = Annotated[NoPolicy | ThreeAugment | RandAugment, Field(discriminator="kind"), ByName]


class Augment(Part):
    """How training images are changed. `repeats` > 1 is repeated augmentation (thesis S3.4.5).

    `mixup` and `cutmix` are the alphas of Beta(alpha, alpha), 0 is off; a batch is mixed with probability
    `mix_prob`, by CutMix with `mix_switch_prob` when both are on. `color_jitter` is the strength of
    brightness, contrast and saturation. `erasing` is the probability of random erasing (pixel noise).
    """

    crop: Crop = RandomResizedCrop()
    flip: Probability = 0.5
    policy: Policy = NoPolicy()
    color_jitter: Real = Field(0.0, ge=0.0, le=1.0)
    erasing: Probability = 0.0
    mixup: Real = Field(0.0, ge=0.0)
    cutmix: Real = Field(0.0, ge=0.0)
    mix_prob: Probability = 1.0
    mix_switch_prob: Probability = 0.5
    repeats: Positive = 1


# ----------------------------------------------------------------------- loss, optimiser and schedule
class CrossEntropy(Part):
    """Softmax cross-entropy on (mixed, smoothed) targets."""

    kind: Literal["ce"] = "ce"
    smoothing: Rate = 0.0


class BinaryCrossEntropy(Part):
    """Sigmoid BCE averaged over batch and classes; mixed targets above `threshold` become 1, others 0.

    `threshold: null` keeps the soft targets.
    """

    kind: Literal["bce"] = "bce"
    smoothing: Rate = 0.0
    threshold: Probability | None = 0.0

    @model_validator(mode="after")
    def _one_of_two(self) -> BinaryCrossEntropy:
        if self.threshold is not None and self.smoothing:
            raise ValueError("loss.threshold undoes loss.smoothing; set loss.smoothing=0 or loss.threshold=null")
        return self


Loss = Annotated[CrossEntropy | BinaryCrossEntropy, Field(discriminator="kind"), ByName]


class AdamW(Part):
    """`lr` is the peak rate at the recipe's global batch size; `clip_grad` a global norm, null is off."""

    kind: Literal["adamw"] = "adamw"
    lr: Real = Field(1e-3, gt=0.0)
    weight_decay: Real = Field(0.05, ge=0.0)
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    eps: Real = Field(1e-8, gt=0.0)
    clip_grad: Real | None = Field(None, gt=0.0)


class Lamb(Part):
    """LAMB as DeiT III and A2 use it: the gradient's global norm is clipped at `clip_grad` inside."""

    kind: Literal["lamb"] = "lamb"
    lr: Real = Field(3e-3, gt=0.0)
    weight_decay: Real = Field(0.02, ge=0.0)
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    eps: Real = Field(1e-8, gt=0.0)
    clip_grad: Real | None = Field(1.0, gt=0.0)


Optimiser = Annotated[AdamW | Lamb, Field(discriminator="kind"), ByName]


class Cosine(Part):
    """Linear warm-up from `warmup_lr`, then a cosine to `min_lr`, updated every epoch or every step."""

    kind: Literal["cosine"] = "cosine"
    epochs: Positive = 300
    warmup_epochs: Real = Field(5.0, ge=0.0)
    warmup_lr: Real = Field(1e-6, ge=0.0)
    min_lr: Real = Field(1e-5, ge=0.0)
    per: Literal["epoch", "step"] = "epoch"

    @model_validator(mode="after")
    def _warmup_ends(self) -> Cosine:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs={self.warmup_epochs:g} must be below schedule.epochs={self.epochs}"
            )
        return self


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
    """One training job, complete. `name` is for people and is not part of the fingerprint."""

    not_identity: ClassVar[frozenset[str]] = frozenset({"name"})
    name: str = "unnamed"
    model: Model = ViT()
    data: Data = Data()
    augment: Augment = Augment()
    loss: Loss = CrossEntropy()
    optimiser: Optimiser = AdamW()
    schedule: Cosine = Cosine()
    evaluation: Evaluation = Evaluation()
    seeds: Seeds = Seeds()
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        patch = getattr(self.model, "patch_size", 1)
        for where, side in (("data", self.data.resolution), ("evaluation", self.evaluation.resolution)):
            if side is not None and side % patch:
                raise ValueError(
                    f"{where}.resolution={side} is not a multiple of model.patch_size={patch}; "
                    f"use {side // patch * patch or patch} or {(side // patch + 1) * patch}"
                )
        if self.data.batch_size % 2 and (self.augment.mixup or self.augment.cutmix):
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
