"""Copies of whole studies in object storage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interplay.cluster.bucket import FOLDERS, Copied, pull, push
from interplay.data.manifest import manifest_path
from interplay.report.status import cells_of
from interplay.study.definition import read_definition


def push_studies(root: Path, place: str, studies: Sequence[str] = ()) -> Copied:
    """Copies studies, their cells and their data sets to `place`; the whole storage root without `studies`.

    Raises:
        InterplayError: if there is no such study, or the storage cannot be reached.
    """
    if not studies:
        return push(root, place, FOLDERS)
    # the study last: whoever finds it finds its cells
    return push(root, place, [part for study in studies for part in [*_cells(root, study), f"studies/{study}"]])


def pull_studies(root: Path, place: str, studies: Sequence[str] = ()) -> Copied:
    """Copies studies, their cells and their data sets from `place`; everything that is there without `studies`.

    Raises:
        InterplayError: if there is no such study, or the storage cannot be reached.
    """
    if not studies:
        return pull(root, place, FOLDERS)
    first = pull(root, place, [f"studies/{study}" for study in studies])
    return first + pull(root, place, [part for study in studies for part in _cells(root, study)])


def _cells(root: Path, study: str) -> list[str]:
    """The study's data set, if it lies in the storage root, and its cells."""
    definition = read_definition(root, study)
    dataset = Path(definition.dataset)
    folder = root / "datasets"
    own = [path for path in (dataset, manifest_path(dataset)) if path.parent.resolve() == folder.resolve()]
    cells = [f"cells/{cell}" for cell in cells_of(root, definition)]
    return [*(f"datasets/{path.name}" for path in own), *cells]
