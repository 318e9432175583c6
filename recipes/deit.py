"""DeiT: data-efficient image transformers, trained on ImageNet-1k alone (thesis chapter 3).

Where a teacher is needed, its weights are yours: `-s distillation.teacher.checkpoint=regnety_160.pth`.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import (
    AdamW,
    Augment,
    Cosine,
    CrossEntropy,
    Data,
    Evaluation,
    RandAugment,
    RandomResizedCrop,
    Recipe,
)
from interplay.recipe.catalogue import architecture
from recipes.sources.stages import HARD, SOFT, Maker, fine_tuned
from recipes.sources.stated import AFTER_TEACHER, WITH_TEACHER, Origin, cost_of, stated, top1

_T39 = "T3.9 (procedure), T3.1 (architecture)"


def _deit(model: str, changes: dict[str, Any] | None = None) -> Recipe:
    """T3.9, on any architecture. Drop path grows with depth, as in timm's ViT of the time."""
    batch_size = 1024
    recipe = Recipe(
        model=architecture(model),
        data=Data(dataset="imagenet1k", resolution=224, batch_size=batch_size),
        augment=Augment(
            crop=RandomResizedCrop(),
            flip=0.5,
            policy=RandAugment(magnitude=9.0, std=0.5),
            erasing=0.25,
            mixup=0.8,
            cutmix=1.0,
            repeats=3,
        ),
        loss=CrossEntropy(smoothing=0.1),
        # T3.9 prints 0.0005 for a batch of 512 and scales it with the batch
        optimiser=AdamW(lr=5e-4 * batch_size / 512, weight_decay=0.05),
        schedule=Cosine(epochs=300, warmup_epochs=5.0, warmup_lr=1e-6, min_lr=1e-5, per="epoch"),
        evaluation=Evaluation(crop_ratio=0.875),
    )
    return recipe.with_({"model.drop_path": 0.1, **(changes or {})})


# -------------------------------------------------------------------------------------------- ImageNet-1k
def _plain(size: str, model: str, title: str, expected: str) -> Maker:
    origin = Origin("deit_in1k", model)
    return stated(
        f"deit.{size}",
        lambda: _deit(model),
        origin,
        title=title,
        source=_T39,
        expected=expected,
        cost=cost_of(300, 224),
    )


tiny = _plain("tiny", "deit_ti", "DeiT-Ti: width 192, 3 heads", top1(72.2, "T3.3, T3.5"))
small = _plain(
    "small",
    "deit_s",
    "DeiT-S: width 384, 6 heads",
    top1(79.8, "T3.3, T3.5; 79.9 in T3.11 to T3.13: the log has 79.854"),
)
base = _plain("base", "deit_b", "DeiT-B: width 768, 12 heads", top1("81.8 +- 0.2", "T3.8"))


# ------------------------------------------------------------------------------------ fine-tuning by size
def _resized(earlier: Maker, side: int, expected: str) -> Maker:
    size, procedure = earlier.__name__, "deit_ft384" if side == 384 else "deit_ft_res"
    because = {} if side == 384 else {"data.resolution": f"T3.10: {side}"}
    return stated(
        f"deit.{size}_{side}",
        lambda: fine_tuned(earlier, side),
        Origin(procedure, {"tiny": "deit_ti", "small": "deit_s"}.get(size, "deit_b"), because=because),
        title=f"deit.{size} fine-tuned at {side}, without drop path",
        source="S3.4.5, T3.10, and the official command where they are silent",
        expected=expected,
        cost=cost_of(30, side, after=f"deit.{size}"),
    )


tiny_384 = _resized(tiny, 384, "not stated")
small_384 = _resized(small, 384, "not stated")
base_160 = _resized(base, 160, top1(79.9, "T3.10"))
base_320 = _resized(base, 320, top1(82.7, "T3.10"))
base_384 = _resized(base, 384, top1(83.1, "T3.5, T3.8, T3.10"))


# --------------------------------------------------------------------------------------------- distilled
def _taught(size: str, how: str, accuracy: float, tables: str = "T3.3", epochs: int = 300) -> Maker:
    """`how`: soft or hard (one answer learns labels and teacher), or token (a second one learns the teacher)."""
    model = {"tiny": "deit_ti", "small": "deit_s", "base": "deit_b"}[size] + ("_dist" if how == "token" else "")
    name = f"{size}_{'distilled' if how == 'token' else how}" + (f"_{epochs}" if epochs != 300 else "")
    changes = {"distillation": SOFT if how == "soft" else HARD, "schedule.epochs": epochs}
    way = {"soft": "its answers", "hard": "its decisions", "token": "its decisions by a distillation token"}[how]
    return stated(
        f"deit.{name}",
        lambda: _deit(model, changes),
        Origin(f"deit_distill_{how}" + (f"_{epochs}" if epochs != 300 else ""), model),
        title=f"deit.{size} that also learns a RegNetY-16GF: {way}",
        source="S3.3, T3.9",
        expected=top1(accuracy, tables),
        cost=cost_of(epochs, 224) + ", and the teacher's forward passes",
        settings=WITH_TEACHER,
    )


