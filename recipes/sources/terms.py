"""What each term of `thesis.yaml` is in a recipe: the one table that recipes are compared by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from interplay.recipe.catalogue import architecture

Stated = Mapping[str, Any]
"""term -> value, of one procedure for one model and data set."""
Paths = dict[str, Any]
Term = Callable[[Any, Stated], Paths]

AFTER = "after"
"""In comparisons it stands for the procedure of the earlier stage, which a recipe holds as a whole."""


def _at(path: str, names: Mapping[Any, Any] | None = None) -> Term:
    return lambda value, stated: {path: value if names is None else names[value]}


def _optimiser(value: str, stated: Stated) -> Paths:
    kind, _, nesterov = value.partition("_")
    return {"optimiser.kind": kind} | ({"optimiser.nesterov": bool(nesterov)} if kind == "sgd" else {})


def _min_lr(value: float, stated: Stated) -> Paths:
    if stated["lr_schedule"] != "constant":
        return {"schedule.min_lr": value}
    assert value == stated["lr"], "a constant rate is its own floor"
    return {}


def _clip(value: float, stated: Stated) -> Paths:
    """LAMB, as Apex and timm have it, clips at 1.0 by itself, also where the procedure asks for no clipping."""
    own = 1.0 if stated["optimizer"] == "lamb" else None
    return {"optimiser.clip_grad": value or own}


def _off_in_evaluation_mode(path: str) -> Term:
    """Layers that only act in training mode do nothing where a model is fine-tuned in evaluation mode."""
    return lambda value, stated: {path: value if stated.get("model_train_mode", True) else 0.0}


def _average(value: float, stated: Stated) -> Paths:
    if not value:
        return {"average.kind": "none"}
    return {"average.kind": "ema", "average.horizon": stated["batch_size"] / (1 - value)}


def _rrc_scale(value: float, stated: Stated) -> Paths:
    return {"augment.crop.scale": [value, 1.0]} if stated["crop"] == "rrc" else {}


def _of_policy(field: str) -> Term:
    return lambda value, stated: {f"augment.policy.{field}": value} if stated["auto_augment"] == "rand" else {}


def _seed(value: int, stated: Stated) -> Paths:
    return {f"seeds.{kind}": value for kind in ("init", "order", "augment")}


def _teacher(value: str, stated: Stated) -> Paths:
    return {"distillation.teacher.model.name": getattr(architecture(value), "name", value)}


_LEARNT = {
    "grafit": ("neighbours", "likeness"),
    "knn": ("neighbours", "none"),
    "inst": ("none", "likeness"),
    "ce_inst": ("head", "likeness"),
    "ce_triplet": ("head", "triplet"),
    "triplet": ("none", "triplet"),
}
"""Losses of chapter 2: how labels are learnt, and how instances."""


def _loss(value: str, stated: Stated) -> Paths:
    if value not in _LEARNT:
        return {"loss.kind": "ce" if value == "clusterfit" else value}
    labels, instance = _LEARNT[value]
    return {"embedding.kind": "learnt", "embedding.labels.kind": labels, "embedding.instance.kind": instance}


def _of_embedding(field: str) -> Term:
    return lambda value, stated: {f"embedding.{field}": value} if stated["loss"] in _LEARNT else {}


def _projector_dim(value: int, stated: Stated) -> Paths:
    return {} if stated["projector"] == "none" else {"embedding.projector.width": value}


def _by_neighbours(stated: Stated) -> bool:
    return _LEARNT.get(stated["loss"], ("", ""))[0] == "neighbours"


def _memory_momentum(value: float, stated: Stated) -> Paths:
    return {"embedding.labels.momentum": value} if _by_neighbours(stated) else {}


def _temperature(value: float, stated: Stated) -> Paths:
    own = {"embedding.labels.sigma": value} if _by_neighbours(stated) else {}
    return {"evaluation.retrieval.sigma": value, **own}


_CROPS = {"rrc": "random_resized_crop", "src": "simple_random_crop"}
_POLICIES = {
    "none": "none",
    "rand": "rand_augment",
    "three_augment": "three_augment",
    "adapt": "rand_augment",
    "autoaugment": "auto_augment",
    "trivial": "trivial_augment",
}
_SCHEDULES = {"cosine": "cosine", "step": "steps", "constant": "constant"}

TERMS: Mapping[str, Term] = MappingProxyType(
    {
        "dataset": _at("data.dataset"),
        "resolution": _at("data.resolution"),
        "interpolation": _at("data.interpolation"),
        "batch_size": _at("data.batch_size"),
        "eval_crop_ratio": _at("evaluation.crop_ratio"),
        "epochs": _at("schedule.epochs"),
        "lr_schedule": _at("schedule.kind", _SCHEDULES),
        "lr_step_epochs": _at("schedule.every"),
        "lr_step_factor": _at("schedule.factor"),
        "min_lr": _min_lr,
        "warmup_lr": _at("schedule.warmup_lr"),
        "warmup_epochs": _at("schedule.warmup_epochs"),
        "optimizer": _optimiser,
        "lr": _at("optimiser.lr"),
        "weight_decay": _at("optimiser.weight_decay"),
        "opt_eps": _at("optimiser.eps"),
        "grad_clip": _clip,
        "loss": _loss,
        "projector": _of_embedding("projector.kind"),
        "projector_dim": _projector_dim,
        "inst_views": _at("augment.views"),
        "inst_weight": _of_embedding("instance.weight"),
        "target_ema": _of_embedding("instance.target_decay"),
        "memory_momentum": _memory_momentum,
        "knn_temperature": _temperature,
        "knn_k": _at("evaluation.retrieval.neighbours"),
        "label_smoothing": _at("loss.smoothing"),
        "bce_target_threshold": _at("loss.threshold"),
        "dropout": _off_in_evaluation_mode("model.dropout"),
        "drop_path": _off_in_evaluation_mode("model.drop_path"),
        "drop_path_mode": _at("model.drop_path_rule"),
        "layerscale_init": _at("model.scale.init"),
        "distillation_token": _at("model.second_token", {True: "distillation", False: "none"}),
        "ema_decay": _average,
        "repeated_aug": _at("augment.repeats"),
        "hflip": _at("augment.flip"),
        "crop": _at("augment.crop.kind", _CROPS),
        "rrc_scale_min": _rrc_scale,
        "auto_augment": _at("augment.policy.kind", _POLICIES),
        "ra_magnitude": _of_policy("magnitude"),
        "ra_std": _of_policy("std"),
        "color_jitter": _at("augment.color_jitter"),
        "mixup_alpha": _at("augment.mixup"),
        "cutmix_alpha": _at("augment.cutmix"),
        "mix_prob": _at("augment.mix_prob"),
        "mix_switch_prob": _at("augment.mix_switch_prob"),
        "erasing_prob": _at("augment.erasing"),
        "distillation": _at("distillation.kind"),
        "distill_tau": _at("distillation.tau"),
        "distill_lambda": _at("distillation.weight"),
        "teacher": _teacher,
        "teacher_resolution": _at("distillation.teacher_resolution"),
        "init_from": _at(AFTER),
        "trainable": _at("trainable", {"all": "all", "attn_only": "attention"}),
        "seed": _seed,
        "amp": _at("precision", {True: "auto", False: "fp32"}),
    }
)
"""Term -> the dotted paths of a recipe and their values."""

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "lr_base": "lr holds it times batch_size / lr_base_batch",
        "lr_base_batch": "see lr_base",
        "wd_skip_1d": "built in: weight decay leaves out biases, norms, scales, tokens and position embeddings",
        "pos_embed_interp": "built in: position embeddings are fitted with a bicubic filter",
        "head_reset": "built in: a head for another number of classes starts anew",
        "model_train_mode": "false is drop path and dropout of 0",
        "sup_views": "1: labels are learnt from the first view",
        "clusters": "how many data.clusters.file has: interplay cluster --clusters",
        "bn_relu_mlp_head": "an alternative to the linear head, which is built",
    }
)
"""Terms of built procedures that are no path, and why."""

UNBUILT_TERMS = frozenset(
    {
        "beam",
        "decoder",
        "decoder_dim",
        "eval_resolution",
        "iterations",
        "task",
        "warmup_steps",
    }
)
"""Terms that only procedures without a recipe have."""

_SCALED = ("resmlp", "patchconvnet", "vit")
LACKING: Mapping[str, tuple[tuple[str, ...], str]] = MappingProxyType(
    {
        "model.dropout": (("vit",), "only ViTs have dropout; elsewhere it is off"),
        "model.second_token": (("vit",), "only ViTs have a second token"),
        "model.scale.init": (_SCALED, "timm's models are as their authors have them"),
        "model.drop_path_rule": (_SCALED, "timm's models have their own rule, linear"),
    }
)
"""Paths that only some families have, and what holds in the others."""


def expected(stated: Stated, family: str) -> dict[str, tuple[Any, str]]:
    """dotted path -> (value, term) that a recipe with a model of `family` must have."""
    found = {
        path: (value, term)
        for term, given in stated.items()
        if term in TERMS
        for path, value in TERMS[term](given, stated).items()
    }
    return {path: pair for path, pair in found.items() if path not in LACKING or family in LACKING[path][0]}
