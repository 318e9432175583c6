"""Checkpoints: everything a resumed run needs to continue as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interplay.atomic import replacing
from interplay.errors import InterplayError

State = dict[str, Any]
"""`model` and `optimiser` state dicts, `epoch` (epochs finished) and its `metrics`, `recipe` (plain data), `classes`,
`mean` and `std` of the training images; within an epoch also `step`, `loss_sum` and `loss_max`; `average` and
`scaler` where the recipe has them; `embedding` (projector, predictor, target, memory) where one is learnt.
"""

LatestCheckpoint = Callable[[], State | None]
Report = Callable[[dict[str, float], Callable[[], State]], None]
"""Given the metrics of an epoch and a function that makes the state, on every rank, after every epoch."""

Offer = Callable[[Callable[[], State]], None]
"""Given a function that makes the state, on every rank, after every step."""


def save(state: State, path: Path) -> None:
    """Writes `state` to `path`, which is never half written."""
    with replacing(path) as file:
        torch.save(state, file)


class Writer:
    """Writes checkpoints while training goes on: the state is copied at once and written by a thread.

    One is written at a time; whoever offers the next waits for the last.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def save(self, state: State, *paths: Path) -> None:
        """Copies `state` now; each of `paths` gets it, whole, before the next call returns.

        Raises:
            OSError: what went wrong with the last one.
        """
        self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last = self._pool.submit(_save_all, copied(state), paths)

    def wait(self) -> None:
        """Until all is on disk.

        Raises:
            OSError: what went wrong.
        """
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def close(self) -> None:
        """As `wait`, and ends the thread."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
                self._pool = None


def _save_all(state: State, paths: tuple[Path, ...]) -> None:
    for path in paths:
        save(state, path)


def copied(value: Any) -> Any:
    """A state whose tensors are copies in main memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(copied(item) for item in value)
    return value


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
