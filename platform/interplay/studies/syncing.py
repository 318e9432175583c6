"""Sending MLflow again what it does not have."""

from __future__ import annotations

from pathlib import Path

from interplay.recipe import read_recipe
from interplay.report.page import study_page
from interplay.report.study import study_table
from interplay.studies.naming import child_of, study_view
from interplay.study.definition import read_definition, study_directory
from interplay.study.driving.lock import study_lock
from interplay.tracking.mlflow import StudyRun
from interplay.tracking.publisher import Publisher
from interplay.tracking.store import CellStore


def sync_study(root: Path, name: str) -> tuple[bool, StudyRun]:
    """Sends MLflow what it does not have yet of a study. Doing it again changes nothing.

    Returns:
        Whether MLflow took all of it, and the study's runs.

    Raises:
        InterplayError: if there is no such study, or it is being run.
    """
    definition = read_definition(root, name)
    with study_lock(study_directory(root, name)):
        table = study_table(root, name)
        view = study_view(root, definition)
        publisher = Publisher(view)
        store = CellStore(root)
        for fingerprint in table.cells:
            if store.journal(fingerprint).is_file():
                recipe = read_recipe(store.directory(fingerprint) / "recipe.yaml")
                publisher.add(child_of(definition, fingerprint, recipe))
        publisher.start()
        status = "FINISHED" if table.complete else "KILLED"
        sent = publisher.finish(status, lambda: {**table.artifacts(), "report.html": study_page(root, name)})
    return sent, view
