"""Grafit, which learns finer than its labels, and what it is compared with (thesis chapter 2).

The data sets have two levels of labels, the finer first: `imagenet1k_coarse127` 1000 and 127 classes, `cifar100` 100
and 20. The coarser are learnt; the nearest training images are asked at both.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import (
    Augment,
    ByHead,
    ByNearest,
    ByNeighbours,
    Clusters,
    Cosine,
    CrossEntropy,
    Data,
    Evaluation,
    LearntEmbedding,
    Likeness,
    LinearProjector,
    MlpProjector,
    NoEmbedding,
    NoInstance,
    NoLabels,
    NoProjector,
    RandAugment,
    Recipe,
    Sgd,
    Triplet,
)
from interplay.recipe.catalogue import architecture
from recipes.sources.stages import Maker
from recipes.sources.stated import Origin, cost_of, stated

_AS_DEIT = "assumed: used, strength not stated; as deit.small"
_UNSTATED = "assumed: not stated; what is usual"
_BYOL = "assumed: not stated; as in BYOL (arXiv:2006.07733)"
_SIZE = "inferred: 2048 to 4096 to 256 without a norm makes the 32.9 M parameters of T2.7"
_CIFAR = "S2.4.1: the other data set"
_BECAUSE = {
    "augment.policy": _AS_DEIT,
    "augment.erasing": _AS_DEIT,
    "optimiser.momentum": _UNSTATED,
    "optimiser.weight_decay": f"{_UNSTATED} for ResNet-50",
    "schedule.warmup_epochs": "assumed: not stated; as deit.small",
    "evaluation.crop_ratio": "assumed: a single centre crop, its ratio not stated; as deit.small",
    "evaluation.retrieval.kind": "S2.3.3: training images are asked",
}
_COARSE = {"data.level": "S2.4.1: the coarser of two levels"}
_OWN = {
    "embedding.projector.hidden": _SIZE,
    "embedding.projector.norm": _SIZE,
    "embedding.instance.target_decay": _BYOL,
    "embedding.instance.hidden": _BYOL,
    "embedding.instance.norm": _BYOL,
}

_NONE = NoEmbedding()
_MLP, _FC = MlpProjector(width=256, hidden=4096), LinearProjector(width=128)
_SNCA = LearntEmbedding(projector=LinearProjector(width=256), labels=ByNeighbours(), instance=NoInstance())
_SNCA_PLUS = _SNCA.model_copy(update={"projector": _MLP})
_CE_INST = LearntEmbedding(projector=NoProjector(), labels=ByHead(), instance=Likeness())
_INST = _CE_INST.model_copy(update={"labels": NoLabels()})
_GRAFIT = LearntEmbedding(projector=_MLP, labels=ByNeighbours(), instance=Likeness())
_GRAFIT_FC = _GRAFIT.model_copy(update={"projector": _FC})
_PROBE = LearntEmbedding(projector=NoProjector(), labels=ByHead(), instance=Triplet())
_VIEWS = {"imagenet1k_coarse127": 4, "cifar100": 8}
_SIDES = {"imagenet1k_coarse127": 224, "imagenet1k": 224, "cifar100": 32}
_NAMES = {"imagenet1k_coarse127": "ImageNet-1k with 127", "cifar100": "CIFAR-100 with 20"}


def _recipe(dataset: str, embedding: LearntEmbedding | NoEmbedding) -> Recipe:
    several = isinstance(embedding, LearntEmbedding) and not isinstance(embedding.instance, NoInstance)
    return Recipe(
        model=architecture("resnet50"),
        data=Data(dataset=dataset, resolution=_SIDES[dataset], batch_size=1024, level=int(dataset != "imagenet1k")),
        augment=Augment(
            policy=RandAugment(magnitude=9.0, std=0.5), erasing=0.25, views=_VIEWS[dataset] if several else 1
        ),
        loss=CrossEntropy(),
        embedding=embedding,
        optimiser=Sgd(lr=0.1 * 1024 / 256, weight_decay=1e-4, momentum=0.9, nesterov=True),
        schedule=Cosine(epochs=600, warmup_epochs=5.0, warmup_lr=1e-6, min_lr=1e-5),
        evaluation=Evaluation(crop_ratio=0.875, retrieval=ByNearest(neighbours=(10, 15, 20, 25, 30), sigma=0.05)),
    )


def _named(
    name: str,
    make: Maker,
    procedure: str,
    dataset: str,
    because: dict[str, str],
    *,
    title: str,
    expected: str,
    model: str = "resnet50",
    settings: str = "",
) -> Maker:
    return stated(
        f"grafit.{name}",
        make,
        Origin(procedure, model, dataset, because={**_BECAUSE, **because}),
        title=title,
        source="S2.3, S2.4.2, S2.4.3, S2.5.1",
        expected=expected,
        cost=cost_of(600, _SIDES[dataset], dataset),
        settings=settings,
    )


def _pair(
    name: str,
    procedure: str,
    embedding: LearntEmbedding | NoEmbedding,
    title: str,
    scores: tuple[tuple[float, float], tuple[float, float]],
    changes: dict[str, Any] | None = None,
    settings: str = "",
) -> tuple[Maker, Maker]:
    """The recipes of a procedure on both data sets; `scores` are kNN top-1 and mAP without conditions."""
    own = dict(changes or {})
    level = {} if own else _COARSE

    def one(dataset: str, suffix: str, knn: float, ap: float) -> Maker:
        recipe = _recipe(dataset, embedding).with_(own)
        paths = {**_OWN, **({"data.clusters": "yours: clusters of another model"} if own else {})}
        there = {key: why for key, why in paths.items() if _has(recipe, key)}
        return _named(
            f"{name}{suffix}",
            lambda: recipe,
            procedure,
            dataset,
            {**there, **level, **({"data.dataset": _CIFAR} if suffix else {})},
            title=f"{title} on {_NAMES[dataset]} coarse labels",
            expected=f"kNN top-1 {knn} and mAP {ap} on the fine labels (T2.4, T2.7)",
            settings=settings,
        )

    (a, b), (c, d) = scores
    return one("imagenet1k_coarse127", "", a, b), one("cifar100", "_cifar100", c, d)


def _has(recipe: Recipe, path: str) -> bool:
    node: Any = recipe
    for key in path.split("."):
        if not hasattr(node, key):
            return False
        node = getattr(node, key)
    return True


baseline, baseline_cifar100 = _pair(
    "baseline", "grafit_ce_baseline", _NONE, "ResNet-50 by cross-entropy", ((54.7, 22.7), (71.8, 42.5))
)
baseline_in1k = _named(
    "baseline_in1k",
    lambda: _recipe("imagenet1k", _NONE),
    "grafit_ce_baseline",
    "imagenet1k",
    {"data.dataset": "T2.12: all labels"},
    title="ResNet-50 on ImageNet-1k with its 1000 labels",
    expected="ImageNet-1k val top-1 79.3 (T2.12)",
)
grafit, grafit_cifar100 = _pair("grafit", "grafit", _GRAFIT, "Grafit", ((69.1, 39.4), (77.7, 52.9)))
grafit_fc, grafit_fc_cifar100 = _pair("grafit_fc", "grafit_fc", _GRAFIT_FC, "Grafit FC", ((69.1, 41.7), (75.6, 53.6)))
ce_inst, ce_inst_cifar100 = _pair(
    "ce_inst", "grafit_ce_inst", _CE_INST, "Cross-entropy and the instance loss", ((65.0, 26.0), (76.9, 51.0))
)
inst_only, inst_only_cifar100 = _pair(
    "inst_only", "grafit_inst_only", _INST, "The instance loss alone", ((41.7, 3.47), (54.3, 14.3))
)
snca, snca_cifar100 = _pair("snca", "snca", _SNCA, "SNCA with a linear projector", ((57.8, 30.7), (70.0, 39.7)))
snca_plus, snca_plus_cifar100 = _pair(
    "snca_plus", "snca_plus", _SNCA_PLUS, "SNCA with an MLP projector", ((55.4, 31.8), (72.2, 35.9))
)
clusterfit_plus, clusterfit_plus_cifar100 = _pair(
    "clusterfit_plus",
    "clusterfit_plus",
    _NONE,
    "ClusterFit, whose clusters are of a model trained",
    ((59.5, 12.7), (72.5, 23.0)),
    {"data.level": 0, "data.clusters": Clusters(file="")},
    " -s data.clusters.file=clusters.npy",
)
granularity_probe = _named(
    "granularity_probe",
    lambda: _recipe("cifar100", _PROBE).with_({"model": "resnet18"}),
    "granularity_probe",
    "cifar100",
    {
        "": "assumed: not stated; as grafit.grafit_cifar100",
        **_COARSE,
        "embedding.projector": "S2.2: the trunk's own embedding",
        "embedding.instance": "assumed: neither margin nor mining is stated",
    },
    title="ResNet-18 by cross-entropy and a triplet loss on CIFAR-100 with 20 coarse labels",
    expected="40 random labels separated at 57.1, 100 fine ones at 80.9 by a linear classifier (T2.1, T2.2)",
    model="resnet18",
)
