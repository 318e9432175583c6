"""ResMLP: residual MLPs trained as DeiT is, with LAMB (thesis chapter 4).

Distilled models need a teacher: `-s distillation.teacher.checkpoint=regnety_160.pth`.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import Augment, CrossEntropy, Data, Lamb, Recipe, Sgd, Steps
from interplay.recipe.catalogue import architecture
from recipes.deit import small as _deit_small
from recipes.sources.stages import HARD, Maker
from recipes.sources.stated import WITH_TEACHER, Origin, cost_of, stated, top1

_LAMB = {"optimiser.clip_grad": "assumed: not stated; LAMB of Apex and timm clips at 1.0 by itself"}
_TEACHER = "S4.3.1: as in chapter 3"


def _resmlp(model: str, changes: dict[str, Any] | None = None) -> Recipe:
    return _deit_small().with_(
        {
            "model": model,
            "model.drop_path": 0.1,
            "model.drop_path_rule": "linear",
            "optimiser": Lamb(lr=5e-3, weight_decay=0.2),
            "schedule.epochs": 400,
            "evaluation.crop_ratio": 0.9,
            **(changes or {}),
        }
    )


def _plain(name: str, accuracy: float | None, tables: str = "T4.3") -> Maker:
    model = f"resmlp_{name}"
    return stated(
        f"resmlp.{name}",
        lambda: _resmlp(model),
        Origin("resmlp_in1k", model, because=_LAMB),
        title=f"ResMLP-{name.upper().replace('_P', '/')}",
        source="S4.3.1, T4.3",
        expected="not stated (T4.6 has its segmentation)" if accuracy is None else top1(accuracy, tables),
        cost=cost_of(400, 224) + "; two days on 8 V100",
    )


def _distilled(name: str, accuracy: float | None) -> Maker:
    model = f"resmlp_{name}"
    return stated(
        f"resmlp.{name}_distilled",
        lambda: _resmlp(model, {"distillation": HARD}),
        Origin("resmlp_distill", model, because=_LAMB),
        title=f"resmlp.{name} that also learns the decisions of a RegNetY-16GF with its one answer",
        source="S4.3.1, T4.3",
        expected="not stated" if accuracy is None else top1(accuracy, "T4.3"),
        cost=cost_of(400, 224) + ", and the teacher's forward passes",
        settings=WITH_TEACHER,
    )


s12 = _plain("s12", 76.6)
s12_p14 = _plain("s12_p14", 76.9)
s12_p8 = _plain("s12_p8", 79.1)
s24 = _plain("s24", 79.4)
s36 = _plain("s36", None)
b24 = _plain("b24", 81.0)
b24_p8 = _plain("b24_p8", 81.0)

s12_distilled = _distilled("s12", 77.8)
s12_p14_distilled = _distilled("s12_p14", None)
s12_p8_distilled = _distilled("s12_p8", None)
s24_distilled = _distilled("s24", 80.8)
s36_distilled = _distilled("s36", None)
b24_distilled = _distilled("b24", None)
b24_p8_distilled = _distilled("b24_p8", 83.6)


# ---------------------------------------------------------------------------------------- as in 2015
def _old_fashioned() -> Recipe:
    return Recipe(
        model=architecture("resmlp_s12"),
        data=Data(dataset="imagenet1k", resolution=224, batch_size=512),
        augment=Augment(),
        loss=CrossEntropy(),
        optimiser=Sgd(lr=0.2, weight_decay=1e-4, momentum=0.9, nesterov=False),
        schedule=Steps(epochs=90, warmup_epochs=0.0, every=30, factor=0.1),
    )


_2015 = "assumed: not stated; as baselines.torchvision"
s12_old_fashioned = stated(
    "resmlp.s12_old_fashioned",
    _old_fashioned,
    Origin("resmlp_old_fashioned", "resmlp_s12", because={"": _2015}),
    title="ResMLP-S12 as ResNets were trained in 2015: SGD in steps, crops and flips alone",
    source="T4.3",
    expected=top1(69.2, "T4.3"),
    cost=cost_of(90, 224),
)

# --------------------------------------------------------------------------------------- ImageNet-21k
b24_p8_in21k = stated(
    "resmlp.b24_p8_in21k",
    lambda: _resmlp(
        "resmlp_b24_p8",
        {"data.dataset": "imagenet21k", "schedule.epochs": 60, "evaluation.crop_ratio": 0.875},
    ),
    Origin("resmlp_in21k", "resmlp_b24_p8", because=_LAMB),
    title="ResMLP-B24/8 on ImageNet-21k",
    source="T4.3",
    expected="not stated before fine-tuning",
    cost=cost_of(60, 224, "imagenet21k"),
)
_STAGE = "assumed: this stage is not stated; as patchconvnet.s60_in21k_to_1k"
b24_p8_in21k_to_1k = stated(
    "resmlp.b24_p8_in21k_to_1k",
    lambda: _resmlp("resmlp_b24_p8", {"after": b24_p8_in21k(), "schedule.epochs": 100, "optimiser.lr": 5e-4}),
    Origin(
        "resmlp_in1k",
        "resmlp_b24_p8",
        because={**_LAMB, "after": "T4.3: starts from ImageNet-21k", "schedule": _STAGE, "optimiser.lr": _STAGE},
    ),
    title="resmlp.b24_p8_in21k fine-tuned on ImageNet-1k",
    source="T4.3",
    expected=top1(84.4, "T4.3"),
    cost=cost_of(100, 224, after="resmlp.b24_p8_in21k"),
)
