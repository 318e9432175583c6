"""What is learnt besides, or instead of, a classifier: an embedding that is finer than the labels (thesis S2.3)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from interplay.recipe.part import ByName, Part, Positive, Probability, Rate, Real, file_content

Norm = Literal["none", "batch", "layer"]


# -------------------------------------------------------------------------------------------- projector
class NoProjector(Part):
    """The embedding is what the trunk's classifier would be given."""

    kind: Literal["none"] = "none"


class LinearProjector(Part):
    """One linear map without bias, to `width` channels (Grafit FC, SNCA)."""

    kind: Literal["fc"] = "fc"
    width: Positive = 256


class MlpProjector(Part):
    """Linear to `hidden`, norm, ReLU, linear to `width`, without biases (Grafit, SNCA+).

    2048 to 4096 to 256 without a norm makes the 32.9 M parameters that T2.7 prints for a ResNet-50.
    """

    kind: Literal["mlp"] = "mlp"
    width: Positive = 256
    hidden: Positive = 4096
    norm: Norm = "none"


Projector = Annotated[NoProjector | LinearProjector | MlpProjector, Field(discriminator="kind"), ByName]


# ------------------------------------------------------------------------------------------- label loss
class NoLabels(Part):
    """Labels are not learnt."""

    kind: Literal["none"] = "none"


class ByHead(Part):
    """The trunk's classifier learns the labels by the recipe's `loss`."""

    kind: Literal["head"] = "head"


class ByNeighbours(Part):
    """The kNN loss over a memory of all training embeddings (thesis eq. 2.2 and 2.3).

    `sigma` is the temperature of the softmax over the memory. A row of the memory becomes `momentum` of itself plus
    the rest of its image's new embedding.
    """

    kind: Literal["neighbours"] = "neighbours"
    sigma: Real = Field(0.05, gt=0.0)
    momentum: Rate = 0.5


Labels = Annotated[NoLabels | ByHead | ByNeighbours, Field(discriminator="kind"), ByName]


# ---------------------------------------------------------------------------------------- instance loss
class NoInstance(Part):
    kind: Literal["none"] = "none"


class Likeness(Part):
    """`weight` times the instance loss (thesis eq. 2.1): every view predicts a slow copy's embedding of the others.

    The copy keeps `target_decay` of itself in each step; 0.996 is BYOL's (arXiv:2006.07733), the thesis states none.
    The predictor is linear to `hidden`, `norm`, ReLU and linear back, also after BYOL.
    """

    kind: Literal["likeness"] = "likeness"
    weight: Real = Field(1.0, ge=0.0)
    target_decay: Probability = 0.996
    hidden: Positive = 4096
    norm: Norm = "batch"


class Triplet(Part):
    """`weight` times a triplet loss on views: max(0, margin + cos(anchor, other image) - cos(anchor, other view)).

    `mining`: the "hardest" other image of the batch for each pair of views, or the mean over "all" of them. The
    thesis (S2.2) states neither this nor the margin.
    """

    kind: Literal["triplet"] = "triplet"
    weight: Real = Field(1.0, ge=0.0)
    margin: Real = Field(0.2, gt=0.0)
    mining: Literal["hardest", "all"] = "hardest"


Instance = Annotated[NoInstance | Likeness | Triplet, Field(discriminator="kind"), ByName]


# -------------------------------------------------------------------------------------------- embedding
class NoEmbedding(Part):
    """A classifier alone."""

    kind: Literal["none"] = "none"


class LearntEmbedding(Part):
    """An embedding of unit length, learnt by labels, by instances, or by the sum of both (thesis eq. 2.4).

    Labels are learnt from the first of an image's `augment.views`, instances from all of them.
    """

    kind: Literal["learnt"] = "learnt"
    projector: Projector = MlpProjector()
    labels: Labels = ByNeighbours()
    instance: Instance = Likeness()

    @model_validator(mode="after")
    def _learns_something(self) -> LearntEmbedding:
        if isinstance(self.labels, NoLabels) and isinstance(self.instance, NoInstance):
            raise ValueError(
                "embedding.labels and embedding.instance are both none: nothing is learnt; "
                "set one of them, or embedding=none"
            )
        if isinstance(self.labels, ByHead) and isinstance(self.instance, NoInstance):
            raise ValueError("embedding.labels=head without embedding.instance is a classifier; set embedding=none")
        return self


Embedding = Annotated[NoEmbedding | LearntEmbedding, Field(discriminator="kind"), ByName]


# ------------------------------------------------------------------------------------------- evaluation
class NoRetrieval(Part):
    kind: Literal["none"] = "none"


class ByNearest(Part):
    """Embeddings of evaluated images are compared with those of all training images (thesis S2.3.2, S2.3.3).

    On-the-fly classification by weights exp(cosine / `sigma`) of the nearest, whose number is chosen among
    `neighbours` on the validation split, and mean average precision of the whole ranking; at every level of labels.

    `probes` are fitted to the training images' embeddings after the last epoch: classifiers for every level
    (`linear`, `mlp`), and how well a linear one tells random halves of the trained classes apart (`separability`).
    """

    kind: Literal["nearest"] = "nearest"
    neighbours: tuple[Positive, ...] = Field((10, 15, 20, 25, 30), min_length=1)
    sigma: Real = Field(0.05, gt=0.0)
    probes: tuple[Literal["linear", "mlp", "separability"], ...] = ()

    @model_validator(mode="after")
    def _once(self) -> ByNearest:
        if len(set(self.probes)) < len(self.probes):
            raise ValueError("evaluation.retrieval.probes names one twice; name each once")
        return self


Retrieval = Annotated[NoRetrieval | ByNearest, Field(discriminator="kind"), ByName]


# ------------------------------------------------------------------------------------------ other labels
class NoClusters(Part):
    kind: Literal["none"] = "none"


class Clusters(Part):
    """Clusters of another model's embeddings are the labels (ClusterFit): a `.npy` of one number for each sample.

    Made by `interplay cluster`. `digest` is of the content and filled in.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"file"})
    kind: Literal["file"] = "file"
    file: str
    digest: str = ""

    _of_this_content = file_content("file", "data.clusters.file")


AnyClusters = Annotated[NoClusters | Clusters, Field(discriminator="kind"), ByName]
