"""What Tune's actors run. Kept light: importing this module imports nothing heavy, an actor needs only its own half.

Both return what became of the cell as Tune's final result. An exception would be raised again by a retry, so
it is told and not raised; what Tune retries is a process that died, or one whose machine is being taken away.
"""

from __future__ import annotations

from collections.abc import Callable

from ray.exceptions import RayActorError

from interplay.cluster.job import job_of

Config = dict[str, str]
"""The ticket of a `Job`."""


def inline(config: Config) -> dict[str, str]:
    """Trains a cell with one worker in this actor."""

    def work() -> None:
        import torch
        from ray import tune

        from interplay.cluster.trial import train_cell

        job = job_of(config)
        device = "cuda" if job.gpus and torch.cuda.is_available() else "cpu"
        train_cell(job, device, tune.report)

    return _told(work)


def ray_train(config: Config) -> dict[str, str]:
    """Trains a cell as a Ray Train job; this actor only drives it."""

    def work() -> None:
        from interplay.cluster.ray_train import train_with_ray

        train_with_ray(job_of(config).plain())

    return _told(work)


def _told(work: Callable[[], None]) -> dict[str, str]:
    """`message` says what went wrong, `stopped` why the driver ended it; both are empty for a cell with a result."""
    try:
        work()
    except Exception as error:
        # by its name: this module must not import what the cell's own half imports
        reason = str(getattr(error, "reason", "")) if type(error).__name__ == "Stopped" else ""
        if reason == "preempted":
            # as if the machine were gone already: Tune starts the trial again elsewhere and counts no failure
            raise RayActorError(error_msg="the machine is being taken away", preempted=True) from None
        return {"message": "" if reason else f"{type(error).__name__}: {error}", "stopped": reason}
    return {"message": "", "stopped": ""}
