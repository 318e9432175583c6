"""Further test sets of a recipe: what must hold of them before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interplay.data.manifest import Manifest
from interplay.errors import InterplayError
from interplay.recipe.part import short_digest
from interplay.recipe.tree import OtherSet, Recipe

NO_LABEL = -1


def check_other_sets(recipe: Recipe, trained_on: Manifest) -> None:
    """Refuses further test sets (`evaluation.also`) that could not be measured at the end.

    Raises:
        InterplayError: if one is missing, damaged or another than when the recipe was resolved, or has classes
            that are not trained.
    """
    from interplay.data.verify import open_checked  # FFCV

    for name, other in recipe.evaluation.also:
        path = Path(other.dataset)
        manifest, _ = open_checked(path)
        if manifest.digest != other.digest:
            raise _changed(name, path)
        class_map(name, manifest, trained_on)
        if other.right_labels is not None:
            read_right(name, other, measured(manifest), len(trained_on.classes[0]))


def measured(manifest: Manifest) -> int:
    """How many of its samples are measured: those of its test split, or all if it has none."""
    return manifest.counts["test"] or sum(manifest.counts.values())


def class_map(name: str, other: Manifest, trained_on: Manifest) -> NDArray[np.int64]:
    """[K'] the trained class of each class of another data set, by name: folders may be sorted in another way.

    Raises:
        InterplayError: if a class is not trained.
    """
    known = {one: number for number, one in enumerate(trained_on.classes[0])}
    strange = [one for one in other.classes[0] if one not in known]
    if strange:
        raise InterplayError(
            f"evaluation.also.{name}: class {strange[0]!r} ({len(strange)} such) is none of the "
            f"{len(known)} that are trained, as {next(iter(known))!r}; write the data set with their names"
        )
    return np.array([known[one] for one in other.classes[0]], dtype=np.int64)


def read_right(name: str, other: OtherSet, samples: int, classes: int) -> NDArray[np.int64]:
    """[N, M] right labels of each of `samples` images; rows end with `NO_LABEL`.

    Raises:
        InterplayError: if the file does not belong to these images, or has changed.
    """
    assert other.right_labels is not None
    path = Path(other.right_labels)
    right = read_right_labels(path)
    if short_digest(path) != other.labels_digest:
        raise _changed(name, path)
    beyond = [position for position in right if not 0 <= position < samples]
    wrong = [label for labels in right.values() for label in labels if not 0 <= label < classes]
    if beyond or wrong:
        what = (
            f"position {beyond[0]}, outside 0..{samples - 1}" if beyond else f"label {wrong[0]} of {classes} classes"
        )
        raise InterplayError(f"evaluation.also.{name}: {path} has {what}; give the labels of this data set")
    if not any(right.values()):
        raise InterplayError(f"evaluation.also.{name}: {path} has no labels; its keys are positions in the split")
    table = np.full((samples, max(map(len, right.values()))), NO_LABEL, dtype=np.int64)
    for position, labels in right.items():
        table[position, : len(labels)] = labels
    return table


def read_right_labels(path: Path) -> dict[int, list[int]]:
    """A JSON file of right labels: a list with one list for each sample, or positions -> lists.

    Raises:
        InterplayError: if it is neither.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InterplayError(f"there is no file {path}") from None
    except ValueError as error:
        raise InterplayError(f"{path} is not JSON: {error}") from None
    pairs = enumerate(content) if isinstance(content, list) else content.items() if isinstance(content, dict) else ()
    try:
        return {int(position): [int(label) for label in labels] for position, labels in pairs}
    except (TypeError, ValueError):
        raise InterplayError(f"{path}: labels are lists of whole numbers, one for each position") from None


def _changed(name: str, path: Path) -> InterplayError:
    return InterplayError(
        f"evaluation.also.{name}: {path} has changed since this recipe was resolved; restore it, or name it again"
    )
