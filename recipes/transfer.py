"""Transfer: fine-tuning on six small data sets, and Grafit's five (thesis S3.7.1.3, T3.7, T3.19, T4.4, T5.5, T6.11).

One procedure is written down, CaiT's: as the first training, with its rate divided by 10 (Cars, Flowers, iNaturalist)
or 100 (CIFAR) and other epochs. The other families follow it where they say nothing. `transfer.cifar100` and its
like are of CaiT-S36.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import Augment, Cosine, Recipe, Sgd
from recipes.cait import m36 as _cait_m36
from recipes.cait import s36 as _cait_s36
from recipes.deit import base as _deit_base
from recipes.deit import base_distilled as _deit_base_distilled
from recipes.deit3 import base as _deit3_base
from recipes.deit3 import large as _deit3_large
from recipes.deit3 import small as _deit3_small
from recipes.grafit import baseline_in1k as _grafit_baseline
from recipes.patchconvnet import b120 as _patchconvnet_b120
from recipes.patchconvnet import s60 as _patchconvnet_s60
from recipes.resmlp import s12 as _resmlp_s12
from recipes.resmlp import s24 as _resmlp_s24
from recipes.sources.stages import Maker
from recipes.sources.stated import AFTER_TEACHER, Origin, cost_of, stated, top1

_DATASETS = ("cifar10", "cifar100", "flowers102", "cars", "inat18", "inat19")
_PRINTED = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "flowers102": "Flowers-102",
    "cars": "Stanford Cars",
    "food101": "Food-101",
    "inat18": "iNaturalist 2018",
    "inat19": "iNaturalist 2019",
}
_EPOCHS = {"cifar10": 1000, "cifar100": 1000, "flowers102": 1000, "cars": 1000, "inat18": 360, "inat19": 360}
_DIVISOR = {"cifar10": 100, "cifar100": 100, "flowers102": 10, "cars": 10, "inat18": 10, "inat19": 10}
_AS_CAIT = "assumed: not stated; the rule of CaiT (S3.7.1.3)"
_THERE = "the data set this is for"


def _transferred(earlier: Maker, dataset: str, changes: dict[str, Any]) -> Recipe:
    first = earlier()
    return first.with_(
        {
            "after": first,
            "data.dataset": dataset,
            "schedule.epochs": _EPOCHS[dataset],
            "optimiser.lr": first.optimiser.lr / _DIVISOR[dataset],
            "evaluation.crop_ratio": 0.875,
            "distillation": "none",
            **changes,
        }
    )


def _six(
    name: str,
    earlier: Maker,
    origin: Origin,
    accuracies: tuple[float, ...],
    tables: str,
    changes: dict[str, Any] | None = None,
) -> tuple[Maker, Maker, Maker, Maker, Maker, Maker]:
    """The recipes of one model on the six data sets, in the order of `_DATASETS`."""

    def one(dataset: str, accuracy: float) -> Maker:
        because = {"data.dataset": _THERE, **origin.because}
        own = dict(changes or {})
        if name.startswith("deit3") and dataset == "flowers102":
            # 2,040 images: not even one batch of 2048
            own |= {"trainable": "attention", "data.batch_size": 1024, "optimiser.lr": 3e-3 / 10 / 2}
            because["data.batch_size"] = "assumed: not stated, and 2048 is more than there are images"
            because["optimiser.lr"] = f"{_AS_CAIT}, halved with the batch"
        full = f"{name}_{dataset}" if name else dataset
        return stated(
            f"transfer.{full}",
            lambda: _transferred(earlier, dataset, own),
            Origin(origin.procedure, origin.model, dataset, because),
            title=f"{earlier.__module__.split('.')[1]}.{earlier.__name__} fine-tuned on {_PRINTED[dataset]}",
            source=f"{tables}, S3.7.1.3",
            expected=top1(accuracy, tables, _PRINTED[dataset]),
            cost=cost_of(_EPOCHS[dataset], 224, dataset, after=f"{earlier.__module__[8:]}.{earlier.__name__}"),
            settings=AFTER_TEACHER if earlier is _deit_base_distilled else "",
        )

    first, second, third, fourth, fifth, sixth = map(one, _DATASETS, accuracies)
    return first, second, third, fourth, fifth, sixth


_RULE = {"schedule.epochs": _AS_CAIT, "optimiser.lr": _AS_CAIT}
_RESMLP = {
    **_RULE,
    "optimiser.clip_grad": "assumed: not stated; LAMB of Apex and timm clips at 1.0 by itself",
}
_PATCHCONVNET = {
    **_RULE,
    "model.drop_path": "assumed: not stated; as in the first training",
    "optimiser.weight_decay": "assumed: not stated; as in the first training",
    "evaluation.crop_ratio": "assumed: not stated; 0.875 as CaiT has it (T3.19)",
}


def _deit3_because(size: str) -> dict[str, str]:
    return {**_RULE, "": f"assumed: not stated; as deit3.{size}, since CaiT keeps the settings of its first training"}


(cifar10, cifar100, flowers102, cars, inat18, inat19) = _six(
    "", _cait_s36, Origin("cait_transfer", "cait_s36"), (99.2, 92.2, 98.8, 93.5, 77.1, 80.6), "T3.19"
)
(cait_m36_cifar10, cait_m36_cifar100, cait_m36_flowers102, cait_m36_cars, cait_m36_inat18, cait_m36_inat19) = _six(
    "cait_m36",
    _cait_m36,
    Origin("cait_transfer", "cait_m36"),
    (99.3, 93.3, 99.0, 93.5, 76.9, 81.7),
    "T3.19",
)
(deit_b_cifar10, deit_b_cifar100, deit_b_flowers102, deit_b_cars, deit_b_inat18, deit_b_inat19) = _six(
    "deit_b",
    _deit_base,
    Origin("deit_transfer", "deit_b", because=_RULE),
    (99.1, 90.8, 98.4, 92.1, 73.2, 77.7),
    "T3.7",
)
(
    deit_b_dist_cifar10,
    deit_b_dist_cifar100,
    deit_b_dist_flowers102,
    deit_b_dist_cars,
    deit_b_dist_inat18,
    deit_b_dist_inat19,
) = _six(
    "deit_b_dist",
    _deit_base_distilled,
    Origin("deit_transfer", "deit_b_dist", because={**_RULE, "after": "T3.7: from the distilled model"}),
    (99.1, 91.3, 98.8, 92.9, 73.7, 78.4),
    "T3.7",
)
(
    resmlp_s12_cifar10,
    resmlp_s12_cifar100,
    resmlp_s12_flowers102,
    resmlp_s12_cars,
    resmlp_s12_inat18,
    resmlp_s12_inat19,
) = _six(
    "resmlp_s12",
    _resmlp_s12,
    Origin("resmlp_transfer", "resmlp_s12", because=_RESMLP),
    (98.1, 87.0, 97.4, 84.6, 60.2, 71.0),
    "T4.4",
)
(
    resmlp_s24_cifar10,
    resmlp_s24_cifar100,
    resmlp_s24_flowers102,
    resmlp_s24_cars,
    resmlp_s24_inat18,
    resmlp_s24_inat19,
) = _six(
    "resmlp_s24",
    _resmlp_s24,
    Origin("resmlp_transfer", "resmlp_s24", because=_RESMLP),
    (98.7, 89.5, 97.9, 89.5, 64.3, 72.5),
    "T4.4",
)
(
    patchconvnet_s60_cifar10,
    patchconvnet_s60_cifar100,
    patchconvnet_s60_flowers102,
    patchconvnet_s60_cars,
    patchconvnet_s60_inat18,
    patchconvnet_s60_inat19,
) = _six(
    "patchconvnet_s60",
    _patchconvnet_s60,
    Origin("patchconvnet_transfer", "patchconvnet_s60", because=_PATCHCONVNET),
    (99.2, 91.4, 98.8, 94.0, 72.9, 78.1),
    "T5.5",
)
(
    patchconvnet_b120_cifar10,
    patchconvnet_b120_cifar100,
    patchconvnet_b120_flowers102,
    patchconvnet_b120_cars,
    patchconvnet_b120_inat18,
    patchconvnet_b120_inat19,
) = _six(
    "patchconvnet_b120",
    _patchconvnet_b120,
    Origin("patchconvnet_transfer", "patchconvnet_b120", because=_PATCHCONVNET),
    (99.2, 91.1, 99.0, 94.4, 74.3, 79.5),
    "T5.5",
)
_CROP = {"evaluation.crop_ratio": 1.0}
(
    deit3_small_cifar10,
    deit3_small_cifar100,
    deit3_small_flowers102,
    deit3_small_cars,
    deit3_small_inat18,
    deit3_small_inat19,
) = _six(
    "deit3_small",
    _deit3_small,
    Origin("deit3_transfer", "vit_s", because=_deit3_because("small")),
    (98.9, 90.6, 96.4, 89.9, 67.1, 72.7),
    "T6.11",
    _CROP,
)
(
    deit3_base_cifar10,
    deit3_base_cifar100,
    deit3_base_flowers102,
    deit3_base_cars,
    deit3_base_inat18,
    deit3_base_inat19,
) = _six(
    "deit3_base",
    _deit3_base,
    Origin("deit3_transfer", "vit_b", because=_deit3_because("base")),
    (99.3, 92.5, 98.6, 93.4, 73.6, 78.0),
    "T6.11",
    _CROP,
)
(
    deit3_large_cifar10,
    deit3_large_cifar100,
    deit3_large_flowers102,
    deit3_large_cars,
    deit3_large_inat18,
    deit3_large_inat19,
) = _six(
    "deit3_large",
    _deit3_large,
    Origin("deit3_transfer", "vit_l", because=_deit3_because("large")),
    (99.3, 93.4, 98.9, 94.5, 75.6, 79.3),
    "T6.11",
    _CROP,
)


# ------------------------------------------------------------------------- ResNet-50, as Grafit's transfer
def _resnet50(dataset: str, accuracy: float) -> Maker:
    unstated = "assumed: not stated; what is usual"
    changes = {
        "after": _grafit_baseline(),
        "data.dataset": dataset,
        "data.batch_size": 512,
        "augment": Augment(),
        "evaluation.retrieval": "none",
        "optimiser": Sgd(lr=0.01, weight_decay=1e-4, momentum=0.9, nesterov=True),
        "schedule": Cosine(epochs=240, warmup_epochs=5.0),
    }
    because = {
        "after": "T2.16: the row of the cross-entropy baseline; Grafit's own weights need its losses",
        "data.dataset": _THERE,
        "loss.kind": "T2.16: a linear classifier with cross-entropy",
        "augment.crop.kind": unstated,
        "optimiser.momentum": unstated,
        "optimiser.weight_decay": unstated,
        "schedule.warmup_epochs": unstated,
        "evaluation.crop_ratio": "assumed: not stated; as grafit.baseline_in1k",
    }
    return stated(
        f"transfer.resnet50_{dataset}",
        lambda: _grafit_baseline().with_(changes),
        Origin("grafit_finetune", "resnet50", dataset, because),
        title=f"grafit.baseline_in1k fine-tuned on {_PRINTED[dataset]} with a linear head",
        source="S2.4.6, T2.16",
        expected=top1(accuracy, "T2.16", _PRINTED[dataset]),
        cost=cost_of(240, 224, dataset, after="grafit.baseline_in1k"),
    )


resnet50_flowers102 = _resnet50("flowers102", 96.2)
resnet50_cars = _resnet50("cars", 90.0)
resnet50_food101 = _resnet50("food101", 88.2)
resnet50_inat18 = _resnet50("inat18", 65.0)
resnet50_inat19 = _resnet50("inat19", 72.8)
