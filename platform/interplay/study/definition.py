"""What a study is, as stored in `studies/NAME/study.yaml`: enough to report it without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from interplay.atomic import write_text
from interplay.errors import InterplayError, closest
from interplay.recipe import Recipe, difference
from interplay.recipe.changes import validate
from interplay.study.evidence.stats import MARGIN

SEARCH, ABLATION = "search", "ablation"


@dataclass(frozen=True)
class StudyRow:
    """A named change of an ablation's baseline, with the cells that measure it and the published numbers."""

    label: str
    changes: dict[str, Any]
    cells: dict[int, str]  # seed -> fingerprint
    published: dict[str, float] = field(default_factory=dict)
    published_std: dict[str, float] = field(default_factory=dict)
    expects_failure: str = ""  # how it failed where it was published
    not_run: str = ""  # why it has no cells


@dataclass(frozen=True)
class StudyDefinition:
    """A named set of cells: those in the Optuna study of a search, or those in the rows of an ablation.

    Of an ablation, `margin` is the difference that matters, `looks` are the planned numbers of seeds if seeds are
    added where they are needed (see `evidence.looks`), and `looked` those it was run with if they were given.
    """

    name: str
    kind: str
    question: str
    recipe: dict[str, Any]
    dataset: str
    metric: str
    rows: list[StudyRow] = field(default_factory=list)
    space: str = ""
    scale: dict[str, float] = field(default_factory=dict)
    looks: list[int] = field(default_factory=list)
    looked: list[int] = field(default_factory=list)
    margin: float = MARGIN
    every_stage: bool = False  # each seed has earlier stages of its own
    objectives: list[str] = field(default_factory=list)  # of a search, as `NAME:max`; none is the metric alone
    constraints: list[str] = field(default_factory=list)
    population: int = 0  # of a search: cells of a generation

    def base(self) -> Recipe:
        return validate(self.recipe)


def study_directory(root: Path, name: str) -> Path:
    """`root/studies/NAME`.

    Raises:
        InterplayError: if `name` cannot be a folder's name.
    """
    # a quote would end the string in MLflow's search for the study's run; file systems count bytes
    length = 0 < len(name) <= 100 and len(name.encode()) <= 200
    if not length or set(name) & set("/\\:*?\"'<>|") or name.startswith(".") or not name.isprintable():
        raise InterplayError(
            f"a study cannot be called {name[:100]!r}; use up to 100 letters, digits, '.', '-' and '_'"
        )
    return root / "studies" / name


def write_definition(root: Path, definition: StudyDefinition) -> None:
    """Stores the definition.

    Raises:
        InterplayError: if a study of that name was made from another recipe, space or kind.
    """
    check_definition(root, definition)
    directory = study_directory(root, definition.name)
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "study.yaml", yaml.safe_dump(asdict(definition), sort_keys=False, allow_unicode=True))


def check_definition(root: Path, definition: StudyDefinition) -> None:
    """Refuses, before anything is written, what `write_definition` would refuse.

    Raises:
        InterplayError: if a study of that name was made from another recipe, space or kind, or its file is damaged.
    """
    if (study_directory(root, definition.name) / "study.yaml").is_file():
        _check_same(read_definition(root, definition.name), definition)


def read_definition(root: Path, name: str) -> StudyDefinition:
    """The stored definition.

    Raises:
        InterplayError: if there is no such study under `root`, or its file is damaged.
    """
    path = study_directory(root, name) / "study.yaml"
    if not path.is_file():
        names = sorted(p.parent.name for p in (root / "studies").glob("*/study.yaml"))
        hint = closest(name, names) or (f"; there are: {', '.join(names)}" if names else f"; {root} holds none")
        raise InterplayError(f"there is no study {name!r}{hint}")
    try:
        tree: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = [StudyRow(**row) for row in tree["rows"]]
        return StudyDefinition(**{**tree, "rows": rows})
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InterplayError(
            f"{path} is damaged ({reason}); remove the folder {path.parent} and run the study again: its finished "
            "cells are kept"
        ) from None


def _check_same(old: StudyDefinition, new: StudyDefinition) -> None:
    if old.kind != new.kind:
        raise InterplayError(f"study {old.name!r} is a {old.kind}; choose another --name for this {new.kind}")
    if old.space != new.space:
        raise InterplayError(f"study {old.name!r} searches {old.space}; choose another --name for {new.space}")
    if (before := old.objectives or [f"{old.metric}:max"]) != (new.objectives or [f"{new.metric}:max"]):
        raise InterplayError(
            f"study {old.name!r} optimises {', '.join(before)}; choose another --name for other ones"
        )
    if old.population != new.population:
        had = f"--population {old.population}" if old.population else "no --population"
        raise InterplayError(f"study {old.name!r} has {had}; keep it, or choose another --name")
    if changed := difference(old.base(), new.base()):
        paths = ", ".join(changed)
        raise InterplayError(f"study {old.name!r} was made from another recipe ({paths}); choose another --name")
    if old.kind == ABLATION:
        _check_same_looks(old, new)
        if old.every_stage != new.every_stage:
            how = "with" if old.every_stage else "without"
            raise InterplayError(f"study {old.name!r} was run {how} --seed-every-stage; choose another --name")


def _check_same_looks(old: StudyDefinition, new: StudyDefinition) -> None:
    """A plan made after looking at the numbers is no plan: p values computed by it would be wrong."""
    fix = "choose another --name (finished cells are kept and shared)"
    if new.looks and not old.looks:
        raise InterplayError(f"study {old.name!r} was run with given seeds; for --seeds auto {fix}")
    looks = ", ".join(map(str, old.looks))
    if old.looks and not new.looks:
        raise InterplayError(f"study {old.name!r} looks at {looks} seeds; run it with --seeds auto, or {fix}")
    if old.looks != new.looks:
        raise InterplayError(f"study {old.name!r} looks at {looks} seeds; leave out --max-seeds, or {fix}")
    if old.looks and old.margin != new.margin:
        raise InterplayError(f"study {old.name!r} has the margin {old.margin:g}; leave out --margin, or {fix}")
