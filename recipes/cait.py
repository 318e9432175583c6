"""CaiT: class-attention in image transformers, with talking heads and LayerScale (thesis sections 3.6 and 3.7).

DeiT's procedure over 400 epochs with a uniform drop path. Distilled models learn the decisions of a RegNetY-16GF
with their one answer; its weights are yours: `-s distillation.teacher.checkpoint=regnety_160.pth`.
"""

from __future__ import annotations

from interplay.recipe import Recipe
from recipes.deit import small as _deit_small
from recipes.sources.stages import HARD, Maker, fine_tuned
from recipes.sources.stated import AFTER_TEACHER, WITH_TEACHER, Origin, cost_of, stated, top1

_DROP_PATH = {
    "xxs24": 0.05,
    "xxs36": 0.1,
    "xs24": 0.05,
    "xs36": 0.1,
    "s24": 0.1,
    "s36": 0.2,
    "s48": 0.3,
    "m24": 0.2,
    "m36": 0.3,
    "m48": 0.4,
}
"""T3.16."""
_AS_DEIT = "assumed: not stated; as deit.base_384"
_FINE_TUNING = {
    "schedule": _AS_DEIT,
    "schedule.min_lr": "assumed: not stated; as deit.base_384, whose rate is constant",
    "optimiser": _AS_DEIT,
    "data.batch_size": _AS_DEIT,
    "model.drop_path": "assumed: not stated; off, as in deit.base_384",
}


def _cait(size: str) -> Recipe:
    return _deit_small().with_(
        {
            "model": f"cait_{size}",
            "model.drop_path": _DROP_PATH[size],
            "schedule.epochs": 400,
            "evaluation.crop_ratio": 1.0,
        }
    )


def _plain(size: str, accuracy: float | None) -> Maker:
    expected = "not stated at 224" if accuracy is None else top1(accuracy, "T3.15")
    return stated(
        f"cait.{size}",
        lambda: _cait(size),
        Origin("cait_in1k", f"cait_{size}"),
        title=f"CaiT-{_printed(size)}",
        source="T3.16, S3.7",
        expected=expected,
        cost=cost_of(400, 224),
    )


def _distilled(size: str, accuracy: float | None) -> Maker:
    expected = "not stated at 224" if accuracy is None else top1(accuracy, "T3.15")
    return stated(
        f"cait.{size}_distilled",
        lambda: _cait(size).with_({"distillation": HARD}),
        Origin("cait_distill", f"cait_{size}"),
        title=f"CaiT-{_printed(size)} that also learns the decisions of a RegNetY-16GF",
        source="T3.16, S3.7",
        expected=expected,
        cost=cost_of(400, 224) + ", and the teacher's forward passes",
        settings=WITH_TEACHER,
    )


def _resized(earlier: Maker, accuracy: float | None, side: int = 384) -> Maker:
    """`earlier` fine-tuned at `side`; a cosine that ends at its peak is what DeiT's constant rate is."""
    name, taught = earlier.__name__, earlier.__name__.endswith("distilled")
    changes = {"schedule": {"kind": "cosine", "epochs": 30, "warmup_epochs": 5.0, "min_lr": 5e-6}}
    teacher = {"distillation.teacher_resolution": side} if taught else {}
    because = dict(_FINE_TUNING)
    if side != 384:
        because |= {path: f"T3.17: {side}" for path in ("data.resolution", "distillation.teacher_resolution")}
    if taught:
        because["distillation.weight"] = "S3.7: as without fine-tuning"
    return stated(
        f"cait.{name}_{side}",
        lambda: fine_tuned(earlier, side, {**changes, **teacher}),
        Origin("cait_ft384_distill" if taught else "cait_ft384", f"cait_{name.split('_')[0]}", because=because),
        title=f"cait.{name} fine-tuned at {side}" + (", with the teacher" if taught else ""),
        source="S3.7 (that it is done), T3.15; S3.4.5 and the official command of DeiT (how)",
        expected="not stated" if accuracy is None else top1(accuracy, "T3.15" if side == 384 else "T3.17"),
        cost=cost_of(30, side, after=f"cait.{name}"),
        settings=WITH_TEACHER + AFTER_TEACHER if taught else "",
    )


def _printed(size: str) -> str:
    return f"{size[:-2].upper()}-{size[-2:]}"


xxs24 = _plain("xxs24", 77.6)
xxs36 = _plain("xxs36", 79.1)
xs24 = _plain("xs24", 81.8)
xs36 = _plain("xs36", 82.6)
s24 = _plain("s24", 82.7)
s36 = _plain("s36", 83.3)
s48 = _plain("s48", 83.5)
m24 = _plain("m24", 83.4)
m36 = _plain("m36", 83.8)
m48 = _plain("m48", None)

xxs24_distilled = _distilled("xxs24", 78.4)
xxs36_distilled = _distilled("xxs36", 79.7)
xs24_distilled = _distilled("xs24", 82.0)
xs36_distilled = _distilled("xs36", 82.9)
s24_distilled = _distilled("s24", 83.5)
s36_distilled = _distilled("s36", 84.0)
s48_distilled = _distilled("s48", 83.9)
m24_distilled = _distilled("m24", 84.7)
m36_distilled = _distilled("m36", 85.1)
m48_distilled = _distilled("m48", None)

xxs24_384 = _resized(xxs24, 80.4)
xxs36_384 = _resized(xxs36, 81.8)
xs24_384 = _resized(xs24, 83.8)
xs36_384 = _resized(xs36, 84.3)
s24_384 = _resized(s24, 84.3)
s36_384 = _resized(s36, 85.0)
s48_384 = _resized(s48, 85.1)
m24_384 = _resized(m24, 84.5)
m36_384 = _resized(m36, 84.9)
m48_384 = _resized(m48, None)

xxs24_distilled_384 = _resized(xxs24_distilled, 80.9)
xxs36_distilled_384 = _resized(xxs36_distilled, 82.2)
xs24_distilled_384 = _resized(xs24_distilled, 84.1)
xs36_distilled_384 = _resized(xs36_distilled, 84.8)
s24_distilled_384 = _resized(s24_distilled, 85.1)
s36_distilled_384 = _resized(s36_distilled, 85.4)
s48_distilled_384 = _resized(s48_distilled, 85.3)
m24_distilled_384 = _resized(m24_distilled, 85.8)
m36_distilled_384 = _resized(m36_distilled, 86.1)
m36_distilled_448 = _resized(m36_distilled, 86.3, side=448)
m48_distilled_448 = _resized(m48_distilled, 86.5, side=448)
