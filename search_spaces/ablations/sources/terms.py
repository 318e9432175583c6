"""What a line of a table changes in our recipes: `hp.*`, `arch.*`, `eval.*` and `ft.*` as dotted paths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from interplay.recipe import AdamW, Lamb, Recipe, Sgd, ThreeAugment, TimmModel, Weights, flatten
from interplay.recipe.catalogue import ablated, architecture
from interplay.study.ablation import Given
from recipes.sources.stages import HARD, SOFT
from recipes.sources.terms import TERMS
from recipes.sources.why import same
from search_spaces.ablations.sources.recipes import NotHere, first_stage

Paths = dict[str, Any]

TUNED_DROP_PATH = {12: 0.05, 18: 0.1, 24: 0.2, 36: 0.25, 48: 0.3}
"""Depth -> the tuned baseline's rate in T3.11; at 48 by the rule of S3.5.2. For lines whose own is not printed."""
_OPERATIONS = {"gray": "grayscale", "solar": "solarise", "blur": "blur"}
_HEADS = {"class": "first", "distill": "second"}
_NO_TRAINING = {
    "eval.pair": "compares the answers of two models, which is no training",
    "eval.probe": "compares the tokens of a model, which is no training",
}
_OTHER_SETS = {"real", "v2"}


def under(changes: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What `changes` has under `prefix`, without it."""
    return {key.removeprefix(prefix): value for key, value in changes.items() if key.startswith(prefix)}


def training(changes: Mapping[str, Any], recipe: Recipe, stated: Mapping[str, Any], model: str) -> Paths:
    """Dotted paths of `recipe` that terms of a training (`hp.*` or `ft.*`, without the prefix) change.

    Args:
        changes: term -> value.
        recipe: that is changed; what it has already is left out.
        stated: term -> value of the recipe's procedure.
        model: of the catalogue; which one an earlier stage has.
    """
    known = {**stated, "batch_size": recipe.data.batch_size, **changes}
    paths: Paths = {}
    for term, value in changes.items():
        if term in _OWN:
            paths |= _OWN[term](value, recipe, model)
        else:
            paths |= TERMS[term](value, known)
    return effective(paths, recipe)


def effective(paths: Paths, recipe: Recipe) -> Paths:
    """`paths` without what the recipe has already; a part of another kind is set as a whole."""
    have, found = flatten(recipe), dict(paths)
    for path in [p for p in paths if p.endswith((".kind", ".family"))]:
        part = path.rpartition(".")[0]
        fields = [p for p in paths if p.startswith(f"{part}.")]
        if have.get(path) != paths[path]:
            found[part] = {p.removeprefix(f"{part}."): found.pop(p) for p in fields}
    return {p: v for p, v in found.items() if p not in have or not same(_plain(v), have[p])}


def structure(changes: Mapping[str, Any], recipe: Recipe) -> Paths:
    """Dotted paths of the model that architectural terms (`arch.*`, without the prefix) change."""
    left = dict(changes)
    depth = left.get("depth", getattr(recipe.model, "depth", 0))
    kept = left.get("residual_init") == "trained_values"
    if kept:
        for term in ("residual_scale", "residual_init", "residual_trainable"):
            left.pop(term, None)
    node = ablated(recipe.model, left)
    if type(node) is not type(recipe.model):
        assert isinstance(recipe.model, TimmModel)
        return {"model": node.model_copy(update={"drop_path": recipe.model.drop_path})}
    paths = {f"model.{name}": value for name, value in node if value != getattr(recipe.model, name)}
    if kept:
        what = f"the cell of the row with learned LayerScale at depth {depth}"
        paths["model.scale"] = {"kind": "fixed", "checkpoint": Given(f"layerscale_d{depth}", what)}
    return paths


def evaluated(changes: Mapping[str, Any], recipe: Recipe) -> Paths:
    """Dotted paths of what is measured (`eval.*`, with the prefix).

    Raises:
        NotHere: if it is not what a training measures.
    """
    paths: Paths = {}
    for key, why in _NO_TRAINING.items():
        if key in changes:
            raise NotHere(why)
    if (other := changes.get("eval.dataset")) in _OTHER_SETS:
        raise NotHere(f"is the baseline's on a second test set, which the baseline shows with --give {other}=PATH")
    side, own = changes.get("eval.resolution"), recipe.data.resolution
    if side is not None and side != own:
        raise NotHere(f"is measured at {side} after training at {own}: interplay evaluate CELL --resolution {side}")
    if (ratio := changes.get("eval.crop_ratio")) is not None:
        paths["evaluation.crop_ratio"] = ratio
    if (head := _HEADS.get(changes.get("eval.head", ""))) and getattr(recipe.model, "second_token", "none") != "none":
        paths["model.fusion"] = head
    return effective(paths, recipe)


# ------------------------------------------------------------------ terms with more to them than a path
def _drop_path(value: float | None, recipe: Recipe, model: str) -> Paths:
    return {"model.drop_path": value}


def _policy(value: str, recipe: Recipe, model: str) -> Paths:
    """3-Augment jitters colours (S6.2); the other policies do not."""
    jitter: Paths = {"augment.color_jitter": 0.0}
    if value == "three_augment":
        jitter = {"augment.color_jitter": 0.3, "augment.jitter_order": "random"}
    kind = TERMS["auto_augment"](value, {})["augment.policy.kind"]
    return {**jitter, "augment.policy.kind": kind}


def _operations(value: list[str], recipe: Recipe, model: str) -> Paths:
    if not value:
        return {"augment.policy.kind": "none"}
    chosen = {_OPERATIONS[name] for name in value}
    ops = [name for name in ThreeAugment().ops if name in chosen]  # one order, so that equal sets are equal cells
    return {"augment.policy.kind": "three_augment", "augment.policy.ops": ops}


def _optimiser(value: str, recipe: Recipe, model: str) -> Paths:
    """T3.8's SGD: neither rate nor weight decay are printed; those of a ResNet's training are assumed."""
    kinds = {"sgd": Sgd(lr=0.1 * recipe.data.batch_size / 256, weight_decay=1e-4), "adamw": AdamW(), "lamb": Lamb()}
    return {"optimiser": kinds[value]}


def _distillation(value: str, recipe: Recipe, model: str) -> Paths:
    return {} if recipe.distillation.kind == value else {"distillation": {"hard": HARD, "soft": SOFT}[value]}


def _teacher(value: str, recipe: Recipe, model: str) -> Paths:
    teacher = Weights(checkpoint="", model=architecture(value))
    have = getattr(recipe.distillation, "teacher", HARD.teacher)
    return {} if have == teacher else {"distillation.teacher": teacher}


def _earlier(value: str, recipe: Recipe, model: str) -> Paths:
    return {"after": first_stage(value, model)}


_OWN: Mapping[str, Callable[[Any, Recipe, str], Paths]] = {
    "drop_path": _drop_path,
    "auto_augment": _policy,
    "three_aug_ops": _operations,
    "optimizer": _optimiser,
    "distillation": _distillation,
    "teacher": _teacher,
    "init_from": _earlier,
}


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(mode="json")
