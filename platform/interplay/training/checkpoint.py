"""Checkpoints: everything a resumed run needs to continue as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from interplay.atomic import replacing
from interplay.errors import InterplayError

State = dict[str, Any]
"""`model` and `optimiser` state dicts, `epoch` (epochs finished), its `metrics`, `recipe` (plain data), `classes`."""

LatestCheckpoint = Callable[[], State | None]
Report = Callable[[dict[str, float], Callable[[], State]], None]
"""Given the metrics of an epoch and a function that makes the state, on every rank, after every epoch."""


def save(state: State, path: Path) -> None:
    """Writes `state` to `path`, which is never half written."""
    with replacing(path) as file:
        torch.save(state, file)


def load(path: Path, device: torch.device | str = "cpu") -> State:
    """The state at `path`.

    Raises:
        InterplayError: if there is none, or it is not a checkpoint of ours.
    """
    if not path.is_file():
        raise InterplayError(f"there is no checkpoint {path}")
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InterplayError(f"{path} is not a checkpoint: {reason}") from None
    if not isinstance(state, dict) or not {"model", "optimiser", "epoch", "metrics", "recipe"} <= state.keys():
        raise InterplayError(f"{path} is not a checkpoint written by interplay; its recipe is missing")
    return state
