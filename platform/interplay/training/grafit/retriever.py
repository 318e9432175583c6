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
from interplay.retrieval import Embedded, Kind, Probe, Totals, fit_probe, score, separability
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
        seed: of probes.
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
    seed: int = 0
    _found: Embedded | None = field(default=None, repr=False)
    _found_val: Embedded | None = field(default=None, repr=False)
    _chosen: list[int] | None = None
    _probes: dict[tuple[Kind, int], Probe] = field(default_factory=dict, repr=False)
    _separable: dict[str, float] | None = None

    def forget(self) -> None:
        """The weights change now."""
        self._found = self._found_val = self._chosen = self._separable = None
        self._probes.clear()

    def images(self) -> Embedded:
        """The gallery as embeddings, all of it on every worker, in the order of its positions."""
        if self._found is None:
            mine = self.embed(self.gallery)
            parts = [self.ranks.gather(part) for part in (mine.vectors, mine.levels, mine.trained, mine.index)]
            order = parts[3].argsort()
            vectors, levels, trained, index = (part[order] for part in parts)
            coarse = None if mine.coarse is None else self.ranks.gather(mine.coarse)[order]
            if len(index) != self.gallery.samples or bool((index.diff() <= 0).any()):
                raise RuntimeError(f"{len(index)} of {self.gallery.samples} images were embedded, or some twice")
            self._found = Embedded(vectors, levels, trained, index, coarse)
        return self._found

    def scores(self, loader: Loader, *, last: bool = False) -> dict[str, float]:
        """`knn_top1` and `map` in per cent at the finest level, `_level1` and so on at coarser ones.

        `map_coarse` and `map_oracle` are of rankings conditioned on coarse labels, predicted and true, if labels of a
        coarser level are trained on. `knn_trained` is on-the-fly classification of the trained labels. With `last`
        the recipe's probes: `linear_top1`, `mlp_top1` and their like at coarser levels, and `separability`.
        """
        assert self.by is not None, "asked for scores without evaluation.retrieval"
        if self._chosen is None:
            self._choose(self.by)
        assert self._chosen is not None
        coarse = self.by.neighbours[self._chosen[-1]] if self.level else 0
        queries = self._embedded(loader)
        found = self._metrics(self._totals(queries, self.by, coarse=coarse), self.by)
        return found | self._probed(queries, self.by) if last else found

    def _probed(self, queries: Embedded, by: ByNearest) -> dict[str, float]:
        """What classifiers of the frozen embeddings answer; levels of one class have nothing to classify."""
        images = self.images()
        found: dict[str, float] = {}
        counts = [len(torch.unique(labels)) for labels in images.levels.T]
        for kind in by.probes:
            if kind == "separability":
                if self._separable is None:
                    self._separable = separability(images, seed=self.seed)
                found |= self._separable
                continue
            for level in (level for level, count in enumerate(counts) if count > 1):
                if (kind, level) not in self._probes:
                    self._probes[kind, level] = fit_probe(
                        images.vectors, images.levels[:, level], kind=kind, seed=self.seed
                    )
                right = self._probes[kind, level].predicted(queries.vectors) == queries.levels[:, level]
                hits = self.ranks.sum(torch.stack([right.sum(), right.new_tensor(len(right), dtype=torch.int64)]))
                found[f"{kind}_top1" + (f"_level{level}" if level else "")] = 100.0 * float(hits[0]) / float(hits[1])
        return found

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
