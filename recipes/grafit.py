"""Grafit's baseline: a ResNet-50 trained well with cross-entropy (thesis section 2.4).

Grafit's own losses, its memory and projectors, and SNCA's and ClusterFit's, are not built.
"""

from __future__ import annotations

from interplay.recipe import Augment, Cosine, CrossEntropy, Data, Evaluation, RandAugment, Recipe, Sgd
from interplay.recipe.catalogue import architecture
from recipes.sources.stages import Maker
from recipes.sources.stated import Origin, cost_of, stated

_AS_DEIT = "assumed: used, strength not stated; as deit.small"
_UNSTATED = "assumed: not stated; what is usual"
_BECAUSE = {
    "augment.policy": _AS_DEIT,
    "augment.erasing": _AS_DEIT,
    "optimiser.momentum": _UNSTATED,
    "optimiser.weight_decay": f"{_UNSTATED} for ResNet-50",
    "schedule.warmup_epochs": "assumed: not stated; as deit.small",
    "evaluation.crop_ratio": "assumed: a single centre crop, its ratio not stated; as deit.small",
}


def _grafit(dataset: str, side: int) -> Recipe:
    return Recipe(
        model=architecture("resnet50"),
        data=Data(dataset=dataset, resolution=side, batch_size=1024),
        augment=Augment(policy=RandAugment(magnitude=9.0, std=0.5), erasing=0.25),
        loss=CrossEntropy(),
        optimiser=Sgd(lr=0.1 * 1024 / 256, weight_decay=1e-4, momentum=0.9, nesterov=True),
        schedule=Cosine(epochs=600, warmup_epochs=5.0, warmup_lr=1e-6, min_lr=1e-5),
        evaluation=Evaluation(crop_ratio=0.875),
    )


def _baseline(name: str, dataset: str, side: int, title: str, expected: str, because: dict[str, str]) -> Maker:
    return stated(
        f"grafit.{name}",
        lambda: _grafit(dataset, side),
        Origin("grafit_ce_baseline", "resnet50", dataset, because={**_BECAUSE, **because}),
        title=title,
        source="S2.4.2, S2.4.3",
        expected=expected,
        cost=cost_of(600, side, dataset),
    )


baseline = _baseline(
    "baseline",
    "imagenet1k_coarse127",
    224,
    "ResNet-50 on ImageNet-1k with 127 coarse labels",
    "kNN top-1 54.7 and mAP 22.7 on the fine labels (T2.7)",
    {},
)
baseline_cifar100 = _baseline(
    "baseline_cifar100",
    "cifar100",
    32,
    "ResNet-50 on CIFAR-100 with 20 coarse labels",
    "kNN top-1 71.8 and mAP 42.5 on the fine labels (T2.7)",
    {"data.dataset": "S2.4.1: the other data set"},
)
baseline_in1k = _baseline(
    "baseline_in1k",
    "imagenet1k",
    224,
    "ResNet-50 on ImageNet-1k with its 1000 labels",
    "ImageNet-1k val top-1 79.3 (T2.12)",
    {"data.dataset": "T2.12: all labels"},
)
