"""How training images are changed: crops, policies, erasing and mixing. A part of the recipe's tree."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from interplay.recipe.part import ByName, Part, Positive, Probability, Real, Whole


class ResizeOnly(Part):
    """The whole image, resized to the resolution without keeping the aspect ratio."""

    kind: Literal["resize"] = "resize"


class RandomResizedCrop(Part):
    """A random window of `scale` of the area and `ratio` of width to height, resized."""

    kind: Literal["random_resized_crop"] = "random_resized_crop"
    scale: tuple[Real, Real] = (0.08, 1.0)
    ratio: tuple[Real, Real] = (3 / 4, 4 / 3)

    @model_validator(mode="after")
    def _ordered(self) -> RandomResizedCrop:
        if not 0.0 < self.scale[0] <= self.scale[1] <= 1.0:
            raise ValueError(f"augment.crop.scale={list(self.scale)} must rise within (0, 1]")
        if not 0.0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"augment.crop.ratio={list(self.ratio)} must be positive and rise")
        return self


class SimpleRandomCrop(Part):
    """The short side resized to the resolution, `padding` pixels mirrored around, a random square (thesis S6.2)."""

    kind: Literal["simple_random_crop"] = "simple_random_crop"
    padding: Whole = Field(4, ge=0)


Crop = Annotated[ResizeOnly | RandomResizedCrop | SimpleRandomCrop, Field(discriminator="kind"), ByName]


class NoPolicy(Part):
    kind: Literal["none"] = "none"


class ThreeAugment(Part):
    """Exactly one of `ops` per image, with equal chance (thesis S6.2); `blur_radius` in pixels."""

    kind: Literal["three_augment"] = "three_augment"
    ops: tuple[Literal["grayscale", "solarise", "blur"], ...] = ("grayscale", "solarise", "blur")
    blur_radius: tuple[Real, Real] = (0.1, 2.0)

    @model_validator(mode="after")
    def _some_ops(self) -> ThreeAugment:
        if not self.ops or len(set(self.ops)) != len(self.ops):
            raise ValueError("augment.policy.ops must name at least one operation, each once")
        if not 0.0 < self.blur_radius[0] <= self.blur_radius[1]:
            raise ValueError(f"augment.policy.blur_radius={list(self.blur_radius)} must be positive and rise")
        return self


class RandAugment(Part):
    """timm's `rand-m{magnitude}-mstd{std}-inc1`: `layers` operations, each applied with `probability`.

    Levels are normal about `magnitude`, cut to [0, `max_level`] (timm's mmax); a `std` above 100 makes them uniform
    from 0 to `magnitude`, as timm's does. `increasing`: every operation grows stronger with its level (timm's inc1;
    false is inc0). `choice`: "all" 15 operations equally, with repetition, or timm's t"weights", t"3a" and t"3aw";
    weighted operations come at most once per image. At least one bit is kept where timm's posterise would keep none.
    """

    kind: Literal["rand_augment"] = "rand_augment"
    magnitude: Real = Field(9.0, ge=0.0)
    std: Real = Field(0.5, ge=0.0)
    max_level: Real = Field(10.0, gt=0.0)
    layers: Positive = 2
    probability: Probability = 0.5
    increasing: bool = True
    choice: Literal["all", "weights", "3a", "3aw"] = "all"

    @model_validator(mode="after")
    def _within_the_levels(self) -> RandAugment:
        if self.magnitude > self.max_level:
            raise ValueError(
                f"augment.policy.magnitude={self.magnitude:g} is above augment.policy.max_level={self.max_level:g}, "
                "to which levels are cut; raise that too, or stay below"
            )
        return self

    @model_validator(mode="after")
    def _choice_decides(self) -> RandAugment:
        if self.choice != "all" and not self.increasing:
            raise ValueError(
                f"augment.policy.increasing=false has no effect with augment.policy.choice={self.choice!r}, whose "
                "operations are all increasing; set augment.policy.choice='all'"
            )
        most = {"weights": 15, "3aw": 14}.get(self.choice)
        if most is not None and self.layers > most:
            raise ValueError(
                f"augment.policy.layers={self.layers} is more than the {most} operations of "
                f"augment.policy.choice={self.choice!r}, which are drawn without repetition; use at most {most}"
            )
        return self


class AutoAugment(Part):
    """One of a learnt list of sub-policies per image, as timm applies them.

    `scheme`: "original" is the paper's for ImageNet (arXiv:1805.09501) and "v0" EfficientNet's; with "r" their
    posterise grows stronger with its level. "3a" is timm's 3-Augment. `std`: of normal noise on the levels.
    """

    kind: Literal["auto_augment"] = "auto_augment"
    scheme: Literal["original", "originalr", "v0", "v0r", "3a"] = "original"
    std: Real = Field(0.0, ge=0.0)


class TrivialAugment(Part):
    """TrivialAugment Wide (arXiv:2103.10158), as torchvision's: one of 14 operations at one of `bins` levels."""

    kind: Literal["trivial_augment"] = "trivial_augment"
    bins: Positive = Field(31, ge=2)
    interpolation: Literal["nearest", "bilinear"] = "nearest"


