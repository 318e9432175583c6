"""DeiT III: plain ViTs, a binary loss, LAMB and 3-Augment (thesis chapter 6).

Rates belong to batches of 2048. Where T6.1 and the commands of the released models disagree, the commands are
followed: `interplay recipe show deit3.large_in21k --why`.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import (
    AdamW,
    Augment,
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    Data,
    Evaluation,
    Lamb,
    RandAugment,
    Recipe,
    ThreeAugment,
)
from interplay.recipe.catalogue import architecture
from recipes.sources.stages import Maker
from recipes.sources.stated import Origin, cost_of, stated, top1

_DROP_PATH = {
    "in1k": {"vit_t": 0.0, "vit_s": 0.0, "vit_b": 0.1, "vit_l": 0.4, "vit_h": 0.5, "vit_h52": 0.5, "vit_h26x2": 0.5},
    "in1k_600": {"vit_t": 0.05, "vit_s": 0.05, "vit_b": 0.15, "vit_l": 0.45, "vit_h": 0.55},
    "in1k_800": {"vit_t": 0.1, "vit_s": 0.05, "vit_b": 0.2, "vit_l": 0.45, "vit_h": 0.6},
    "ft224": {"vit_b": 0.2, "vit_l": 0.45, "vit_h": 0.55, "vit_h52": 0.5, "vit_h26x2": 0.5},
    "ft384": {"vit_s": 0.0, "vit_b": 0.15, "vit_l": 0.4},
    "in21k": {"vit_t": 0.0, "vit_s": 0.0, "vit_b": 0.1, "vit_l": 0.3, "vit_h": 0.5},
    "in21k_240": {"vit_s": 0.05, "vit_b": 0.1, "vit_l": 0.3},
    "in21k_to_1k": {"vit_s": 0.05, "vit_b": 0.15, "vit_l": 0.4, "vit_h": 0.45},
}
"""T6.14, section 6.4 and the commands of the released models."""
_MODELS = {
    "tiny": "vit_t",
    "small": "vit_s",
    "base": "vit_b",
    "large": "vit_l",
    "huge": "vit_h",
    "huge52": "vit_h52",
    "huge26x2": "vit_h26x2",
}
_ORDER = {"augment.jitter_order": "code augment.py: torchvision's ColorJitter draws the order"}


def _deit3(model: str, changes: dict[str, Any] | None = None) -> Recipe:
    """400 epochs on ImageNet-1k (T6.1)."""
    recipe = Recipe(
        model=architecture(model),
        data=Data(dataset="imagenet1k", resolution=224, batch_size=2048),
        augment=Augment(
            policy=ThreeAugment(),
            color_jitter=0.3,
            jitter_order="random",
            mixup=0.8,
            cutmix=1.0,
            repeats=3,
        ),
        loss=BinaryCrossEntropy(threshold=0.0),
        optimiser=Lamb(lr=3e-3, weight_decay=0.02, clip_grad=1.0),
        schedule=Cosine(epochs=400, warmup_epochs=5.0, warmup_lr=1e-6, min_lr=1e-5),
        evaluation=Evaluation(crop_ratio=1.0),
    )
    return recipe.with_(changes or {})


def _in1k(model: str, epochs: int = 400, side: int = 224) -> Recipe:
    longer = epochs > 400
    changes: dict[str, Any] = {
        "model.drop_path": _DROP_PATH[f"in1k_{epochs}" if longer else "in1k"][model],
        "schedule.epochs": epochs,
        "data.resolution": side,
    }
    if longer:
        changes["optimiser.weight_decay"] = 0.05
    if model == "vit_s" and epochs == 800:
        changes["optimiser.lr"] = 4e-3
    return _deit3(model, changes)


# -------------------------------------------------------------------------------------------- ImageNet-1k
def _plain(size: str, expected: str, epochs: int = 400, side: int = 224) -> Maker:
    model = _MODELS[size]
    low = side != 224
    suffix = (f"_{side}" if low else "") + (f"_{epochs}" if epochs != 400 else "")
    procedure = f"deit3_in1k_{epochs}" if epochs != 400 else "deit3_in1k_lowres" if low else "deit3_in1k"
    because = {"data.resolution": f"T6.6: {side}"} if low and epochs != 400 else {}
    return stated(
        f"deit3.{size}{suffix}",
        lambda: _in1k(model, epochs, side),
        Origin(procedure, model, because={**_ORDER, **because}),
        title=f"{_printed(model)} for {epochs} epochs" + (f" at {side}, to be fine-tuned at 224" if low else ""),
        source="T6.1, T6.14" + (", S6.4" if epochs > 400 else "") + (", T6.6" if low else ""),
        expected=expected,
        cost=cost_of(epochs, side),
    )


def _printed(model: str) -> str:
    return f"ViT-{model.removeprefix('vit_').upper()}"


tiny = _plain("tiny", "not stated")
small = _plain("small", top1(80.4, "T6.15"))
base = _plain("base", top1(83.1, "T6.15"))
large = _plain("large", top1(84.2, "T6.15"))
huge = _plain("huge", top1(84.8, "T6.15"))
huge52 = _plain("huge52", "not stated at 224")
huge26x2 = _plain("huge26x2", "not stated at 224")
tiny_300 = _plain("tiny", "not stated", 300)
small_300 = _plain("small", top1(79.9, "T6.15"), 300)
base_300 = _plain("base", top1(82.8, "T6.15"), 300)
large_300 = _plain("large", top1(84.1, "T6.15"), 300)
huge_300 = _plain("huge", top1(84.6, "T6.15"), 300)
tiny_600 = _plain("tiny", "not stated", 600)
small_600 = _plain("small", top1(80.8, "T6.15"), 600)
base_600 = _plain("base", top1(83.2, "T6.15"), 600)
large_600 = _plain("large", top1(84.4, "T6.15"), 600)
huge_600 = _plain("huge", "not stated", 600)
tiny_800 = _plain("tiny", "not stated", 800)
small_800 = _plain("small", top1(81.4, "T6.15"), 800)
base_800 = _plain("base", top1(83.7, "T6.15"), 800)
large_800 = _plain("large", top1(84.5, "T6.15"), 800)
huge_800 = _plain("huge", top1(84.9, "T6.6"), 800)
_LATER = "not stated before fine-tuning at 224"
base_192 = _plain("base", _LATER, side=192)
large_192 = _plain("large", _LATER, side=192)
huge_154 = _plain("huge", _LATER, side=154)
huge52_126 = _plain("huge52", _LATER, side=126)
huge26x2_126 = _plain("huge26x2", _LATER, side=126)
base_192_800 = _plain("base", _LATER, 800, 192)
large_192_800 = _plain("large", _LATER, 800, 192)
huge_154_800 = _plain("huge", _LATER, 800, 154)


# ---------------------------------------------------------------------------------- fine-tuning by size
def _fine_tuned(model: str, earlier: Maker, side: int) -> Recipe:
    """Twenty epochs of AdamW with DeiT's augmentation; its cosine ends where it begins (S6.3.6)."""
    return _deit3(
        model,
        {
            "after": earlier(),
            "model.drop_path": _DROP_PATH[f"ft{side}"][model],
            "data.resolution": side,
            "data.batch_size": 512,
            "augment": Augment(policy=RandAugment(magnitude=9.0, std=0.5), mixup=0.8, cutmix=1.0),
            "loss": CrossEntropy(smoothing=0.1),
            "optimiser": AdamW(lr=1e-5, weight_decay=0.1),
            "schedule": Cosine(epochs=20, warmup_epochs=5.0, warmup_lr=1e-6, min_lr=1e-5),
        },
    )


