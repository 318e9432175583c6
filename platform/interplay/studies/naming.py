"""How a cell is called where people see it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from interplay.errors import InterplayError
from interplay.recipe import Recipe, difference, flatten
from interplay.report.draw import value_text
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyDefinition
from interplay.study.search.objectives import parse_objectives
from interplay.study.search.population import generation_of
from interplay.tracking.mlflow import Child, StudyRun

_TABLE = re.compile(r"\(thesis ([TFS]\d[\w.]*)\)")
_MARKS = re.compile(r"[\\`*_{}\[\]<>#|~]")


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
    base = definition.base()
    generation = generation_of(recipe, base) if definition.population else 0
    if generation:  # its line is told by their number: MLflow's parameters are of this stage
        recipe = recipe.model_copy(update={"after": base.after, "start": base.start})
    varies = varying(base, recipe)
    places = ((row.label, seed) for row in definition.rows for seed, f in row.cells.items() if f == fingerprint)
    label, seed = next(places, (describe(varies), recipe.seeds.init))
    line = f" · generation {generation}" if definition.population else ""
    name = f"{label} · seed {seed}" if definition.rows else f"{label}{line}"
    # names and paths may change without changing the cell, MLflow's parameters may not: those two are tags
    params = {k: v for k, v in flatten(recipe).items() if k not in ("name", "data.dataset")}
    # a part that was exchanged is a parameter of its own as its kind
    paths = [path if path in params else f"{path}.kind" for path in varies]
    first = [path for path in paths if path in params]
    tags = {
        "interplay.row": label,
        "interplay.seed": str(seed),
        "interplay.varies": ", ".join(varies) or "nothing",
        "interplay.recipe": recipe.name,
        "interplay.dataset": recipe.data.dataset,
        **({"interplay.generation": str(generation)} if definition.population else {}),
        **_table_tag(definition.question),
    }
    changes = "".join(f"\n- `{path}`: {value_text(value)}" for path, value in varies.items())
    return Child(
        fingerprint=fingerprint,
        name=name,
        params={path: params[path] for path in [*first, *(path for path in params if path not in first)]},
        tags=tags,
        varies=tuple(first),
        note=f"Cell `{fingerprint}` of {definition.name}: {_plain(name)}.\n{changes}",
        dataset=recipe.data.dataset,
    )


def study_view(root: Path, definition: StudyDefinition) -> StudyRun:
    """MLflow's runs of the study."""
    base = definition.base()
    tags = {
        "interplay.recipe": base.name,
        "interplay.dataset": base.data.dataset,
        "interplay.metric": definition.metric,
        **({"interplay.space": definition.space} if definition.space else {}),
        **_table_tag(definition.question),
    }
    return StudyRun(
        root,
        definition.name,
        description=f"# {definition.name}\n\n{definition.question}\n\nThe table follows when it ends.\n",
        kind=definition.kind,
        tags=tags,
        metric=definition.metric,
        maximise=parse_objectives(definition.objectives or [definition.metric])[0].maximise,
    )


def _table_tag(question: str) -> dict[str, str]:
    """The table of the thesis that an ablation is: its question names it."""
    found = _TABLE.search(question)
    return {"interplay.thesis_table": found.group(1)} if found else {}


def _plain(name: str) -> str:
    """A person's words that Markdown shall show as they are."""
    return _MARKS.sub(r"\\\g<0>", name)
