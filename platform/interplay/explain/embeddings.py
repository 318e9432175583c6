"""What a model makes of a whole data set: embeddings, how many directions they use, and a map of them."""

# S samples, D width
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.explain.subject import Subject


@dataclass(frozen=True)
class Embeddings:
    """What comes before the classifier, for each sample.

    Attributes:
        vectors: [S, D].
        labels: [S] true class numbers.
        split: they are of.
    """

    vectors: Tensor
    labels: NDArray[np.int64]
    split: str


@torch.inference_mode()
def embed(subject: Subject, path: Path, split: str = "test", count: int = 2000) -> Embeddings:
    """Embeddings of at most `count` samples of a split of `path`, spread over it.

    Raises:
        InterplayError: if there is no such split, or it has other classes.
    """
    from interplay.data.loader import beton_loaders  # needs FFCV

    if (reason := why_no_embeddings(subject.model)) is not None:
        raise InterplayError(f"embeddings cannot be had of this model: {reason}")
    recipe = subject.recipe.with_({"evaluation.also": {}})
    loaders = beton_loaders(path, recipe, evaluate_train=split == "train")
    if loaders.classes != len(subject.classes):
        raise InterplayError(f"{path.name} has {loaders.classes} classes, the checkpoint {len(subject.classes)}")
    loader = {"train": loaders.train, "val": loaders.val, "test": loaders.test}[split]
    if loader is None:
        raise InterplayError(f"{path.name} has no {split} split; choose another with --split")
    model: Any = subject.model
    chosen = torch.linspace(0, loader.samples - 1, min(count, loader.samples)).long()
    vectors: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in loader.epoch(0):
        rows = torch.isin(batch.index, chosen)
        if not rows.any():
            continue
        x = subject.normalise(batch.images[rows].to(next(model.parameters()).device))
        vectors.append(model.forward_head(model.forward_features(x), pre_logits=True).float().cpu())
        labels.append(batch.labels[rows])
    return Embeddings(torch.cat(vectors), torch.cat(labels).numpy(), split)


def pca_energy(vectors_SD: Tensor) -> NDArray[np.float64]:
    """Share of the variance along each principal direction, largest first: [min(S, D)], sums to 1.

    Of centred embeddings, by their singular values (thesis S2.2).

    Raises:
        InterplayError: if all embeddings are the same.
    """
    centred = vectors_SD.double() - vectors_SD.double().mean(dim=0)
    energy = torch.linalg.svdvals(centred) ** 2
    if not float(energy.sum()) > 0.0:
        raise InterplayError("all embeddings are the same; there is nothing to map")
    return np.asarray((energy / energy.sum()).numpy())


def neighbours_map(vectors_SD: Tensor, seed: int = 0) -> NDArray[np.float64]:
    """t-SNE of the embeddings: [S, 2]. Near stays near; other distances and the axes mean nothing.

    Raises:
        InterplayError: if there are fewer than four.
    """
    from sklearn.manifold import TSNE

    if len(vectors_SD) < 4:
        raise InterplayError(f"a t-SNE of {len(vectors_SD)} samples shows nothing; give at least 4")
    perplexity = min(30.0, (len(vectors_SD) - 1) / 3)
    found = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors_SD.numpy())
    return np.asarray(found, dtype=np.float64)


def why_no_embeddings(model: nn.Module) -> str | None:
    """What is missing, None if nothing is."""
    known = all(callable(getattr(model, name, None)) for name in ("forward_features", "forward_head"))
    return None if known else "it does not have forward_features and forward_head as timm's models do"
