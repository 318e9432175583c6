"""PatchConvNet: convolutions at one resolution, pooled by attention (thesis chapter 5).

The released code holds models and no training commands: what section 5.2.3 leaves open follows chapter 3.
"""

from __future__ import annotations

from typing import Any

from interplay.recipe import Lamb, Recipe
from recipes.deit import small as _deit_small
from recipes.sources.stages import Maker
from recipes.sources.stated import Origin, cost_of, stated, top1

_DROP_PATH = {"s20": 0.0, "s36": 0.05, "s60": 0.15, "s120": 0.2, "b36": 0.2, "b60": 0.3, "b120": 0.4}
"""T5.8."""
_LARGE = {"l60": 0.3, "l120": 0.4}
_CROP = {"evaluation.crop_ratio": "assumed: not stated; as in chapter 3"}
_AS_1K = "assumed: not stated; as on ImageNet-1k, and the large models as the base ones of their depth"


def _patchconvnet(name: str, changes: dict[str, Any] | None = None) -> Recipe:
    size = name.removesuffix("_multi")
    return _deit_small().with_(
        {
            "model": f"patchconvnet_{name}",
            "model.drop_path": (_DROP_PATH | _LARGE)[size],
            "model.drop_path_rule": "uniform",
            "data.batch_size": 2048,
            "augment.erasing": 0.0,
            "optimiser": Lamb(lr=3e-3, weight_decay=0.01 if size.startswith("s") else 0.05),
            "schedule.epochs": 400,
            **(changes or {}),
        }
    )


# -------------------------------------------------------------------------------------------- ImageNet-1k
def _plain(name: str, accuracy: float) -> Maker:
    return stated(
        f"patchconvnet.{name}",
        lambda: _patchconvnet(name),
        Origin("patchconvnet_in1k", f"patchconvnet_{name}", because=_CROP),
        title=f"PatchConvNet-{name.upper()}",
        source="S5.2.3, T5.8",
        expected=top1(accuracy, "T5.8"),
        cost=cost_of(400, 224),
    )


s20 = _plain("s20", 78.7)
s36 = _plain("s36", 80.7)
s60 = _plain("s60", 82.1)
s120 = _plain("s120", 83.2)
b36 = _plain("b36", 82.8)
b60 = _plain("b60", 83.5)
b120 = _plain("b120", 84.1)


# ------------------------------------------------------------------------------------------- ImageNet-21k
def _in21k(name: str, batch_size: int = 2048) -> Maker:
    changes = {
        "data.dataset": "imagenet21k",
        "data.batch_size": batch_size,
        "augment.repeats": 1,
        "optimiser.lr": 4e-3 if batch_size == 4096 else 3e-3,
        "optimiser.weight_decay": 0.01,
        "schedule.epochs": 90,
    }
    suffix = "_bs4096" if batch_size == 4096 else ""
    return stated(
        f"patchconvnet.{name}_in21k{suffix}",
        lambda: _patchconvnet(name, changes),
        Origin(f"patchconvnet_in21k{suffix}", f"patchconvnet_{name}", because={**_CROP, "model.drop_path": _AS_1K}),
        title=f"PatchConvNet-{name.upper()} on ImageNet-21k in batches of {batch_size}",
        source="S5.2.3",
        expected="not stated before fine-tuning",
        cost=cost_of(90, 224, "imagenet21k"),
    )


def _to_1k(earlier: Maker, accuracy: float) -> Maker:
    name = earlier.__name__.removesuffix("_in21k")
    changes = {
        "data.batch_size": 1024,
        "optimiser.lr": 5e-4,
        "optimiser.weight_decay": 0.01,
        "schedule.epochs": 100,
    }
    because = {
        **_CROP,
        "model.drop_path": _AS_1K,
        "optimiser.weight_decay": "assumed: not stated; as on ImageNet-21k",
    }
    return stated(
        f"patchconvnet.{earlier.__name__}_to_1k",
        lambda: _patchconvnet(name, {**changes, "after": earlier()}),
        Origin("patchconvnet_in21k_ft1k", f"patchconvnet_{name}", because=because),
        title=f"patchconvnet.{earlier.__name__} fine-tuned on ImageNet-1k",
        source="S5.2.3, T5.2",
        expected=top1(accuracy, "T5.2"),
        cost=cost_of(100, 224, after=f"patchconvnet.{earlier.__name__}"),
    )