def _to(earlier: Maker, side: int, accuracy: float, because: dict[str, str]) -> Maker:
    size = earlier.__name__.split("_")[0]
    name = earlier.__name__.removesuffix("_800")
    name = f"{name}_to_224" if side == 224 else f"{size}_384"
    return stated(
        f"deit3.{name}",
        lambda: _fine_tuned(_MODELS[size], earlier, side),
        Origin(f"deit3_ft{side}", _MODELS[size], because=because),
        title=f"deit3.{earlier.__name__} fine-tuned at {side}",
        source="S6.3.6, T6.6, T6.7, and the official command",
        expected=top1(accuracy, "T6.7, T6.6" if side == 224 else "T6.7"),
        cost=cost_of(20, side, after=f"deit3.{earlier.__name__}"),
    )


_LONGER = {"after": "T6.7: the weights of 800 epochs"}
_AS_BEFORE = {"model.drop_path": "assumed: not stated; as in the first training"}
base_192_to_224 = _to(base_192_800, 224, 83.8, _LONGER)
large_192_to_224 = _to(large_192_800, 224, 84.9, _LONGER)
huge_154_to_224 = _to(huge_154_800, 224, 85.2, _LONGER)
huge52_126_to_224 = _to(huge52_126, 224, 84.9, _AS_BEFORE)
huge26x2_126_to_224 = _to(huge26x2_126, 224, 84.9, _AS_BEFORE)
small_384 = _to(small_800, 384, 83.4, _LONGER)
base_384 = _to(base_192_800, 384, 85.0, _LONGER)
large_384 = _to(large_192_800, 384, 85.8, _LONGER)


# ------------------------------------------------------------------------------------------- ImageNet-21k
_21K: dict[str, Any] = {
    "augment.crop": "simple_random_crop",
    "augment.mixup": 0.0,
    "augment.repeats": 1,
    "loss": CrossEntropy(smoothing=0.1),
}


def _in21k(size: str, epochs: int = 90) -> Maker:
    model, suffix = _MODELS[size], "" if epochs == 90 else f"_{epochs}"
    changes = {
        **_21K,
        "model.drop_path": _DROP_PATH[f"in21k{suffix}"][model],
        "data.dataset": "imagenet21k",
        "optimiser.lr": 1e-3,
        "schedule.epochs": epochs,
    }
    because = dict(_ORDER)
    if size == "huge":
        changes["data.resolution"] = 126
        because["data.resolution"] = "code README_revenge: 128, of which patches of 14 cover 126"
    return stated(
        f"deit3.{size}_in21k{suffix}",
        lambda: _deit3(model, changes),
        Origin(f"deit3_in21k{suffix}", model, because=because),
        title=f"{_printed(model)} on ImageNet-21k for {epochs} epochs",
        source="T6.1, T6.14" if epochs == 90 else "T6.1, T6.5",
        expected="not stated before fine-tuning",
        cost=cost_of(epochs, 126 if size == "huge" else 224, "imagenet21k"),
    )


