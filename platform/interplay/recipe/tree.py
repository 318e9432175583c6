"""The recipe: one complete, frozen, typed description of a training job.

Nothing outside a recipe changes a result. Every node is immutable and refuses unknown fields; a choice
between kinds (which loss, which policy) is a union told apart by `kind`, and a kind whose defaults are
wanted may be written as its name alone: `"augment.policy": "three_augment"`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from interplay.recipe.architecture import Model, ResMLP, ViT
from interplay.recipe.augmentation import Augment
from interplay.recipe.embedding import (
    AnyClusters,
    ByHead,
    Embedding,
    LearntEmbedding,
    NoClusters,
    NoEmbedding,
    NoInstance,
    NoRetrieval,
    Retrieval,
)
from interplay.recipe.part import ByName, Part, Positive, Real, Whole, manifest_digest, short_digest
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
    """What is read. `batch_size` is global: it does not change with the number of workers.

    `share` of each class's training images is trained on, always the same ones; validation and test stay whole.

    `level` is which of the data set's label levels is trained on, 0 is the first; null is one label for all images.
    `clusters` take the place of labels.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"dataset"})
    dataset: str = "digits"
    resolution: Positive = 224
    batch_size: Positive = 1024
    interpolation: Literal["bicubic", "bilinear", "box"] = "bicubic"
    order: Order = Shuffle()
    share: Real = Field(1.0, gt=0.0, le=1.0)
    level: Whole | None = Field(0, ge=0)
    clusters: AnyClusters = NoClusters()


