"""The `train` executor: one cell as a Ray Train job of several workers. The one importer of `ray.train`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

# A short job is over before Ray Train's defaults have looked twice; these are its public knobs.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")

import ray.train
import ray.train.torch

from interplay.cluster.trial import Job, train_cell
from interplay.tracking.store import CellResult, read_result

MAX_FAILURES = 3
"""How often a job's workers are started again from the last checkpoint."""


def train_with_ray(job: Job) -> CellResult:
    """Trains the cell with `job.workers` workers; blocks until it is finished.

    Lost workers are replaced by Ray Train and go on from the cell's last checkpoint.
    """
    trainer = ray.train.torch.TorchTrainer(
        _worker,
        train_loop_config=job.plain(),
        torch_config=ray.train.torch.TorchConfig(backend="nccl" if job.gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=job.workers,
            use_gpu=bool(job.gpus),
            resources_per_worker={"CPU": job.threads} | ({"GPU": job.gpus} if job.gpus else {}),
        ),
        run_config=ray.train.RunConfig(
            name=job.fingerprint,
            storage_path=str(Path(job.directory) / "ray_train"),
            failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    trainer.fit()
    result = read_result(Path(job.directory))
    assert result is not None, "a Ray Train job ended without a result and without an error"
    return result


def _worker(plain: dict[str, Any]) -> None:
    train_cell(Job(**plain), ray.train.torch.get_device())
