"""Handing a trained cell on as an MLflow model."""

from __future__ import annotations

from pathlib import Path

from interplay.data.manifest import manifest_path, read_manifest
from interplay.errors import InterplayError
from interplay.report.study import StudyTable, study_table
from interplay.tracking.store import CellStore


def export_model(root: Path, study: str, cell: str = "", out: Path | None = None) -> str:
    """Logs the model of a cell to its run in MLflow, or writes it to the new folder `out`.

    Args:
        root: the storage root.
        study: its name.
        cell: fingerprint, or its first digits; of a search the best one if empty.
        out: the folder.

    Returns:
        What `mlflow.pyfunc.load_model` takes. A cell is logged once: asked again, the answer is the same.

    Raises:
        InterplayError: if it is not said which cell, it has no checkpoint, or MLflow cannot take it.
    """
    from interplay.tracking.mlflow_model import log_model, write_model

    table = study_table(root, study)
    chosen = _chosen(table, cell)
    directory = CellStore(root).directory(chosen)
    if not CellStore(root).checkpoint(chosen).is_file():
        raise InterplayError(f"cell {chosen} has no checkpoint in {directory}; train it, or name another with --cell")
    dataset = Path(table.definition.dataset)
    classes = read_manifest(dataset).classes[0] if manifest_path(dataset).is_file() else []
    if out is not None:
        write_model(directory, out, classes)
        return str(out)
    return log_model(root, study, chosen, directory, classes)


def _chosen(table: StudyTable, cell: str) -> str:
    name = table.definition.name
    if cell:
        found = [one for one in table.cells if one.startswith(cell)]
        if len(found) != 1:
            many = f"{len(found)} cells" if found else "no cell"
            raise InterplayError(
                f"study {name!r} has {many} {cell}; `interplay report {name} --format json` lists them"
            )
        return found[0]
    if len(table.cells) == 1:
        return table.cells[0]
    if not table.found:
        raise InterplayError(f"study {name!r} is an ablation of {len(table.cells)} cells; say which with --cell")
    if table.found[0].state != "COMPLETE":
        raise InterplayError(f"search {name!r} has no finished cell yet; run it first")
    return table.found[0].fingerprint
