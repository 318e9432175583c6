"""Tables of chapter 2 as ablations: lines of one training are one row, and its metrics have our names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from interplay.recipe import ByHead, Constant, LearntEmbedding, NoLabels, Recipe, Triplet, find_recipe
from interplay.study.ablation import BASELINE, Ablation, Given, Row

RANKS = ("species", "genus", "family", "order", "class", "phylum", "kingdom")
"""Label levels of iNaturalist, the finest first."""

_RECIPES = {"grafit_ce_baseline": "baseline", "grafit_inst_only": "inst_only", "grafit_ce_inst": "ce_inst"}
"""Procedures whose recipes in `recipes/grafit.py` have other names."""
_PROBES: Mapping[str, tuple[str, ...]] = {"T2.1": ("separability",), "T2.2": ("linear",)}
"""What is fitted to the frozen embeddings after the last epoch."""
_NOTES = {
    "T2.1": "Shares of random labels that a linear classifier separates are test/separability",
    "T2.2": "Linear classifiers for the fine labels are test/linear_top1",
    "T2.8": "Rankings of Grafit trained on coarse labels are conditioned on them; T2_8_ft is fine-tuned",
    "T2.13": "What is fine-tuned afterwards is in the tables of its name with _ft",
}
_UNTRAINED: Mapping[str, Any] = {"optimiser.lr": 0.0, "schedule": Constant(epochs=1, warmup_epochs=0.0)}
"""A network with the weights it begins with; its batch norms have seen the data."""
TUNED = "ft_top1"
"""What is printed of trainings that are fine-tuned afterwards: `fine_tuned` makes tables of it."""
_METRICS = {"train_top1_random40": "separability", "top1": "linear_top1", "map": "map", "knn_top1": "knn_top1"}


@dataclass(frozen=True)
class Line:
    """One line as it is printed, see `chapter2.yaml`."""

    id: str
    label: str
    changes: Mapping[str, Any]
    published: Mapping[str, float]
    std: Mapping[str, float] = field(default_factory=dict)
    rerun: bool = True


@dataclass(frozen=True)
class Table:
    """A table; one with lines of several data sets is an ablation for each of them."""

    id: str
    title: str
    kind: str
    procedure: str
    lines: tuple[Line, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """In the order of their lines; one empty name where lines name none."""
        return tuple(dict.fromkeys(str(line.changes.get("data.dataset", "")) for line in self.lines))


@functools.cache
def tables() -> Mapping[str, Table]:
    """Every table of `chapter2.yaml` by its id."""
    text = resources.files("search_spaces.ablations.sources").joinpath("chapter2.yaml").read_text(encoding="utf-8")
    tree = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    found = {}
    for name, facts in tree.items():
        lines = tuple(Line(**line) for line in facts.pop("rows"))
        found[name] = Table(id=name, lines=lines, **facts)
    return MappingProxyType(found)


def ablation(table: Table, dataset: str, baseline: Recipe | None = None) -> Ablation:
    """The lines of `table` on `dataset`, one row for each training.

    Args:
        table: of chapter 2.
        dataset: one of its data sets.
        baseline: what its procedures are done to, instead of the thesis's data, model and schedule.
    """
    rows: dict[str, Row] = {}
    keys: dict[str, str] = {}
    for line in table.lines:
        if line.changes.get("data.dataset", "") != dataset:
            continue
        row = Row(line.label, _clusters(table, line), _published(line), published_std=_std(line))
        if reason := _why_not(table, line):
            rows[line.label] = replace(row, changes={}, not_run=reason)
            continue
        row = replace(row, recipe=_recipe(table, line, dataset, baseline))
        key = repr((row.changes, row.recipe.model_copy(update={"name": ""})))  # type: ignore[union-attr]
        if key in keys:  # what is measured differs, not what is trained
            known = rows[keys[key]]
            published = {**known.published, **row.published}
            std = {**known.published_std, **row.published_std}
            rows[keys[key]] = replace(known, published=published, published_std=std)
        else:
            keys[key], rows[line.label] = line.label, row
    first = next(row for row in rows.values() if isinstance(row.recipe, Recipe) and not row.changes)
    note = f" {_NOTES[table.id]}." if table.id in _NOTES else ""
    return _compared(table, table.title, note, first, [row for row in rows.values() if row is not first])


def fine_tuned(table: Table, dataset: str, baseline: Recipe | None = None) -> Ablation:
    """The lines of `table` that are fine-tuned after their training, each on the labels that it is tested on.

    All weights of the trunk are, and the projector is left out: Grafit's transfer (S2.4.6), which states neither
    weight decay nor augmentation. With a `baseline` the rate and epochs of both stages are the baseline's, as the
    thesis's 240 epochs at 0.01 are of its own first stage.

    Args:
        table: of chapter 2, with `ft_top1`.
        dataset: one of its data sets.
        baseline: what its procedures are done to, instead of the thesis's data, model and schedule.
    """
    rows = []
    for line in table.lines:
        if TUNED not in line.published or line.changes.get("data.dataset", "") != dataset:
            continue
        first = _recipe(table, line, dataset, baseline)
        published, std = ({"top1": given[TUNED]} if TUNED in given else {} for given in (line.published, line.std))
        rows.append(Row(line.label, {}, published, recipe=_tuned(first, line, baseline), published_std=std))
    return _compared(table, f"{table.title}, fine-tuned", "", rows[0], rows[1:])


def _compared(table: Table, title: str, note: str, first: Row, others: list[Row]) -> Ablation:
    """The ablation of `others` against `first`, which has a recipe."""
    assert isinstance(first.recipe, Recipe)
    return Ablation(
        question=f"{title} (thesis {table.id}). The {BASELINE} is {first.label!r}.{note}",
        rows=others,
        published=first.published,
        published_std=first.published_std,
        baseline=first.recipe,
        baseline_label=first.label,
        kind=table.kind,
        dataset=first.recipe.data.dataset,
    )


def _tuned(first: Recipe, line: Line, baseline: Recipe | None) -> Recipe:
    """The second stage of a line."""
    tested = {"coarse": 1, "fine": 0}[line.changes.get("eval.labels", "fine")]
    changes: dict[str, Any] = {
        "after": first,
        "name": f"{first.name}, fine-tuned",
        "embedding": "none",
        "evaluation.retrieval": "none",
        "augment.views": 1,
        "data.level": tested,
    }
    if baseline is None:
        transfer = find_recipe("transfer.resnet50_cars")
        changes |= {"optimiser": transfer.optimiser, "schedule": transfer.schedule, "augment": transfer.augment}
        changes["data.batch_size"] = transfer.data.batch_size
    return first.with_(changes)


def _procedure(table: Table, line: Line) -> str:
    return str(line.changes.get("recipe", table.procedure))


def _why_not(table: Table, line: Line) -> str:
    """Why a line is not trained; empty if it is."""
    if not line.rerun:
        return "published elsewhere"
    unlabelled = line.changes.get("data.train_level") == "none"
    if unlabelled and _procedure(table, line) in ("grafit_ce_baseline", "clusterfit_plus"):
        return "is an untrained network"
    return ""


def _clusters(table: Table, line: Line) -> dict[str, Any]:
    """ClusterFit's labels come from a model that was trained on the line's labels."""
    if _procedure(table, line) != "clusterfit_plus":
        return {}
    level = str(line.changes.get("data.train_level", "coarse"))
    what = f"what interplay cluster makes of a classifier of the {level} labels"
    return {"data.clusters": {"kind": "file", "file": Given(f"clusters_{level}", what)}}


def _recipe(table: Table, line: Line, dataset: str, baseline: Recipe | None) -> Recipe:
    procedure = _procedure(table, line)
    cifar = dataset == "cifar100" or table.id == "T2.11"
    suffix = "_cifar100" if cifar and procedure != "granularity_probe" else ""
    recipe = find_recipe(f"grafit.{_RECIPES.get(procedure, procedure)}{suffix}")
    changes = {**_losses(line.changes.get("hp.loss"), procedure)}
    if probes := _PROBES.get(table.id):
        changes["evaluation.retrieval.probes"] = probes
    if (weight := line.changes.get("hp.inst_weight")) is not None:
        changes["embedding.instance.weight"] = weight
    if procedure != "clusterfit_plus":
        changes |= _level(line.changes)
    if dataset.startswith("inat"):
        changes["data.dataset"] = dataset
    if baseline is not None:
        changes |= {"data.dataset": baseline.data.dataset}
        recipe = recipe.model_copy(update=_of(baseline, recipe))
    if line.changes.get("hp.loss", "") is None:
        changes |= _UNTRAINED
    return recipe.with_({**changes, "name": f"{recipe.name}, {line.label}"})


def _of(baseline: Recipe, recipe: Recipe) -> dict[str, Any]:
    """The scale of `baseline`: everything but what the losses of chapter 2 are made of."""
    augment = baseline.augment.model_copy(update={"views": recipe.augment.views, "repeats": 1})
    data = baseline.data.model_copy(update={"level": recipe.data.level, "clusters": recipe.data.clusters})
    kept = {name: getattr(baseline, name) for name in ("model", "optimiser", "schedule", "precision", "seeds")}
    evaluation = baseline.evaluation.model_copy(update={"retrieval": recipe.evaluation.retrieval})
    return {**kept, "augment": augment, "data": data, "evaluation": evaluation}


def _losses(loss: str | None, procedure: str) -> dict[str, Any]:
    if procedure != "granularity_probe":
        return {}  # the recipe of the line's procedure has its loss
    if loss in ("ce", None):
        return {"embedding": "none", "augment.views": 1}
    labels = NoLabels() if loss == "triplet" else ByHead()
    embedding = find_recipe("grafit.granularity_probe").embedding
    assert isinstance(embedding, LearntEmbedding)
    return {"embedding": embedding.model_copy(update={"labels": labels, "instance": Triplet()})}


def _level(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Trained on fine labels, or on a rank; `none` is one label for all."""
    if "data.train_labels" in changes:
        return {"data.level": {"fine": 0, "coarse": 1}[changes["data.train_labels"]]}
    rank = changes.get("data.train_level")
    if rank is None:
        return {}
    return {"data.level": None if rank == "none" else RANKS.index(rank)}


