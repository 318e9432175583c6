"""DeiT: data-efficient image transformers, trained on ImageNet-1k alone (thesis chapter 3)."""

from __future__ import annotations

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
    ViT,
)


def tiny() -> Recipe:
    """DeiT-Ti: width 192, 3 heads.

    Source: thesis T3.9 (procedure), T3.1 (architecture)
    Expected: ImageNet-1k val top-1 72.2 (T3.5)
    Cost: 300 epochs of 1.28 M images at 224; T3.1 gives 2,536 images/s forward on a V100
    Run: interplay train deit.tiny -s data.dataset=imagenet.beton
    """
    return _deit("deit.tiny", width=192, heads=3)


def small() -> Recipe:
    """DeiT-S: width 384, 6 heads.

    Source: thesis T3.9 (procedure), T3.1 (architecture)
    Expected: ImageNet-1k val top-1 79.8 (T3.3, T3.5; 79.9 in T3.11 to T3.13)
    Cost: 300 epochs of 1.28 M images at 224; T3.1 gives 940 images/s forward on a V100
    Run: interplay train deit.small -s data.dataset=imagenet.beton
    """
    return _deit("deit.small", width=384, heads=6)


def base() -> Recipe:
    """DeiT-B: width 768, 12 heads.

    Source: thesis T3.9 (procedure), T3.1 (architecture)
    Expected: ImageNet-1k val top-1 81.8 +- 0.2 (T3.8)
    Cost: 300 epochs of 1.28 M images at 224; T3.1 gives 292 images/s forward on a V100
    Run: interplay train deit.base -s data.dataset=imagenet.beton
    """
    return _deit("deit.base", width=768, heads=12)


def _deit(name: str, *, width: int, heads: int) -> Recipe:
    batch_size = 1024
    return Recipe(
        name=name,
        model=ViT(patch_size=16, width=width, depth=12, heads=heads, drop_path=0.1, drop_path_rule="linear"),
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
