"""What `mlflow.pyfunc` loads of a model that was exported: images to probabilities. Nothing of it is pickled code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interplay.errors import InterplayError
from interplay.explain.capture import answer
from interplay.explain.subject import load_subject
from interplay.training.checkpoint import save
from interplay.training.start import read_checkpoint

WEIGHTS = "model.pt"
_NEEDED = ("model", "average", "recipe", "classes", "mean", "std", "epoch", "metrics")


class Classifier:
    """A trained model behind `predict`."""

    def __init__(self, checkpoint: Path) -> None:
        self._subject = load_subject(checkpoint)

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float32]:
        """[B, R, R, 3] uint8 images, cut as the recipe's evaluation cuts them -> [B, K] probabilities of classes."""
        levels_BRR3 = torch.from_numpy(np.ascontiguousarray(model_input, dtype=np.uint8))
        pixels_B3RR = levels_BRR3.permute(0, 3, 1, 2).contiguous()
        model = self._subject.model
        device = next(model.parameters()).device
        logits = answer(model, self._subject.normalise(pixels_B3RR.to(device)))
        shares: NDArray[np.float32] = logits.float().softmax(dim=-1).cpu().numpy()
        return shares


def _load_pyfunc(data_path: str) -> Classifier:
    """MLflow's entry to a loader module."""
    return Classifier(Path(data_path) / WEIGHTS)


def write_weights(checkpoint: Path, folder: Path) -> tuple[int, int]:
    """What a checkpoint has for `Classifier`, without the optimiser, to `folder`; the images' side and the classes.

    Raises:
        InterplayError: if it is no checkpoint of ours, or cannot answer alone.
    """
    subject = load_subject(checkpoint)
    side = subject.resolution
    with torch.inference_mode():
        blank = torch.zeros(1, 3, side, side, dtype=torch.uint8)
        device = next(subject.model.parameters()).device
        logits = answer(subject.model, subject.normalise(blank.to(device)))
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2:
        raise InterplayError(f"the model of {checkpoint} does not answer with one number for each class")
    state = read_checkpoint(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    # still a checkpoint, which never goes on: its optimiser, twice the weights, stays behind
    save({key: state[key] for key in _NEEDED if key in state} | {"optimiser": {}}, folder / WEIGHTS)
    return side, logits.shape[1]
