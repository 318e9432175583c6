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

SEARCH, ABLATION = "search", "ablation"


@dataclass(frozen=True)
class StudyRow:
    """A named change of an ablation's baseline, with the cells that measure it and the published numbers."""

    label: str
    changes: dict[str, Any]
    cells: dict[int, str]  # seed -> fingerprint
    published: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyDefinition:
    """A named set of cells: those in the Optuna study of a search, or those in the rows of an ablation."""

    name: str
    kind: str
    question: str
    recipe: dict[str, Any]
    dataset: str
    metric: str
    rows: list[StudyRow] = field(default_factory=list)
    space: str = ""

    def base(self) -> Recipe:
        return validate(self.recipe)


def study_directory(root: Path, name: str) -> Path:
    """`root/studies/NAME`.

    Raises:
        InterplayError: if `name` cannot be a folder's name.
    """
    # a quote would end the string in MLflow's search for the study's run
    if not 0 < len(name) <= 100 or set(name) & set("/\\:*?\"'<>|") or name.startswith(".") or not name.isprintable():
        raise InterplayError(
            f"a study cannot be called {name[:100]!r}; use up to 100 letters, digits, '.', '-' and '_'"
        )
    return root / "studies" / name


def write_definition(root: Path, definition: StudyDefinition) -> None:
    """Stores the definition.

    Raises:
        InterplayError: if a study of that name was made from another recipe, space or kind.
    """
    directory = study_directory(root, definition.name)
    if (directory / "study.yaml").is_file():
        _check_same(read_definition(root, definition.name), definition)
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "study.yaml", yaml.safe_dump(asdict(definition), sort_keys=False, allow_unicode=True))


def read_definition(root: Path, name: str) -> StudyDefinition:
    """The stored definition.

    Raises:
        InterplayError: if there is no such study under `root`.
    """
    path = study_directory(root, name) / "study.yaml"
    if not path.is_file():
        names = sorted(p.parent.name for p in (root / "studies").glob("*/study.yaml"))
        hint = closest(name, names) or (f"; there are: {', '.join(names)}" if names else f"; {root} holds none")
        raise InterplayError(f"there is no study {name!r}{hint}")
    tree: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows = [StudyRow(**row) for row in tree["rows"]]
    return StudyDefinition(**{**tree, "rows": rows})


def _check_same(old: StudyDefinition, new: StudyDefinition) -> None:
    if old.kind != new.kind:
        raise InterplayError(f"study {old.name!r} is a {old.kind}; choose another --name for this {new.kind}")
    if old.space != new.space:
        raise InterplayError(f"study {old.name!r} searches {old.space}; choose another --name for {new.space}")
    if changed := difference(old.base(), new.base()):
        paths = ", ".join(changed)
        raise InterplayError(f"study {old.name!r} was made from another recipe ({paths}); choose another --name")
