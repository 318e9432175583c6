"""The `train` executor: one cell as a Ray Train job of several workers. The one importer of `ray.train`.

Its driver and controller only pass the job on, so what training needs is imported by the workers alone.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

# A short job is over before Ray Train's defaults have looked twice; these are its public knobs.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")

import ray.train
import ray.train.torch
from ray import PlacementGroupID
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.exceptions import RayActorError
from ray.util.placement_group import PlacementGroup, remove_placement_group

MAX_FAILURES = 3
"""How often a job's workers are started again from the last checkpoint."""

LEAST_BETWEEN_SIZES_S = 10.0
"""Seconds that a job with fewer workers than it asks for trains before it looks whether there is room for more."""


def train_with_ray(job: dict[str, Any]) -> None:
    """Trains the cell of a plain `Job` with its number of workers; blocks until `result.json` is there.

    Lost workers are replaced by Ray Train and go on from the cell's last checkpoint; so do all when there is room for
    more of them again, if the job may have had fewer. If a scheduler asks, epochs go from the first worker over Ray
    Train's controller to Tune.

    Raises:
        Stopped: its driver ended it, or lost it.
        Exception: what the training raised, or a job that ended without a result.
    """
    if job["fewest_workers"]:
        # what such a job asks for is there, or was on a node that is gone: a minute of waiting tells no more
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "10")
    callbacks = []
    if job["asks"]:
        from ray.tune.integration.ray_train import TuneReportCallback

        callbacks.append(TuneReportCallback())
    trainer = ray.train.torch.TorchTrainer(
        _worker,
        train_loop_config=job,
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if job["gpus"] else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=(job["fewest_workers"], job["workers"]) if job["fewest_workers"] else job["workers"],
            use_gpu=bool(job["gpus"]),
            resources_per_worker={"CPU": job["threads"]} | ({"GPU": job["gpus"]} if job["gpus"] else {}),
            accelerator_type=job["accelerator"] or None,
            # growing starts all workers again from the last checkpoint: it must not cost half of what they do between
            elastic_resize_monitor_interval_s=max(LEAST_BETWEEN_SIZES_S, 2 * job["checkpoint_every_s"]),
        ),
        run_config=ray.train.RunConfig(
            name=job["fingerprint"],
            storage_path=str(Path(job["directory"]) / "ray_train"),
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=callbacks,
        ),
    )
    _fit(trainer)
    shutil.rmtree(Path(job["directory"]) / "ray_train", ignore_errors=True)  # its own book-keeping, no longer needed
    if not (Path(job["directory"]) / "result.json").is_file():
        _say_why(job)


def _fit(trainer: ray.train.torch.TorchTrainer) -> None:
    """Runs the job. Ray Train replaces its workers, but its controller nobody: a job that lost it begins again."""
    for left in reversed(range(MAX_FAILURES + 1)):
        remove_orphaned_groups()
        try:
            trainer.fit()
            return
        except RayActorError:
            if not left:
                raise


def remove_orphaned_groups() -> None:
    """Gives back what dead actors of this driver had asked for.

    A controller that is killed before its workers have their placement group leaves it behind: Ray keeps the group
    until the driver ends, Ray Train's own cleaner knows only those that were ready, and no other job gets their CPUs.
    """
    job = ray.get_runtime_context().get_job_id()
    table = state._connect_and_get_accessor().get_placement_group_table()  # Ray's public tables do not tell whose
    for group in map(PlacementGroupTableData.FromString, table):
        owned = group.creator_actor_id.strip(b"\xff") and group.creator_job_id.hex() == job
        if owned and group.creator_actor_dead and group.state != PlacementGroupTableData.REMOVED:
            remove_placement_group(PlacementGroup(PlacementGroupID(group.placement_group_id)))


def _say_why(job: dict[str, Any]) -> None:
    """A job that was stopped ends well for Ray Train, which would start it again otherwise; the files say why."""
    from interplay.cluster.orders import LOST, Stopped
    from interplay.tracking.journal import read
    from interplay.tracking.lease import is_held
    from interplay.tracking.store import PREEMPTED, PRUNED, STOPPED

    directory = Path(job["directory"])
    if job["lease"] and not is_held(directory, job["lease"]):
        raise Stopped(LOST)
    last = read(directory / "journal.jsonl")[0][-1:]
    if last and last[0].get("status") in (PREEMPTED, PRUNED, STOPPED):
        raise Stopped(last[0]["status"])
    raise RuntimeError("the Ray Train job ended without a result")


def _worker(job: dict[str, Any]) -> None:
    from interplay.cluster.job import Job
    from interplay.cluster.orders import Stopped
    from interplay.cluster.trial import train_cell

    with suppress(Stopped):
        train_cell(Job(**job), ray.train.torch.get_device(), ray.train.report)
