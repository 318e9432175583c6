"""The procedures of `thesis.yaml`, as they are stated."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml

from interplay.errors import InterplayError, closest

NOT_BUILT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("hist_alexnet", "hist_googlenet", "hist_resnet"),
            "history: fewer settings are stated than a training needs",
        ),
        "grafit_finetune_fixres": "starts from Grafit's weights; resolution, CutMix and FixRes stage are not stated",
        "resmlp_dino": "self-supervised (DINO): another loss, crops and teacher, of which few settings are stated",
        "resmlp_dino_ft": "starts from resmlp_dino",
        "resmlp_wmt": "machine translation: sequences, not images",
        "resmlp_ade20k": "segmentation: another task, head and data",
        "upernet_160k": "segmentation: another task, head and data",
        "maskrcnn_3x": "detection: another task, head and data",
    }
)
"""Procedures without a recipe, and why."""


@dataclass(frozen=True)
class Conflict:
    """Sources that disagree about `key`: `choice` is what we took, `says` what each of them has."""

    key: str
    choice: object
    says: Mapping[str, str]
    why: str


@dataclass(frozen=True)
class Procedure:
    """One training procedure in the thesis's terms.

    Attributes:
        name: its key in `thesis.yaml`.
        title: for people.
        tables: where the thesis has it.
        values: term -> value; None is not stated, or stated for each model or data set.
        sources: term -> where the value is from.
        per_model: architecture -> terms that differ.
        per_dataset: data set -> terms that differ.
        conflicts: where sources disagree.
        unspecified: what none of them states.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    per_model: Mapping[str, Mapping[str, Any]]
    per_dataset: Mapping[str, Mapping[str, Any]]
    conflicts: tuple[Conflict, ...]
    unspecified: tuple[str, ...]

    def stated(self, model: str = "", dataset: str = "") -> dict[str, Any]:
        """term -> value for an architecture and a data set; terms without a value are left out."""
        own = {**self.values, **self.per_model.get(model, {}), **self.per_dataset.get(dataset, {})}
        return {term: value for term, value in own.items() if value is not None}


@functools.cache
def procedures() -> Mapping[str, Procedure]:
    """Every procedure of the thesis."""
    text = resources.files("recipes").joinpath("thesis.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tree = yaml.load(text, Loader=loader)["procedures"]
    return MappingProxyType({name: _procedure(name, facts) for name, facts in tree.items()})


def procedure(name: str) -> Procedure:
    """The procedure `name`.

    Raises:
        InterplayError: if there is none, naming the closest.
    """
    if name not in procedures():
        raise InterplayError(f"the thesis has no procedure {name!r}{closest(name, procedures()) or ''}")
    return procedures()[name]


def _procedure(name: str, facts: dict[str, Any]) -> Procedure:
    return Procedure(
        name=name,
        title=facts["title"],
        tables=tuple(facts["tables"]),
        values={term: value for term, (value, _) in facts["hp"].items()},
        sources={term: source for term, (_, source) in facts["hp"].items()},
        per_model=facts.get("per_model", {}),
        per_dataset=facts.get("per_dataset", {}),
        conflicts=tuple(_conflict(dict(one)) for one in facts.get("conflicts", ())),
        unspecified=tuple(facts.get("unspecified", ())),
    )


def _conflict(one: dict[str, Any]) -> Conflict:
    key, choice, why = one.pop("key"), one.pop("choice"), one.pop("why", "")
    return Conflict(key=key, choice=choice, says=one, why=why)