# ------------------------------------------------------------------------------- evaluation and seeds
class OtherSet(Part):
    """A further test set, such as ImageNet V2: its test split, or all of it if it has none.

    `dataset` is the path of a `.beton`, whose classes are matched by name. `right_labels` is a JSON file of several
    right labels for each image (ImageNet Real), which take the place of the stored ones. The digests are of the
    contents and filled in: the fingerprint holds them and not the paths.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"dataset", "right_labels"})
    dataset: str
    right_labels: str | None = None
    digest: str = ""
    labels_digest: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_this_content(cls, tree: Any) -> Any:
        """A digest that is there stays: a stored recipe can be read where the data is not; see `check_other_sets`."""
        tree = {"dataset": tree} if isinstance(tree, str) else tree
        if not isinstance(tree, dict) or not isinstance(tree.get("dataset"), str):
            return tree
        if strange := [name for name in tree if name not in cls.model_fields]:
            raise ValueError(f"evaluation.also: a data set has no {strange[0]!r}; give dataset and right_labels")
        if not tree.get("digest"):
            path = Path(tree["dataset"]).expanduser()
            tree = {**tree, "dataset": str(path.resolve()), "digest": manifest_digest(path, "evaluation.also")}
        if isinstance(labels := tree.get("right_labels"), str) and not tree.get("labels_digest"):
            path = Path(labels).expanduser()
            if not path.is_file():
                raise ValueError(f"evaluation.also: right_labels={labels!r} is not a file")
            tree = {**tree, "right_labels": str(path.resolve()), "labels_digest": short_digest(path)}
        return tree


_TAKEN = {"train", "val", "test", "epoch", "throughput", "memory", "system"}
"""What metrics are called already."""


def _named_sets(value: Any) -> Any:
    if isinstance(value, tuple):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(
            f"evaluation.also={value!r} is not a mapping of names to data sets, such as {{v2: v2.beton}}"
        )
    for name in map(str, value):
        if name in _TAKEN or not re.fullmatch("[A-Za-z][A-Za-z0-9_-]*", name):
            raise ValueError(
                f"evaluation.also: a data set cannot be called {name!r} in metrics; name it as v2 or real"
            )
    return tuple(sorted(value.items()))


OtherSets = Annotated[
    tuple[tuple[str, OtherSet], ...],
    BeforeValidator(_named_sets),
    PlainSerializer(lambda sets: {name: one.model_dump(mode="json") for name, one in sets}),
]
"""A mapping of names to data sets that can be hashed."""


class Evaluation(Part):
    """Resize the short side to resolution / `crop_ratio`, centre crop; `resolution: null` is data's.

    `every`: epochs between evaluations on the validation split. The test split is evaluated once, at the end, and so
    are the further test sets `also`, by name: `{v2: v2.beton}` gives `v2/top1`. `retrieval`: what nearest training
    images tell, besides.
    """

    crop_ratio: Real = Field(0.875, gt=0.0, le=1.0)
    resolution: Positive | None = None
    every: Positive = 1
    also: OtherSets = ()
    retrieval: Retrieval = NoRetrieval()


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
    otherwise fp32; `fp64` keeps weights and computes in double precision, to tell rounding from mistakes.
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
    embedding: Embedding = NoEmbedding()
    optimiser: Optimiser = AdamW()
    schedule: AnySchedule = Cosine()
    average: Average = NoAverage()
    evaluation: Evaluation = Evaluation()
    seeds: Seeds = Seeds()
    precision: Literal["auto", "fp32", "bf16", "fp16", "fp64"] = "auto"
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
        if self.evaluation.also and (self.data.level != 0 or not isinstance(self.data.clusters, NoClusters)):
            raise ValueError("evaluation.also has classes of the first label level alone; set data.level=0")
        if isinstance(self.embedding, LearntEmbedding):
            _check_embedding(self, self.embedding)
        if self.data.level is None and isinstance(getattr(self.embedding, "labels", ByHead()), ByHead):
            raise ValueError("data.level=null is one label for all images, which a classifier cannot learn from")
        return self

    @property
    def compares_embeddings(self) -> bool:
        """Whether training images are a gallery: for a memory, or for what nearest neighbours tell."""
        return isinstance(self.embedding, LearntEmbedding) or not isinstance(self.evaluation.retrieval, NoRetrieval)

    def with_(self, changes: dict[str, Any]) -> Recipe:
        """This recipe with `changes` (dotted path -> value); see `interplay.recipe.apply_changes`."""
        from interplay.recipe.changes import apply_changes

        return apply_changes(self, changes)

    def with_seed(self, seed: int, *, every_stage: bool = False) -> Recipe:
        """This recipe with all three seeds set to `seed`.

        Earlier stages (`after`) keep theirs, so that a study over seeds of a fine-tuning shares one pre-training, and
        its spread is that of the fine-tuning. With `every_stage` each seed has a pre-training of its own.
        """
        changed = self.with_({"seed": seed})
        if every_stage and changed.after is not None:
            return changed.model_copy(update={"after": changed.after.with_seed(seed, every_stage=True)})
        return changed


def _check_embedding(recipe: Recipe, embedding: LearntEmbedding) -> None:
    """Raises ValueError if the rest of the recipe does not go with an embedding."""
    augment, alone = recipe.augment, isinstance(embedding.instance, NoInstance)
    if not alone and augment.views < 2:
        raise ValueError("embedding.instance compares views of an image; set augment.views=4, or another above 1")
    if alone and augment.views > 1:
        raise ValueError(f"augment.views={augment.views} has no use without embedding.instance; set augment.views=1")
    if augment.repeats > 1:
        raise ValueError("an embedding is learnt from augment.views of an image; set augment.repeats=1")
    if augment.mixes:
        raise ValueError("an embedding is of one image; set augment.mixup=0 and augment.cutmix=0")
    if not isinstance(embedding.labels, ByHead):
        if isinstance(recipe.evaluation.retrieval, NoRetrieval):
            raise ValueError("without embedding.labels=head nothing classifies; set evaluation.retrieval=nearest")
        if recipe.evaluation.also:
            raise ValueError("evaluation.also asks a classifier; leave it out without embedding.labels=head")
        if recipe.loss != CrossEntropy():
            raise ValueError(f"loss has no effect with embedding.labels={embedding.labels.kind}; set loss=ce")
        if recipe.trainable == "head":
            raise ValueError(f"trainable=head: with embedding.labels={embedding.labels.kind} no head is trained")
    if not isinstance(recipe.distillation, NoDistillation):
        raise ValueError("distillation teaches a classifier alone; set embedding=none or distillation=none")
    if not isinstance(recipe.average, NoAverage):
        raise ValueError("average leaves an embedding out; set average=none")
