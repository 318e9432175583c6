"""A declared change of scale: the same question with fewer epochs, a smaller model, smaller images or fewer of them.

Every size is set for the baseline's first stage and every other recipe keeps its ratio to that: a row of 24 blocks
beside a baseline of 12 has 8 when the baseline has 4, fine-tuning at 384 after 224 is at 1.7 times the small side.
What is not a size stays as stated: drop path, LayerScale's start, augmentation, the number of heads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from interplay.errors import InterplayError, closest
from interplay.recipe import Ema, NoDistillation, Recipe, Steps
from interplay.recipe.architecture import AttentionPool, Model, PatchConvNet, ViT

PATHS: Mapping[str, str] = {
    "epochs": "schedule.epochs",
    "width": "model.width",
    "depth": "model.depth",
    "patch_size": "model.patch_size",
    "resolution": "data.resolution",
    "batch_size": "data.batch_size",
    "images": "data.share",
}
"""Size -> where recipes have it. `images` is the share of the training images that is left."""
SIZES = tuple(PATHS)


@dataclass(frozen=True)
class Scale:
    """What the baseline's first stage has; see the module.

    Attributes:
        sizes: name of `SIZES` -> value.
    """

    sizes: Mapping[str, float]

    def factors(self, baseline: Recipe) -> dict[str, float]:
        """Name -> what every recipe's size is multiplied by.

        Raises:
            InterplayError: if the baseline has no such size.
        """
        first = baseline
        while first.after is not None:
            first = first.after
        have: dict[str, Any] = {
            "epochs": first.schedule.epochs,
            "resolution": first.data.resolution,
            "batch_size": first.data.batch_size,
            "images": 1,
            **{name: getattr(first.model, name, None) for name in ("width", "depth", "patch_size")},
        }
        for name in self.sizes:
            if not have[name] or (name == "patch_size" and isinstance(first.model, PatchConvNet)):
                raise InterplayError(
                    f"--scale {name}: the baseline's model ({first.model.family}) has no {name} to change"
                )
        return {name: value / have[name] for name, value in self.sizes.items()}

    def __str__(self) -> str:
        return ", ".join(f"{name}={value:g}" for name, value in self.sizes.items())


def parse_scale(text: str) -> Scale:
    """`epochs=20,width=192,images=0.1` as a scale.

    Raises:
        InterplayError: for a size that there is not, or a value that it cannot have.
    """
    sizes: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in SIZES:
            raise InterplayError(
                f"--scale {part.strip()!r}: sizes are {', '.join(SIZES)}{closest(name, SIZES) or ''}"
            )
        try:
            number = float(value)
        except ValueError:
            raise InterplayError(f"--scale {name}={value} is not a number") from None
        right = 0 < number <= 1 if name == "images" else number >= 1 and number == int(number)
        if not right:
            raise InterplayError(
                f"--scale {name}={value} must be "
                + ("a share above 0, up to 1" if name == "images" else "a whole number from 1 on")
            )
        if name in sizes:
            raise InterplayError(f"--scale names {name} twice")
        sizes[name] = number
    return Scale(sizes)


def scaled(recipe: Recipe, factors: Mapping[str, float]) -> Recipe:
    """`recipe` and its earlier stages with their sizes multiplied by `factors` (see `Scale.factors`).

    The peak rate, its start and its floor follow the batch in proportion, as DeiT's do (thesis S3.4.5). Warm-up and
    decay keep their share of the epochs, the weights' average its share of the images seen. Image sides are the
    nearest multiple of the patch.

    Raises:
        InterplayError: if there is no such recipe.
    """
    earlier = None if recipe.after is None else scaled(recipe.after, factors)
    changes: dict[str, Any] = {"model": smaller(recipe.model, factors), **_training(recipe, factors)}
    patch = getattr(changes["model"], "patch_size", 1)
    changes["data.resolution"] = _side(recipe.data.resolution, factors, patch)
    if recipe.evaluation.resolution is not None:
        changes["evaluation.resolution"] = _side(recipe.evaluation.resolution, factors, patch)
    if not isinstance(recipe.distillation, NoDistillation) and recipe.distillation.teacher_resolution is not None:
        changes["distillation.teacher_resolution"] = _side(recipe.distillation.teacher_resolution, factors, 1)
    return recipe.model_copy(update={"after": earlier}).with_(changes)


def smaller(model: Model, factors: Mapping[str, float]) -> Model:
    """A model of the same parts with its width, depth and patch multiplied; timm's and your own stay as they are.

    The number of heads stays where it divides the width, otherwise the nearest that does takes its place.
    """
    width, depth, patch = (getattr(model, name, None) for name in ("width", "depth", "patch_size"))
    if width is None or depth is None:
        return model
    update: dict[str, Any] = {}
    if "width" in factors:
        step = 8 if isinstance(model, PatchConvNet) else 1
        update["width"] = width = max(step, round(width * factors["width"] / step) * step)
    if "depth" in factors:
        update["depth"] = max(1, round(depth * factors["depth"]))
    if "patch_size" in factors and patch is not None and not isinstance(model, PatchConvNet):
        update["patch_size"] = max(1, round(patch * factors["patch_size"]))
    if isinstance(model, ViT):
        update["heads"] = _heads(model.heads, width)
    pool: Any = getattr(model, "pool", None)
    if isinstance(pool, AttentionPool):
        update["pool"] = pool.model_copy(update={"heads": _heads(pool.heads, width)})
    elif getattr(pool, "at", 0):
        last = update.get("depth", depth) - 1
        update["pool"] = pool.model_copy(update={"at": min(last, round(pool.at * factors.get("depth", 1.0)))})
    return model.model_copy(update=update)


def _training(recipe: Recipe, factors: Mapping[str, float]) -> dict[str, Any]:
    longer, more = factors.get("epochs", 1.0), factors.get("batch_size", 1.0)
    changes: dict[str, Any] = {}
    if "epochs" in factors:
        epochs = max(1, round(recipe.schedule.epochs * longer))
        changes["schedule.epochs"] = epochs
        changes["schedule.warmup_epochs"] = recipe.schedule.warmup_epochs * epochs / recipe.schedule.epochs
        if isinstance(recipe.schedule, Steps):
            changes["schedule.every"] = max(1, round(recipe.schedule.every * longer))
    if "batch_size" in factors:
        size = max(2, round(recipe.data.batch_size * more / 2) * 2)  # mixed images come in pairs
        changes["data.batch_size"] = size
        for path, rate in (
            ("optimiser.lr", recipe.optimiser.lr),
            ("schedule.warmup_lr", recipe.schedule.warmup_lr),
            ("schedule.min_lr", getattr(recipe.schedule, "min_lr", None)),
        ):
            if rate is not None:
                changes[path] = rate * size / recipe.data.batch_size
    if "images" in factors:
        changes["data.share"] = recipe.data.share * factors["images"]
    if isinstance(recipe.average, Ema):
        changes["average.horizon"] = recipe.average.horizon * longer * factors.get("images", 1.0)
    return changes


def _side(side: int, factors: Mapping[str, float], patch: int) -> int:
    return max(1, round(side * factors.get("resolution", 1.0) / patch)) * patch


def _heads(heads: int, width: int) -> int:
    return min((h for h in range(1, width + 1) if width % h == 0), key=lambda h: (abs(h - heads), h))