def _published(line: Line) -> dict[str, float]:
    return {_metric(line, name): value for name, value in line.published.items() if name != TUNED}


def _std(line: Line) -> dict[str, float]:
    return {_metric(line, name): value for name, value in line.std.items() if name != TUNED}


def _metric(line: Line, name: str) -> str:
    """Our name: `knn_kingdom` is `knn_top1_level6`, mAP of a conditioned ranking is `map_coarse` or `map_oracle`."""
    kind, _, rank = name.partition("_")
    if rank in RANKS:
        level = RANKS.index(rank)
        return f"{'knn_top1' if kind == 'knn' else 'map'}{f'_level{level}' if level else ''}"
    condition = line.changes.get("eval.conditioning", "none")
    ours = line.changes.get("recipe") in ("grafit", "grafit_fc")
    if ours and line.changes.get("data.train_labels") != "fine" and line.id.startswith(("T2.4.", "T2.8.")):
        condition = "coarse"  # printed so, see T2.7
    if name == "map" and condition != "none":
        return f"map_{condition}"
    if name == "train_top1_random40" and condition != "none":
        return f"separability_{condition}"
    if line.changes.get("eval.labels") == "coarse" and line.changes.get("data.dataset") != "inat18":
        return f"{_METRICS.get(name, name)}_level1"
    return _METRICS.get(name, name)
