"""What Tune's actors run. Kept light: importing this module imports nothing heavy, an actor needs only its own half.

Both return what became of the cell as Tune's final result. An exception would be raised again by a retry, so
it is told and not raised; what Tune retries is a process that died.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Config = dict[str, Any]
"""A `Job` as plain data."""


def inline(config: Config) -> dict[str, str]:
    """Trains a cell with one worker in this actor."""

    def work() -> None:
        import torch

        from interplay.cluster.job import Job
        from interplay.cluster.trial import train_cell

        train_cell(Job(**config), "cuda" if config["gpus"] and torch.cuda.is_available() else "cpu")

    return _told(work)


def ray_train(config: Config) -> dict[str, str]:
    """Trains a cell as a Ray Train job; this actor only drives it."""

    def work() -> None:
        from interplay.cluster.ray_train import train_with_ray

        train_with_ray(config)

    return _told(work)


def _told(work: Callable[[], None]) -> dict[str, str]:
    try:
        work()
    except Exception as error:
        return {"message": f"{type(error).__name__}: {error}"}
    return {"message": ""}