class AugMix(Part):
    """AugMix (arXiv:1912.02781) as timm's `augmix-m{magnitude}-w{width}`: `width` chains of operations, averaged.

    Each chain is `depth` operations, 1 to 3 at random if it is null; weights of the chains and the share of their
    mean in the image are drawn from Dirichlet and Beta distributions of `alpha`. Levels are uniform from 0 to
    `magnitude` for a `std` above 100, otherwise normal about it. There is no consistency loss, as in timm without
    augmentation splits.
    """

    kind: Literal["aug_mix"] = "aug_mix"
    magnitude: Real = Field(3.0, ge=0.0, le=10.0)
    std: Real = Field(101.0, ge=0.0)
    width: Positive = 3
    depth: Positive | None = None
    alpha: Real = Field(1.0, gt=0.0)


Policy = Annotated[
    NoPolicy | ThreeAugment | RandAugment | AutoAugment | TrivialAugment | AugMix, Field(discriminator="kind"), ByName
]


class Augment(Part):
    """How training images are changed. `repeats` > 1 is repeated augmentation (thesis S3.4.5).

    `views` > 1 are crops of one image that stand together in a batch, for losses that compare them (thesis S2.3.1): a
    batch has `data.batch_size` images and so many times as many crops.

    In this order: crop and flip, `policy`, jitter, normalisation, erasing, mixing.

    `color_jitter` is the strength of brightness, contrast and saturation, `hue_jitter` that of hue (torchvision's,
    0.5 is the whole circle). `jitter_order` "fixed" is brightness, contrast, saturation, hue; "random" draws the
    order for each image, as torchvision's ColorJitter does, and so timm, DeiT and DeiT III. "fixed" is the default
    because cells were trained with it.

    `erasing` is the probability of random erasing of 1 to `erasing_count` boxes, which share `erasing_area` of the
    image, with sides in a ratio of `erasing_aspect` to its inverse. `erasing_mode` fills them: "pixel" noise, "rand"
    one random colour per box, "const" the mean colour.

    `mixup` and `cutmix` are the alphas of Beta(alpha, alpha), 0 is off; images are mixed with probability
    `mix_prob`, by CutMix with `mix_switch_prob` when both are on. `mix_mode`: one draw for a "batch", for each
    "pair" that exchanges content, or for each image ("elem"). `cutmix_minmax` turns CutMix on with boxes whose
    sides are these shares of the image's, instead of `cutmix`.
    """

    crop: Crop = RandomResizedCrop()
    flip: Probability = 0.5
    policy: Policy = NoPolicy()
    color_jitter: Real = Field(0.0, ge=0.0, le=1.0)
    hue_jitter: Real = Field(0.0, ge=0.0, le=0.5)
    jitter_order: Literal["fixed", "random"] = "fixed"
    erasing: Probability = 0.0
    erasing_mode: Literal["pixel", "rand", "const"] = "pixel"
    erasing_area: tuple[Real, Real] = (0.02, 1 / 3)
    erasing_aspect: Real = Field(0.3, gt=0.0, le=1.0)
    erasing_count: Positive = 1
    mixup: Real = Field(0.0, ge=0.0)
    cutmix: Real = Field(0.0, ge=0.0)
    cutmix_minmax: tuple[Probability, Probability] | None = None
    mix_prob: Probability = 1.0
    mix_switch_prob: Probability = 0.5
    mix_mode: Literal["batch", "pair", "elem"] = "batch"
    repeats: Positive = 1
    views: Positive = 1

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs: mixup, CutMix or both."""
        return bool(self.mixup or self.cutmix or self.cutmix_minmax)

    @model_validator(mode="after")
    def _ranges(self) -> Augment:
        if not 0.0 < self.erasing_area[0] <= self.erasing_area[1] <= 1.0:
            raise ValueError(f"augment.erasing_area={list(self.erasing_area)} must rise within (0, 1]")
        if self.cutmix_minmax is not None:
            if self.cutmix:
                raise ValueError("augment.cutmix_minmax takes the place of augment.cutmix; set augment.cutmix=0")
            if not 0.0 < self.cutmix_minmax[0] < self.cutmix_minmax[1]:
                raise ValueError(f"augment.cutmix_minmax={list(self.cutmix_minmax)} must rise within (0, 1]")
        return self
