"""Every field of a recipe is seen by the comparison that refuses rows without effect."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import numpy as np
import pytest

from interplay.errors import InterplayError
from interplay.recipe import Recipe, flatten
from interplay.recipe.part import Part
from interplay.study.foresight.effects import Effects

ELSEWHERE = {
    "name": "of a recipe it is for people; of a timm model the first changes' other models show it",
    "trunk": "a name of timm's, likewise",
    "digest": "of a file's content, which is read",
    "labels_digest": "of a file's content, which is read",
    "checkpoint": "a path, whose content counts",
    "right_labels": "a path, whose content counts",
    "file": "a path, whose content counts",
    "source": "a path, whose content counts",
    "kind": "changed as a whole, by its name",
    "family": "changed as a whole: every family is a base here",
    "dataset": "a name or path, see `test_what_stands_in_files_is_seen`",
    "options": "of timm's models, see there too",
    "start": "a file, see there too",
    "after": "a recipe, see there too",
    "also": "a file, see there too",
    "clusters": "a file, see there too",
    "teacher.model": "of a file; seen with it",
}
"""Leaves that are not changed by the walk, and why."""

NOT_ACTIVE = {
    "augment.jitter_order": ("augment.color_jitter", "augment.hue_jitter"),
    "augment.erasing_": ("augment.erasing",),
    "augment.mix_": ("augment.mixup", "augment.cutmix", "augment.cutmix_minmax"),
    "model.drop_path_rule": ("model.drop_path",),
}
"""Beginnings of paths that do nothing while all of the paths behind them are 0: dead, and rightly found so."""

SPECIAL = {
    "augment.mix_switch_prob": "needs mixup and CutMix; where CutMix is on alone it is dead",
    "model.position": "of class attention: no token is among the patches, the two are the same",
}

MODELS: list[dict[str, Any]] = [
    {"model.drop_path": 0.1, "model.pool.at": 1},
    {"model.pool": "class_attention", "model.talking_heads": True, "model.scale": "fixup"},
    {"model.second_token": "distillation", "model.scale": "scalar"},
    {"model": "resmlp_s12", "model.depth": 2, "model.drop_path": 0.1, "model.pool": "class_mlp"},
    {"model": "patchconvnet_s60", "model.depth": 2, "model.drop_path": 0.1, "data.resolution": 32},
    {"model": {"family": "pooled", "trunk": "resnet18"}, "data.resolution": 32},
    {"model": {"family": "timm", "name": "resnet18"}, "data.resolution": 32},
]
JITTER, BOXES = {"augment.color_jitter": 0.3, "augment.hue_jitter": 0.2}, {"augment.erasing": 0.5}
MIX = {"augment.mixup": 0.8, "augment.cutmix": 1.0, "augment.mix_prob": 0.9}
VIEWS = {"evaluation.retrieval": "nearest", "augment.views": 2}
OTHER = {"kind": "learnt", "labels": "head", "instance": "triplet", "projector": "fc"}
PARTS: list[tuple[str, dict[str, Any]]] = [
    ("augment", {"augment.policy": "three_augment", "augment.crop": "simple_random_crop"}),
    ("augment.policy", {"augment.policy": "rand_augment"}),
    ("augment.policy", {"augment.policy": "auto_augment"}),
    ("augment.policy", {"augment.policy": "trivial_augment"}),
    ("augment.policy", {"augment.policy": "aug_mix"}),
    ("augment.crop", {"augment.crop": "random_resized_crop"}),
    ("augment", {"augment.crop": "resize", **JITTER, **BOXES, **MIX}),
    ("augment", {"augment.crop": "resize", "augment.cutmix_minmax": [0.2, 0.8], "augment.repeats": 3}),
    ("loss", {}),
    ("loss", {"loss": "bce", "loss.threshold": 0.2}),
    ("optimiser", {"optimiser.clip_grad": 0.3}),
    ("optimiser", {"optimiser": "lamb"}),
    ("optimiser", {"optimiser": "sgd", "optimiser.clip_grad": 0.3}),
    ("optimiser", {"optimiser": "adagrad", "optimiser.clip_grad": 0.3}),
    ("schedule", {"schedule.epochs": 20, "schedule.warmup_epochs": 2}),
    ("schedule", {"schedule": {"kind": "steps", "epochs": 20, "warmup_epochs": 2, "every": 5}}),
    ("schedule", {"schedule": {"kind": "inverse_sqrt", "epochs": 20, "warmup_epochs": 2}}),
    ("schedule", {"schedule": {"kind": "constant", "epochs": 20, "warmup_epochs": 2}}),
    ("data", {"data.order": "quasi_random"}),
    ("average", {"average": "ema"}),
    ("distillation", {"distillation": {"kind": "soft", "teacher": {"checkpoint": ""}}}),
    ("distillation", {"distillation": {"kind": "hard", "teacher": {"checkpoint": ""}}}),
    ("embedding", {**VIEWS, "embedding": "learnt"}),
    ("embedding", {**VIEWS, "embedding": OTHER}),
    ("evaluation", {"evaluation.retrieval": "nearest"}),
    ("seeds", {}),
    ("precision", {}),
    ("trainable", {}),
]


def members(annotation: Any) -> list[Any]:
    """A union's members, without what is annotated to them."""
    if typing.get_origin(annotation) is Annotated:
        return members(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return [m for part in typing.get_args(annotation) for m in members(part)]
    return [annotation]


def others(value: Any, annotation: Any) -> Iterator[Any]:
    """Values that may take the place of `value`, in the order in which they are tried."""
    for member in members(annotation):
        if typing.get_origin(member) is Literal:
            yield from typing.get_args(member)
        elif isinstance(member, type) and issubclass(member, Part) and "kind" in member.model_fields:
            yield member.model_fields["kind"].default
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value // 2, value * 2, value + 1)
    elif isinstance(value, float):
        yield from (value / 2, value * 2, value + 0.1, value + 1.0)
    elif isinstance(value, tuple):
        for i in range(len(value)):
            yield from ((*value[:i], one, *value[i + 1 :]) for one in others(value[i], type(value[i])))
        yield value[:1]
    elif value is None:
        yield from (1, 2, 0.5, (0.3, 0.6))


def leaves(part: Part, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, value, annotation) of every field, parts that can be exchanged as a whole included."""
    for name, field in type(part).model_fields.items():
        path, value = f"{prefix}{name}", getattr(part, name)
        if isinstance(value, Part):
            if any("kind" in getattr(m, "model_fields", {}) for m in members(field.annotation)):
                yield path, value, field.annotation
            yield from leaves(value, f"{path}.")
        else:
            yield path, value, field.annotation


def changed(base: Recipe, path: str, value: Any, annotation: Any) -> Recipe | None:
    """The first recipe that has another value at `path` and is one."""
    for other in others(value, annotation):
        try:
            found = base.with_({path: other})
        except InterplayError:
            continue
        if found != base:
            return found
    return None


def is_dead(base: Recipe, path: str) -> bool:
    """Whether the path does nothing in this base, as `NOT_ACTIVE` and `SPECIAL` argue."""
    values = flatten(base)
    for start, owners in NOT_ACTIVE.items():
        if path.startswith(start):
            off = not any(values.get(owner) for owner in owners)
            return off or (path == "augment.mix_switch_prob" and not values["augment.mixup"])
    return path == "model.position" and values.get("model.pool.kind") == "class_attention"


def walk(base: Recipe, part: str) -> tuple[int, list[str]]:
    """How many paths of a part were changed, and those whose change was not seen."""
    was, tried, missed = Effects(base), 0, []
    for path, value, annotation in leaves(base):
        ours = path == part or path.startswith(f"{part}.")
        if not ours or any(path.endswith(f".{leaf}") or path == leaf for leaf in ELSEWHERE) or is_dead(base, path):
            continue
        other = changed(base, path, value, annotation)
        tried += other is not None
        if other is not None and not was.differ(other):
            missed.append(path)
    return tried, missed


@pytest.mark.parametrize("changes", MODELS, ids=str)
def test_every_field_of_a_model_is_seen(tiny: Recipe, changes: dict[str, Any]) -> None:
    tried, missed = walk(tiny.with_(changes), "model")
    assert tried >= 1
    assert missed == []


@pytest.mark.parametrize(("part", "changes"), PARTS, ids=str)
def test_every_field_of_a_training_is_seen(tiny: Recipe, part: str, changes: dict[str, Any]) -> None:
    tried, missed = walk(tiny.with_(changes), part)
    assert tried >= 1
    assert missed == []


def test_the_walk_leaves_no_part_out() -> None:
    walked = {part.partition(".")[0] for part, _ in PARTS} | {"model"}
    assert set(Recipe.model_fields) - walked == {"name", "start", "after"}


def test_what_stands_in_files_is_seen(tiny: Recipe, digits_beton: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "clusters.npy", np.zeros(4, dtype=np.int64))
    (tmp_path / "weights.pt").write_bytes(b"weights")
    timm = tiny.with_({"model": {"family": "timm", "name": "resnet18"}, "data.resolution": 32})
    was = Effects(tiny)
    for changes in (
        {"data.dataset": "other.beton"},
        {"data.clusters": {"kind": "file", "file": str(tmp_path / "clusters.npy")}},
        {"start": str(tmp_path / "weights.pt")},
        {"after": tiny.model_dump(mode="json")},
        {"evaluation.also": {"v2": str(digits_beton)}},
        {"model.scale": {"kind": "fixed", "checkpoint": str(tmp_path / "weights.pt")}},
    ):
        assert was.differ(tiny.with_(changes)), changes
    assert Effects(timm).differ(timm.with_({"model.options": {"base_width": 8}}))
