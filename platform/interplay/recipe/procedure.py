"""How a model is optimised: losses, distillation, optimisers, schedules, and the average of the weights."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from interplay.recipe.architecture import Model
from interplay.recipe.part import ByName, Part, Positive, Probability, Rate, Real, checkpoint_file, file_content


# ------------------------------------------------------------------------------------------------- loss
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


# -------------------------------------------------------------------------- trained weights, distillation
def _checkpoint_alone(value: Any) -> Any:
    return {"checkpoint": value} if isinstance(value, str) else value


class Weights(Part):
    """Trained weights: a cell's folder or a checkpoint of ours, or a file of timm's or of a paper's authors.

    `model` is what the weights belong to; a checkpoint of ours knows it (null). `digest` is of the content and
    filled in: the fingerprint holds it and not the path. A recipe may leave `checkpoint` empty: whoever trains it
    gives the file.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"checkpoint"})
    checkpoint: str
    model: Model | None = None
    digest: str = ""

    _of_this_content = file_content("checkpoint", "checkpoint", checkpoint_file)


TrainedWeights = Annotated[Weights, BeforeValidator(_checkpoint_alone)]


class NoDistillation(Part):
    kind: Literal["none"] = "none"


class SoftDistillation(Part):
    """(1 - `weight`) * loss + `weight` * tau^2 * KL(teacher || student), both at temperature `tau` (thesis eq. 3.2).

    The teacher sees the same augmented and mixed images, resized to `teacher_resolution` if that is set. In a model
    with a distillation token, that token's head learns the teacher's term and the other one the loss.
    """

    kind: Literal["soft"] = "soft"
    teacher: TrainedWeights
    teacher_resolution: Positive | None = None
    weight: Probability = 0.1
    tau: Real = Field(3.0, gt=0.0)


class HardDistillation(Part):
    """(1 - `weight`) * loss + `weight` * CE(student, teacher's class) (thesis eq. 3.3); see `SoftDistillation`."""

    kind: Literal["hard"] = "hard"
    teacher: TrainedWeights
    teacher_resolution: Positive | None = None
    weight: Probability = 0.5


Distillation = Annotated[NoDistillation | SoftDistillation | HardDistillation, Field(discriminator="kind"), ByName]


# ------------------------------------------------------------------------------------------- optimisers
class AdamW(Part):
    """`lr` is the peak rate at the recipe's global batch size; `clip_grad` a global norm, null is off.

    `layer_decay` multiplies the rate once for every block below the head (1 is off).
    """

    kind: Literal["adamw"] = "adamw"
    lr: Real = Field(1e-3, ge=0.0)
    weight_decay: Real = Field(0.05, ge=0.0)
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    eps: Real = Field(1e-8, gt=0.0)
    clip_grad: Real | None = Field(None, gt=0.0)
    layer_decay: Probability = 1.0


class Lamb(Part):
    """LAMB as DeiT III and A2 use it: the gradient's global norm is clipped at `clip_grad` inside."""

    kind: Literal["lamb"] = "lamb"
    lr: Real = Field(3e-3, ge=0.0)
    weight_decay: Real = Field(0.02, ge=0.0)
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    eps: Real = Field(1e-8, gt=0.0)
    clip_grad: Real | None = Field(1.0, gt=0.0)
    layer_decay: Probability = 1.0


class Sgd(Part):
    """Stochastic gradient descent with momentum; `weight_decay` is added to the gradient."""

    kind: Literal["sgd"] = "sgd"
    lr: Real = Field(0.1, ge=0.0)
    weight_decay: Real = Field(1e-4, ge=0.0)
    momentum: Rate = 0.9
    nesterov: bool = True
    clip_grad: Real | None = Field(None, gt=0.0)
    layer_decay: Probability = 1.0


class Adagrad(Part):
    kind: Literal["adagrad"] = "adagrad"
    lr: Real = Field(0.01, ge=0.0)
    weight_decay: Real = Field(0.0, ge=0.0)
    eps: Real = Field(1e-10, gt=0.0)
    clip_grad: Real | None = Field(None, gt=0.0)
    layer_decay: Probability = 1.0


Optimiser = Annotated[AdamW | Lamb | Sgd | Adagrad, Field(discriminator="kind"), ByName]


# --------------------------------------------------------------------------------------------- schedule
class Schedule(Part):
    """Linear warm-up from `warmup_lr` to the peak over `warmup_epochs`, then what the kind says.

    Updated every epoch or every step (`per`).
    """

    epochs: Positive = 300
    warmup_epochs: Real = Field(5.0, ge=0.0)
    warmup_lr: Real = Field(1e-6, ge=0.0)
    per: Literal["epoch", "step"] = "epoch"

    @model_validator(mode="after")
    def _warmup_ends(self) -> Schedule:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"schedule.warmup_epochs={self.warmup_epochs:g} must be below schedule.epochs={self.epochs}"
            )
        return self


class Cosine(Schedule):
    """A cosine to `min_lr`; it runs over all epochs, warm-up included, as timm's scheduler and DeiT do it."""

    kind: Literal["cosine"] = "cosine"
    min_lr: Real = Field(1e-5, ge=0.0)


class Steps(Schedule):
    """The rate is multiplied by `factor` every `every` epochs."""

    kind: Literal["steps"] = "steps"
    every: Positive = 30
    factor: Real = Field(0.1, gt=0.0, le=1.0)


class InverseSquareRoot(Schedule):
    """The peak times sqrt(warmup_epochs / epochs done)."""

    kind: Literal["inverse_sqrt"] = "inverse_sqrt"

    @model_validator(mode="after")
    def _has_warmup(self) -> InverseSquareRoot:
        if not self.warmup_epochs:
            raise ValueError("schedule.warmup_epochs must be above 0 for inverse_sqrt: the decay starts from it")
        return self


class Constant(Schedule):
    kind: Literal["constant"] = "constant"


AnySchedule = Annotated[Cosine | Steps | InverseSquareRoot | Constant, Field(discriminator="kind"), ByName]


# -------------------------------------------------------------------------------------------- averaging
class NoAverage(Part):
    kind: Literal["none"] = "none"


class Ema(Part):
    """An exponential moving average of the weights is evaluated instead of them.

    `horizon` is the number of training images over which an old weight's share falls to 1/e, so it means the same
    for every batch size: a decay of d per step at batch B is a horizon of about B / (1 - d).
    """

    kind: Literal["ema"] = "ema"
    horizon: Real = Field(1e6, gt=0.0)


Average = Annotated[NoAverage | Ema, Field(discriminator="kind"), ByName]
