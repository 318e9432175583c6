"""ResNet strikes back: the procedures A2 and T2 as the thesis uses them (section 6.3.4, T6.1).

The thesis names A1 and A3 nowhere with settings: they are not here.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import (
    Augment,
    BinaryCrossEntropy,
    Cosine,
    Data,
    Evaluation,
    Lamb,
    RandAugment,
    Recipe,
)
from interplay.recipe.catalogue import architecture
from recipes.deit3 import small_300 as _deit3_small
from recipes.sources.stated import Origin, cost_of, stated, top1

_DROP_PATH = "T6.1 says on; 0.05 as open-mmlab/mmpretrain has A2"
_T2 = "assumed: not stated; as deit3.small_300"


def _a2(model: str, changes: dict[str, Any] | None = None) -> Recipe:
    recipe = Recipe(
        model=architecture(model),
        data=Data(dataset="imagenet1k", resolution=224, batch_size=2048),
        augment=Augment(policy=RandAugment(magnitude=7.0, std=0.5), mixup=0.1, cutmix=1.0, repeats=3),
        loss=BinaryCrossEntropy(threshold=0.0),
        optimiser=Lamb(lr=5e-3, weight_decay=0.02, clip_grad=1.0),
        schedule=Cosine(epochs=300, warmup_epochs=5.0, warmup_lr=1e-6, min_lr=1e-5),
        evaluation=Evaluation(crop_ratio=0.95),
    )
    return recipe.with_({"model.drop_path": 0.05, **(changes or {})})


a2 = stated(
    "strikes_back.a2",
    lambda: _a2("resnet50"),
    Origin("rsb_a2", "resnet50"),
    title="ResNet-50 with A2, mixup 0.1 as A2 has it elsewhere",
    source="T6.1, S6.3.4, F6.7",
    expected=top1("79.72 +- 0.10", "F6.7, 100 seeds"),
    cost=cost_of(300, 224),
)
a2_printed = stated(
    "strikes_back.a2_printed",
    lambda: _a2("resnet50", {"augment.mixup": 0.2}),
    Origin("rsb_a2_thesis", "resnet50", because={"model.drop_path": f"assumed: {_DROP_PATH}"}),
    title="ResNet-50 with A2 exactly as T6.1 prints it, mixup 0.2",
    source="T6.1",
    expected="not stated apart from strikes_back.a2",
    cost=cost_of(300, 224),
)
a2_deit_small = stated(
    "strikes_back.a2_deit_small",
    lambda: _a2("deit_s"),
    Origin("rsb_a2", "deit_s"),
    title="DeiT-S with A2, the procedure that was made for ResNet-50",
    source="S6.3.4",
    expected=top1(79.6, "S6.3.4"),
    cost=cost_of(300, 224),
)


def _t2(model: str, changes: dict[str, Any] | None = None) -> Recipe:
    """Two facts are stated: 300 epochs, and A2's batch. The rest is DeiT III's, made for the same model later."""
    return _deit3_small().with_({"model": model, "model.drop_path": 0.0, **(changes or {})})


t2 = stated(
    "strikes_back.t2",
    lambda: _t2("deit_s", {"model.drop_path_rule": "uniform"}),
    Origin("rsb_t2", "deit_s", because={"": _T2}),
    title="DeiT-S with T2, as far as it is stated; the rest is assumed",
    source="S6.3.4",
    expected=top1(80.4, "S6.3.4"),
    cost=cost_of(300, 224),
)
t2_resnet50 = stated(
    "strikes_back.t2_resnet50",
    lambda: _t2("resnet50"),
    Origin("rsb_t2", "resnet50", because={"": _T2}),
    title="ResNet-50 with T2, as far as it is stated; the rest is assumed",
    source="S6.3.4",
    expected=top1(79.2, "S6.3.4"),
    cost=cost_of(300, 224),
)