tiny_soft = _taught("tiny", "soft", 72.2)
small_soft = _taught("small", "soft", 79.8)
base_soft = _taught("base", "soft", 81.8)
tiny_hard = _taught("tiny", "hard", 74.3)
small_hard = _taught("small", "hard", 80.9)
base_hard = _taught("base", "hard", 83.0)
tiny_distilled = _taught("tiny", "token", 74.5, "T3.3, T3.5")
small_distilled = _taught("small", "token", 81.2, "T3.3, T3.5")
base_distilled = _taught("base", "token", 83.4, "T3.3, T3.5")
tiny_distilled_1000 = _taught("tiny", "token", 76.6, "T3.5", epochs=1000)
small_distilled_1000 = _taught("small", "token", 82.6, "T3.5", epochs=1000)
base_distilled_1000 = _taught("base", "token", 84.2, "T3.5", epochs=1000)


def _taught_384(earlier: Maker, accuracy: float, because: dict[str, str]) -> Maker:
    return stated(
        f"deit.{earlier.__name__}_384",
        lambda: fine_tuned(earlier, 384, {"distillation.teacher_resolution": 384}),
        Origin("deit_distill_ft384", "deit_b_dist", because=because),
        title=f"deit.{earlier.__name__} fine-tuned at 384 with the teacher, which sees 384 too",
        source="S3.3, S3.4.5",
        expected=top1(accuracy, "T3.5"),
        cost=cost_of(30, 384, after=f"deit.{earlier.__name__}"),
        settings=WITH_TEACHER + AFTER_TEACHER,
    )


base_distilled_384 = _taught_384(base_distilled, 84.5, {})
base_distilled_1000_384 = _taught_384(base_distilled_1000, 85.2, {"after": "T3.5: starts from 1000 epochs"})


# ----------------------------------------------------------------------------------- CIFAR-10 from scratch
def _cifar10(name: str, model: str, accuracy: float, distilled: bool = False) -> Maker:
    changes: dict[str, Any] = {"data.dataset": "cifar10", "schedule.epochs": 7200}
    because = {"distillation": "S3.4.4: as for ImageNet, with a teacher of CIFAR-10"} if distilled else {}
    if distilled:
        changes["distillation"] = HARD
        because["model.second_token"] = "S3.4.4: with a distillation token"
    return stated(
        f"deit.{name}_cifar10",
        lambda: _deit(model, changes),
        Origin("deit_cifar10_scratch", model, because=because),
        title=f"{model} on CIFAR-10 alone, its images resized to 224",
        source="S3.4.4",
        expected=top1(accuracy, "S3.4.4", "CIFAR-10 test"),
        cost=cost_of(7200, 224, "cifar10"),
        settings=WITH_TEACHER if distilled else "",
    )


base_cifar10 = _cifar10("base", "deit_b", 97.5)
base_distilled_cifar10 = _cifar10("base_distilled", "deit_b_dist", 98.5, distilled=True)
regnety_16gf_cifar10 = _cifar10("regnety_16gf", "regnety_16gf", 98.0)
regnety_16gf = stated(
    "deit.regnety_16gf",
    lambda: _deit("regnety_16gf"),
    Origin("deit_in1k", "regnety_16gf"),
    title="RegNetY-16GF, the teacher of DeiT, CaiT and ResMLP",
    source="S3.4.2, T3.9",
    expected=top1(82.9, "T3.5"),
    cost=cost_of(300, 224),
)


# -------------------------------------------------------------------------------------------------- depth
def _deep(depth: int, drop_path: float, accuracy: float) -> Maker:
    because = {"model.depth": f"T3.11: {depth}", "model.drop_path": f"T3.11: {drop_path} at depth {depth}"}
    if depth == 12:
        because = {}  # it is the study's own
    changes = {"model.depth": depth, "model.drop_path": drop_path, "model.drop_path_rule": "uniform"}
    return stated(
        f"deit.small_depth{depth}",
        lambda: _deit("deit_s", changes),
        Origin("deit_depth_study", "deit_s", because=because),
        title=f"DeiT-S with {depth} blocks and a uniform drop path, the baseline of the study of depth",
        source="S3.5.2, T3.11",
        expected=top1(accuracy, "T3.11"),
        cost=cost_of(300, 224),
    )


small_depth12 = _deep(12, 0.05, 79.9)
small_depth18 = _deep(18, 0.1, 80.7)
small_depth24 = _deep(24, 0.2, 81.0)
small_depth36 = _deep(36, 0.25, 81.9)
