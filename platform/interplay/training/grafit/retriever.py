"""Evaluating by nearest neighbours while training: the gallery, the number of neighbours, the metrics."""

# L levels of labels
from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from interplay.augment import Normalise
from interplay.data.batch import Loader
from interplay.errors import InterplayError
from interplay.models.embedding import Embedder
from interplay.recipe.embedding import ByNearest
from interplay.retrieval import Embedded, Totals, score
from interplay.training import precision
from interplay.training.ranks import Ranks


@dataclass
class Retriever:
    """What nearest training images tell of evaluated ones.

    Attributes:
        embedder: whose embeddings are compared.
        gallery: what is trained on.
        val: on which the number of neighbours is chosen.
        by: how neighbours are asked; None is not at all.
        normalise: pixels to the model's inputs.
        device: where the model lives.
        ranks: among which images are shared out.
        autocast: dtype to compute in.
        classifies: whether the trunk's head learns the labels.
        level: which level those are, None if they are none.
    """

    embedder: Embedder
    gallery: Loader
    val: Loader | None
    by: ByNearest | None
    normalise: Normalise
    device: torch.device
    ranks: Ranks
    autocast: torch.dtype | None
    classifies: bool
    level: int | None
    _found: Embedded | None = field(default=None, repr=False)
    _found_val: Embedded | None = field(default=None, repr=False)
    _chosen: list[int] | None = None

    def forget(self) -> None:
        """The weights change now."""
        self._found = self._found_val = self._chosen = None

    def images(self) -> Embedded:
        """The gallery as embeddings, all of it on every worker, in the order of its positions."""
        if self._found is None:
            mine = self.embed(self.gallery)
            parts = [self.ranks.gather(part) for part in (mine.vectors, mine.levels, mine.trained, mine.index)]
            order = parts[3].argsort()
            vectors, levels, trained, index = (part[order] for part in parts)
            if len(index) != self.gallery.samples or bool((index.diff() <= 0).any()):
                raise RuntimeError(f"{len(index)} of {self.gallery.samples} images were embedded, or some twice")
            self._found = Embedded(vectors, levels, trained, index)
        return self._found

    def scores(self, loader: Loader) -> dict[str, float]:
        """`knn_top1` and `map` in per cent at the finest level, `_level1` and so on at coarser ones.

        `map_coarse` and `map_oracle` are of rankings conditioned on coarse labels, predicted and true, if labels of a
        coarser level are trained on. `knn_trained` is on-the-fly classification of the trained labels.
        """
        assert self.by is not None, "asked for scores without evaluation.retrieval"
        if self._chosen is None:
            self._choose(self.by)
        assert self._chosen is not None
        coarse = self.by.neighbours[self._chosen[-1]] if self.level else 0
        return self._metrics(self._totals(self._embedded(loader), self.by, coarse=coarse), self.by)

    def _choose(self, by: ByNearest) -> None:
        """The best number of neighbours on the validation split, for each level; the middle one without a split."""
        if self.val is None:
            count = int(self.images().levels.shape[1])
            self._chosen = [len(by.neighbours) // 2] * (count + 1)
        else:
            found = self._totals(self._embedded(self.val), by, ranked=False)
            best: list[int] = found.hits.argmax(dim=1).tolist()
            self._chosen = best

    def _embedded(self, loader: Loader) -> Embedded:
        """The validation split is asked twice, and embedded once."""
        if loader is not self.val:
            return self.embed(loader)
        if self._found_val is None:
            self._found_val = self.embed(loader)
        return self._found_val

    def _totals(self, queries: Embedded, by: ByNearest, *, ranked: bool = True, coarse: int = 0) -> Totals:
        found = score(queries, self.images(), by, ranked=ranked, coarse=coarse)
        return found.like(self.ranks.sum(found.flat()))

    def _metrics(self, totals: Totals, by: ByNearest) -> dict[str, float]:
        assert self._chosen is not None
        count = float(totals.queries)
        precision_G = (100.0 * totals.precision / totals.counted).tolist()
        right_G = [100.0 * float(hits[k]) / count for hits, k in zip(totals.hits, self._chosen, strict=True)]
        levels = len(right_G) - 1
        found = {"knn_neighbours": float(by.neighbours[self._chosen[0]])}
        for level in range(levels):
            name = f"_level{level}" if level else ""
            found[f"knn_top1{name}"] = right_G[level]
            found[f"map{name}"] = precision_G[level]
        if self.level is not None:
            found["knn_trained"] = right_G[-1]
        if self.level:
            found |= {"map_coarse": precision_G[-2], "map_oracle": precision_G[-1]}
        return {name: value for name, value in found.items() if value == value}  # nothing relevant: no number

    @torch.inference_mode()
    def embed(self, loader: Loader) -> Embedded:
        """This worker's part of a split as embeddings, with p(coarse class) where a classifier knows it."""
        return embed(
            self.embedder,
            loader,
            self.normalise,
            device=self.device,
            autocast=self.autocast,
            classify=self.classifies,
        )


@torch.inference_mode()
def embed(
    embedder: Embedder,
    loader: Loader,
    normalise: Normalise,
    *,
    device: torch.device,
    autocast: torch.dtype | None,
    classify: bool,
) -> Embedded:
    """The images of `loader` as embeddings, in its order, with the classifier's softmax if it is asked."""
    parts: list[tuple[Tensor, ...]] = []
    with evaluating(embedder):
        for batch in loader.epoch(0):
            images = normalise(batch.images.to(device, non_blocking=True))
            with precision.autocast(device, autocast):
                maps = embedder.maps(images)
                vectors = embedder.project(maps)
                logits = precision.at_least_float32(embedder.classify(maps)) if classify else vectors[:, :0]
            labels = (batch.levels, batch.labels, batch.index)
            parts.append((vectors, *(one.to(device) for one in labels), logits.softmax(dim=1)))
    if not parts:
        raise InterplayError("a split without images cannot be embedded; give each worker at least one")
    vectors, levels, trained, index, coarse = (torch.cat(part) for part in zip(*parts, strict=True))
    return Embedded(vectors, levels, trained, index, coarse if classify else None)


class evaluating:
    """Modules within are in evaluation mode, and afterwards as they were."""

    def __init__(self, module: nn.Module) -> None:
        self._modes = [(one, one.training) for one in module.modules()]
        self._module = module

    def __enter__(self) -> None:
        self._module.eval()

    def __exit__(self, *_: object) -> None:
        for module, training in self._modes:
            module.training = training
