"""The training images of a data set as a checkpoint embeds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from interplay.augment import Normalise
from interplay.data import Manifest, locate, read_manifest
from interplay.data.batch import Loader, Loaders
from interplay.errors import InterplayError
from interplay.models import build
from interplay.models.embedding import Embedder, make_projector, trunk_width
from interplay.recipe import ByHead, LearntEmbedding, NoProjector, Recipe
from interplay.recipe.changes import validate
from interplay.retrieval import Embedded
from interplay.training.grafit.retriever import embed
from interplay.training.precision import autocast_dtype
from interplay.training.start import put_weights, read_checkpoint


@dataclass(frozen=True)
class Gallery:
    """A checkpoint's embedder, and the splits of a data set.

    Attributes:
        embedder: trunk and projector with the checkpoint's weights, in evaluation mode.
        recipe: it was trained by.
        reading: that recipe, of the finest labels: any data set may be a gallery, its labels are shown, not learnt.
        normalise: levels 0..255 -> what the embedder is given.
        device: where it lives.
        path: the `.beton`.
        manifest: of it.
        loaders: of its splits; `train` is read as stored.
        classifies: whether the trunk's classifier was trained.
    """

    embedder: Embedder
    recipe: Recipe
    reading: Recipe
    normalise: Normalise
    device: torch.device
    path: Path
    manifest: Manifest
    loaders: Loaders
    classifies: bool

    def embedded(self, split: str) -> Embedded:
        """The images of `train`, `val` or `test` as embeddings.

        Raises:
            InterplayError: if there is no such split.
        """
        found: Loader | None = {"train": self.loaders.train, "val": self.loaders.val, "test": self.loaders.test}[
            split
        ]
        if found is None:
            raise InterplayError(f"{self.path.name} has no {split} split; choose another")
        return embed(
            self.embedder,
            found,
            self.normalise,
            device=self.device,
            autocast=autocast_dtype(self.recipe, self.device),
            classify=self.classifies,
        )

    @torch.inference_mode()
    def of_pixels(self, pixels_B3RR: torch.Tensor) -> torch.Tensor:
        """[B, 3, R, R] levels -> [B, D] embeddings of unit length."""
        vectors: torch.Tensor = self.embedder(self.normalise(pixels_B3RR.to(self.device)))
        return vectors


def open_gallery(checkpoint: Path, dataset: str, root: Path) -> Gallery:
    """`checkpoint`, a file or a cell's folder, and the data set that `dataset` names.

    A classifier's embedding is what its last layer is given; averaged weights are used where there are any.

    Raises:
        InterplayError: if there is no such checkpoint or data set, or the model has no embedding.
    """
    from interplay.data.loader import beton_loaders  # needs FFCV

    state = read_checkpoint(checkpoint)
    recipe = validate(state["recipe"])
    path = locate(dataset, root / "datasets")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reading = recipe.with_({"evaluation.also": {}, "data.level": 0, "data.clusters": "none", "data.share": 1.0})
    loaders = beton_loaders(path, reading, evaluate_train=True)
    side = recipe.evaluation.resolution or recipe.data.resolution
    trunk = build(recipe.model, classes=int(state["classes"]), image_size=side)
    put_weights(trunk, checkpoint, new_head=False)
    embedding = recipe.embedding
    learnt = embedding if isinstance(embedding, LearntEmbedding) else None
    projector = make_projector(NoProjector() if learnt is None else learnt.projector, trunk_width(trunk, side))
    projector.load_state_dict(state.get("embedding", {}).get("projector", {}))
    return Gallery(
        embedder=Embedder(trunk, projector).to(device).eval(),
        recipe=recipe,
        reading=reading,
        normalise=Normalise(state.get("mean", loaders.mean), state.get("std", loaders.std), device),
        device=device,
        path=path,
        manifest=read_manifest(path),
        loaders=loaders,
        classifies=learnt is None or isinstance(learnt.labels, ByHead),
    )
