"""A trained cell as an MLflow model with a signature: `mlflow.pyfunc.load_model` and `mlflow models serve` take it.

Only on request: a model is large, a study has many, and neither trials nor the driver shall wait for MLflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from interplay.errors import InterplayError
from interplay.tracking import served
from interplay.tracking.mlflow import tracking_uri

MODEL_TAG = "interplay.model"


def write_model(checkpoint: Path, out: Path, classes: Sequence[str] = ()) -> None:
    """Writes the model of a checkpoint to the new folder `out`, as MLflow reads it.

    Args:
        checkpoint: a file, or a cell's folder.
        out: the folder.
        classes: names, kept as metadata.

    Raises:
        InterplayError: if `out` is there, or the checkpoint is none of ours.
    """
    import numpy as np
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    if out.exists():
        raise InterplayError(f"{out} is there already; name a new folder")
    with TemporaryDirectory() as folder:
        side, count = served.write_weights(checkpoint, Path(folder) / "data")
        images = TensorSpec(np.dtype(np.uint8), (-1, side, side, 3))
        shares = TensorSpec(np.dtype(np.float32), (-1, count))
        pyfunc.save_model(
            str(out),
            loader_module=served.__name__,
            data_path=str(Path(folder) / "data"),
            signature=ModelSignature(Schema([images]), Schema([shares])),
            pip_requirements=[
                f"{name}=={version(name)}" for name in ("interplay", "torch", "timm", "numpy", "mlflow")
            ],
            metadata={"classes": list(classes)},
        )


def log_model(root: Path, study: str, cell: str, checkpoint: Path, classes: Sequence[str] = ()) -> str:
    """Gives a cell's run its model, once; the address for `mlflow.pyfunc.load_model`.

    Args:
        root: the storage root.
        study: whose run of the cell it is.
        cell: its fingerprint.
        checkpoint: of the cell.
        classes: their names.

    Raises:
        InterplayError: if MLflow is away, or does not know the cell.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    uri = tracking_uri(root)
    client = MlflowClient(uri)
    try:
        run = _run_of(client, study, cell)
        if run is None:
            raise InterplayError(f"MLflow at {uri} has no run of cell {cell}; run `interplay sync {study}` first")
        if known := run.data.tags.get(MODEL_TAG):
            return f"models:/{known}"
        with TemporaryDirectory() as folder:
            write_model(checkpoint, Path(folder) / "model", classes)
            made = _log(client, run, cell, Path(folder) / "model")
    except (MlflowException, OSError) as error:
        raise InterplayError(
            f"MLflow at {uri} did not take the model ({error}); try again when it is there"
        ) from None
    return f"models:/{made}"


def _run_of(client: Any, study: str, cell: str) -> Any:
    experiment = client.get_experiment_by_name("interplay")
    if experiment is None:
        return None
    where = f"tags.`interplay.study` = '{study}' and tags.`interplay.cell` = '{cell}'"
    found = client.search_runs([experiment.experiment_id], where, max_results=1)
    return found[0] if found else None


def _log(client: Any, run: Any, cell: str, folder: Path) -> str:
    """The id of the logged model. The run is tagged last: what stopped half way is made anew."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    model = client.create_logged_model(
        run.info.experiment_id, f"cell-{cell}", run.info.run_id, tags={"interplay.cell": cell}
    )
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    client.set_tag(run.info.run_id, MODEL_TAG, model.model_id)
    return str(model.model_id)
