"""What every loader yields, and what the training loop asks of a loader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One rank's part of a batch.

    Attributes:
        images: [B, 3, R, R] uint8, RGB, cropped, resized and flipped.
        labels: [B] int64; what is trained on, the first label level unless the recipe says otherwise.
        levels: [B, L] int64; all label levels, finest first.
        index: [B] int64 position of each sample in its split.
        view: [B] int64 which repetition of the sample within the epoch (0 without repeated augmentation).
    """

    images: Tensor
    labels: Tensor
    levels: Tensor
    index: Tensor
    view: Tensor


class Loader(Protocol):
    """A split of a data set as batches. Stateless: an epoch's batches depend on the epoch's number alone."""

    @property
    def samples(self) -> int:
        """Number of samples in the split, over all ranks."""
        ...

    def __len__(self) -> int:
        """Batches of one epoch on this rank."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This rank's batches of `epoch`, from number `start` on. They may be kept: none is ever overwritten."""
        ...


@dataclass(frozen=True)
class OtherLoader:
    """A further test set. `right` [N, M] holds the right labels of each image if they are several, filled with -1."""

    loader: Loader
    right: Tensor | None = None


@dataclass(frozen=True)
class Loaders:
    """The splits of one data set, and what a model must know of it.

    `mean` and `std` are of the training split's pixels in [0, 1], per channel. With `policy_applied` the training
    images have been through the recipe's augmentation policy already. `also` are further test sets, by name. The
    `gallery` is what is trained on, read as an evaluated split is, where embeddings are compared with it.
    """

    train: Loader
    val: Loader | None
    test: Loader | None
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    policy_applied: bool = False
    also: Mapping[str, OtherLoader] = field(default_factory=dict)
    gallery: Loader | None = None