def _to_1k(earlier: Maker, accuracy: float, side: int = 224) -> Maker:
    size = earlier.__name__.split("_")[0]
    model = _MODELS[size]
    changes = {
        **_21K,
        "model.drop_path": _DROP_PATH["in21k_to_1k"][model],
        "data.resolution": side,
        "optimiser.lr": 3e-4,
        "schedule.epochs": 50,
    }
    because = dict(_ORDER)
    if side != 224:
        because["data.resolution"] = f"T6.5: {side}"
    if earlier.__name__.endswith("240"):
        because["after"] = "T6.8: the weights of 240 epochs"
    return stated(
        f"deit3.{size}_in21k_to_1k" + (f"_{side}" if side != 224 else ""),
        lambda: _deit3(model, {**changes, "after": earlier()}),
        Origin("deit3_in21k_ft1k", model, because=because),
        title=f"deit3.{earlier.__name__} fine-tuned on ImageNet-1k at {side}",
        source="T6.1, S6.3.1",
        expected=top1(accuracy, "T6.8"),
        cost=cost_of(50, side, after=f"deit3.{earlier.__name__}"),
    )


tiny_in21k = _in21k("tiny")
small_in21k = _in21k("small")
base_in21k = _in21k("base")
large_in21k = _in21k("large")
huge_in21k = _in21k("huge")
small_in21k_240 = _in21k("small", 240)
base_in21k_240 = _in21k("base", 240)
large_in21k_240 = _in21k("large", 240)
small_in21k_to_1k = _to_1k(small_in21k_240, 83.1)
base_in21k_to_1k = _to_1k(base_in21k_240, 85.7)
large_in21k_to_1k = _to_1k(large_in21k_240, 87.0)
huge_in21k_to_1k = _to_1k(huge_in21k, 87.2)
small_in21k_to_1k_384 = _to_1k(small_in21k_240, 84.8, side=384)
base_in21k_to_1k_384 = _to_1k(base_in21k_240, 86.7, side=384)
large_in21k_to_1k_384 = _to_1k(large_in21k_240, 87.7, side=384)


# -------------------------------------------------------------------------------------- other architectures
def _other(model: str, accuracy: float) -> Maker:
    drop_path = 0.0 if model.endswith("_s") else 0.1
    because = {**_ORDER, "model.drop_path": "assumed: not stated; as the ViT of about its size"}
    return stated(
        f"deit3.{model}",
        lambda: _deit3(model, {"model.drop_path": drop_path}),
        Origin("deit3_other_arch", model, because=because),
        title=f"{model} with the procedure of DeiT III, not tuned for it",
        source="T6.13",
        expected=top1(accuracy, "T6.13"),
        cost=cost_of(400, 224),
    )


pit_s = _other("pit_s", 80.4)
pit_b = _other("pit_b", 82.4)
tnt_s = _other("tnt_s", 81.4)
tnt_b = _other("tnt_b", 82.9)
convit_s = _other("convit_s", 81.3)
convit_b = _other("convit_b", 82.0)
swin_s = _other("swin_s", 82.1)
swin_b = _other("swin_b", 82.2)
cait_b12 = _other("cait_b12", 83.3)


# ------------------------------------------------------------------------- augmentation of ResNet-50 (T6.3)
def _resnet50(policy: str, accuracy: float) -> Maker:
    kinds = {"rand": "rand_augment", "autoaugment": "auto_augment", "trivial": "trivial_augment"}
    changes: dict[str, Any] = {"augment.policy": kinds.get(policy, policy)}
    because = {} if policy == "rand" else {"augment.policy": f"T6.3: {policy}"}
    if policy == "rand":
        changes["augment.policy"] = RandAugment(magnitude=7.0, std=0.5)
    if policy == "three_augment":
        changes |= {"augment.color_jitter": 0.3, "augment.jitter_order": "random"}
        because |= {**_ORDER, "augment.color_jitter": "S6.2: 3-Augment jitters colours by 0.3"}

    def make() -> Recipe:
        # imported late: strikes_back assumes DeiT III's settings for T2
        from recipes.strikes_back import a2

        return a2().with_(changes)

    return stated(
        f"deit3.resnet50_{policy}",
        make,
        Origin("deit3_resnet50_aug", "resnet50", because=because),
        title=f"ResNet-50 with {policy} in an otherwise unchanged A2",
        source="T6.3",
        expected=top1(accuracy, "T6.3"),
        cost=cost_of(300, 224),
    )


resnet50_autoaugment = _resnet50("autoaugment", 79.7)
resnet50_rand = _resnet50("rand", 79.5)
resnet50_trivial = _resnet50("trivial", 79.5)
resnet50_three_augment = _resnet50("three_augment", 79.4)