s60_in21k = _in21k("s60")
b60_in21k = _in21k("b60")
b120_in21k = _in21k("b120")
l60_in21k = _in21k("l60")
l120_in21k = _in21k("l120")
s60_in21k_bs4096 = _in21k("s60", 4096)
b60_in21k_bs4096 = _in21k("b60", 4096)
b120_in21k_bs4096 = _in21k("b120", 4096)
l60_in21k_bs4096 = _in21k("l60", 4096)
l120_in21k_bs4096 = _in21k("l120", 4096)
s60_in21k_to_1k = _to_1k(s60_in21k, 82.9)
b60_in21k_to_1k = _to_1k(b60_in21k, 85.0)
b120_in21k_to_1k = _to_1k(b120_in21k, 86.0)
l60_in21k_to_1k = _to_1k(l60_in21k, 85.6)
l120_in21k_to_1k = _to_1k(l120_in21k, 86.1)


# ----------------------------------------------------------------------------------------- higher resolution
def _short(changes: dict[str, Any]) -> dict[str, Any]:
    """Ten epochs at a rate that begins at its floor; drop path falls by 0.1 (S5.2.3)."""
    return {
        "data.batch_size": 1024,
        "augment.repeats": 1,
        "optimiser.lr": 1e-5,
        "optimiser.weight_decay": 0.01,
        "schedule.epochs": 10,
        **changes,
    }


def _384(earlier: Maker, accuracy: float | None) -> Maker:
    name = earlier.__name__.split("_")[0]
    drop_path = round(max((_DROP_PATH | _LARGE)[name] - 0.1, 0.0), 3)
    because = {**_CROP, "model.drop_path": "S5.2.3: 0.1 below that of the first training, at least 0"}
    if accuracy is not None:
        because["after"] = "T5.2: on ImageNet-21k, then on ImageNet-1k"
    return stated(
        f"patchconvnet.{earlier.__name__}_384",
        lambda: _patchconvnet(
            name, _short({"data.resolution": 384, "model.drop_path": drop_path, "after": earlier()})
        ),
        Origin("patchconvnet_hires_ft", f"patchconvnet_{name}", because=because),
        title=f"patchconvnet.{earlier.__name__} fine-tuned at 384",
        source="S5.2.3, T5.2",
        expected="not stated for ImageNet-1k alone" if accuracy is None else top1(accuracy, "T5.2"),
        cost=cost_of(10, 384, after=f"patchconvnet.{earlier.__name__}"),
    )


s60_384 = _384(s60, None)
s120_384 = _384(s120, None)
b60_384 = _384(b60, None)
b120_384 = _384(b120, None)
s60_in21k_to_1k_384 = _384(s60_in21k_to_1k, 84.6)
b60_in21k_to_1k_384 = _384(b60_in21k_to_1k, 86.1)
b120_in21k_to_1k_384 = _384(b120_in21k_to_1k, 86.9)
l60_in21k_to_1k_384 = _384(l60_in21k_to_1k, 86.4)
l120_in21k_to_1k_384 = _384(l120_in21k_to_1k, 87.1)

# ------------------------------------------------------------------------------------------ a token per class
_AS_384 = "assumed: not stated; as patchconvnet.s60_384"
s60_multi = stated(
    "patchconvnet.s60_multi",
    lambda: _patchconvnet("s60_multi", _short({"model.drop_path": 0.05, "augment.repeats": 3, "after": s60()})),
    Origin(
        "patchconvnet_multiclass_ft",
        "patchconvnet_s60_multi",
        because={
            **_CROP,
            "model.drop_path": _AS_384,
            "data.batch_size": _AS_384,
            "optimiser": _AS_384,
            "schedule": _AS_384,
        },
    ),
    title="PatchConvNet-S60 with a token, and so a map, for each class",
    source="S5.2.1",
    expected="not stated",
    cost=cost_of(10, 224, after="patchconvnet.s60"),
)
