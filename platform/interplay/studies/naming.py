"""How a cell is called where people see it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe, difference, flatten
from interplay.report.draw import value_text
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition
from interplay.tracking.mlflow import Child


def varying(base: Recipe, recipe: Recipe) -> dict[str, Any]:
    """What `recipe` changes of `base`: dotted path -> value. Another kind's own defaults are left out."""
    kinds: dict[str, Any] = {}
    with_kinds = base
    for path, kind in difference(base, recipe).items():
        if path.endswith(".kind") and kind:
            # a kind without defaults for all of its fields cannot be named alone
            with suppress(InterplayError):
                with_kinds = with_kinds.with_({path.removesuffix(".kind"): kind})
                kinds[path.removesuffix(".kind")] = kind
    return {**kinds, **difference(with_kinds, recipe)}


def describe(varies: dict[str, Any]) -> str:
    """A run's name that says the change: `drop_path 0.2, policy three_augment`."""
    parts = [f"{path.rsplit('.', 1)[-1]} {value_text(value)}" for path, value in varies.items()]
    return ", ".join(parts) or BASELINE


def child_of(definition: StudyDefinition, fingerprint: str, recipe: Recipe) -> Child:
    """A cell as the study's MLflow run shows it, named by its row or by what it changes."""
    varies = varying(definition.base(), recipe)
    places = ((row.label, seed) for row in definition.rows for seed, f in row.cells.items() if f == fingerprint)
    label, seed = next(places, (describe(varies), recipe.seeds.init))
    name = f"{label} · seed {seed}" if definition.rows else label
    tags = {
        "interplay.row": label,
        "interplay.seed": str(seed),
        "interplay.varies": ", ".join(varies) or "nothing",
        "interplay.recipe": recipe.name,
        "interplay.dataset": recipe.data.dataset,
    }
    # names and paths may change without changing the cell, MLflow's parameters may not: those two are tags
    params = {k: v for k, v in flatten(recipe).items() if k not in ("name", "data.dataset")}
    return Child(fingerprint, name, params, tags)
