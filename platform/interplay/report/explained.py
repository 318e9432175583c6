"""What the best cell of a study looks at, for its page: made when asked, and kept beside the cell as data."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interplay.atomic import write_text
from interplay.errors import InterplayError
from interplay.report.story import CellFacts, Story
from interplay.report.view import Picture, Section
from interplay.tracking.store import FINISHED, CellStore

KEPT = "explained.json"


def explained_section(story: Story) -> Section | None:
    """The part of the page, if the explanations of the study's best cell are kept. Nothing is computed."""
    cell = best_explainable(story)
    found = None if cell is None else _kept(story, cell.fingerprint)
    if cell is None or found is None:
        return None
    pictures = tuple(
        Picture(section["title"], section["about"], tuple(picture["png"] for picture in section["pictures"]))
        for section in found["sections"]
    )
    about = f"{cell.label}, the best cell whose checkpoint is here: {found['subtitle']}."
    return Section("explained", "What the best cell looks at", (about,), pictures=pictures)


def explain_best(story: Story) -> None:
    """Makes the explanations of the study's best cell, unless they are kept already.

    Raises:
        InterplayError: if no finished cell has a checkpoint, or its model cannot be looked into.
    """
    cell = best_explainable(story)
    if cell is None:
        name = story.definition.name
        raise InterplayError(f"no finished cell of {name!r} has a checkpoint here; leave out --explain, or train it")
    if _kept(story, cell.fingerprint) is not None:
        return
    from interplay.explain import explain_checkpoint  # torch, which a page alone does not need

    directory = CellStore(story.root).directory(cell.fingerprint)
    dataset = Path(story.definition.dataset)
    named = str(dataset) if dataset.is_file() else None  # without images what needs none is shown
    found = explain_checkpoint(directory, root=story.root, dataset=named)
    sections = [
        {
            "title": section.title,
            "about": section.about,
            "pictures": [{"name": name, "png": base64.b64encode(png).decode()} for name, png in section.pictures],
        }
        for section in found.sections
    ]
    kept = {"checkpoint": _state_of(story, cell.fingerprint), "subtitle": found.subtitle, "sections": sections}
    write_text(directory / KEPT, json.dumps(kept | {"numbers": found.numbers}))


def best_explainable(story: Story) -> CellFacts | None:
    """The finished cell that is best in what selects, among those with a checkpoint."""
    store, metric = CellStore(story.root), story.definition.metric
    maximise = story.objectives[0].maximise
    values = {cell.fingerprint: cell.metric(metric) for cell in story.cells.values() if cell.status == FINISHED}
    order = sorted((v if not maximise else -v, key) for key, v in values.items() if v is not None)
    return next((story.cells[key] for _, key in order if store.checkpoint(key).is_file()), None)


def _kept(story: Story, cell: str) -> Mapping[str, Any] | None:
    """What is kept, unless it is of another checkpoint."""
    try:
        found: dict[str, Any] = json.loads((CellStore(story.root).directory(cell) / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("checkpoint") == _state_of(story, cell) else None


def _state_of(story: Story, cell: str) -> list[int]:
    stat = CellStore(story.root).checkpoint(cell).stat()
    return [stat.st_size, stat.st_mtime_ns]
