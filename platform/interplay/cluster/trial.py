"""Training one cell on one worker, whoever started it: journal, checkpoints and the result around `fit`."""

from __future__ import annotations

import os
import socket
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from interplay.augment import policy_in_loader
from interplay.cluster.checkpoints import Checkpoints
from interplay.cluster.job import Job
from interplay.cluster.notice import Notice
from interplay.cluster.orders import CHECKPOINT, LOST, Orders, Stopped, Tell
from interplay.cluster.staging import staged
from interplay.data.manifest import read_manifest
from interplay.recipe import RESULTS_VERSION, Recipe
from interplay.tracking.journal import Journal
from interplay.tracking.store import (
    DIVERGED,
    FAILED,
    FINISHED,
    OUT_OF_MEMORY,
    CellResult,
    read_result,
    write_result,
)
from interplay.training import Computing, Diverged, Ranks, fit
from interplay.training.meter import device_name


class OutOfMemory(Exception):
    """The device had too little memory; the message says how much was used and what to change."""


def train_cell(job: Job, device: torch.device | str, tell: Tell | None = None) -> CellResult:
    """Trains a cell to its end, from its last checkpoint if there is one, on this rank.

    Args:
        job: the cell.
        device: of this rank.
        tell: reports epochs to a scheduler, if the job says that one asks.

    Returns:
        The result, which the first rank has also written to `result.json`, last of all.

    Raises:
        OutOfMemory: recorded in the journal; the cell is not finished.
        Stopped: its driver ended it, or lost it; a checkpoint was taken where that was ours to do.
        Exception: whatever else ended the training; recorded in the journal.
    """
    from interplay.data.loader import beton_loaders  # FFCV

    directory, ranks = Path(job.directory), Ranks.current()
    if (known := read_result(directory)) is not None:
        return known
    device = torch.device(device)
    torch.set_num_threads(job.threads)
    journal = Journal(directory / "journal.jsonl") if ranks.first else None
    recipe = Recipe.model_validate(job.recipe)
    checkpoints = Checkpoints(directory / "checkpoint", job, recipe.schedule.epochs, ranks)
    notice = Notice()
    orders = Orders(job, ranks, device, due=checkpoints.due, tell=tell, notice=notice)
    started_at = time.time()
    evidence = evidence_of(job, recipe, device, ranks.world)

    def obey(reason: str, state: Any) -> None:
        if reason and reason != LOST:
            checkpoints.now(state)
        if reason:
            raise Stopped(reason)

    def after_step(state: Any) -> None:
        if (order := orders.after_step()) == CHECKPOINT:
            checkpoints.within_epoch(state)
        else:
            obey(order, state)

    def report(metrics: dict[str, float], state: Any) -> None:
        if not orders.lost():
            if journal is not None:
                journal.append("epoch", epoch=int(metrics["epoch"]), metrics=metrics | system_metrics())
            checkpoints.after_epoch(metrics, state)
        obey(orders.after_epoch(metrics, recipe.schedule.epochs), state)

    def end(status: str, metrics: dict[str, float], **times: Any) -> CellResult:
        if orders.lost():
            raise Stopped(LOST)
        result = CellResult(job.fingerprint, status, metrics, evidence | times | {"finished_at": time.time()})
        if journal is not None:
            journal.append("end", status=status, metrics=metrics)
            write_result(directory, result)
        return result

    if reason := orders.at_start():
        raise Stopped(reason)
    resumed = checkpoints.latest()
    if journal is not None:
        journal.append("start", epoch=0 if resumed is None else resumed["epoch"], evidence=evidence)
    try:
        policy = policy_in_loader(recipe.augment, recipe.seeds.augment) if device.type == "cpu" else None
        loaders = beton_loaders(
            staged(Path(job.dataset)), recipe, rank=ranks.rank, world=ranks.world, threads=job.threads, policy=policy
        )
        with notice, checkpoints:
            outcome = fit(
                recipe,
                loaders,
                device=device,
                earlier=Path(job.start) if job.start else None,
                computing=Computing(job.micro_batch or None, job.compile, job.channels_last),
                report=report,
                after_step=after_step,
                latest_checkpoint=lambda: resumed,
            )
    except Stopped as stopped:
        if stopped.reason != LOST:
            _note_end(journal, stopped.reason, f"the cell was {stopped.reason}")
        raise
    except Diverged as diverged:
        return end(DIVERGED, {"epoch": float(diverged.epoch)}, started_at=started_at)
    except torch.OutOfMemoryError:
        peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
        message = f"out of memory at {peak:.0f} MB; set --micro-batch or use more workers"
        _note_end(journal, OUT_OF_MEMORY, message)
        raise OutOfMemory(message) from None
    except Exception as error:
        _note_end(journal, FAILED, f"{type(error).__name__}: {error}")
        raise
    return end(
        FINISHED,
        outcome.metrics,
        started_at=started_at,
        first_step_at=outcome.first_step_at,
        samples_seen=outcome.samples_seen,
    )


def _note_end(journal: Journal | None, status: str, message: str) -> None:
    if journal is not None:
        journal.append("end", status=status, message=message)


def evidence_of(job: Job, recipe: Recipe, device: torch.device, workers: int) -> dict[str, Any]:
    """What travels with every number of this cell; `workers` train it now."""
    return {
        "device": device_name(device, job.threads),
        "host": socket.gethostname(),
        "executor": job.executor,
        "workers": workers,
        "threads": job.threads,
        **({"micro_batch": job.micro_batch} if job.micro_batch else {}),
        **({"compiled": True} if job.compile else {}),
        "seeds": recipe.seeds.model_dump(),
        "dataset_digest": read_manifest(Path(job.dataset)).digest,
        "code_revision": job.code_revision,
        "results_version": RESULTS_VERSION,
        "versions": {"python": ".".join(map(str, sys.version_info[:3])), **_versions()},
    }


def system_metrics() -> dict[str, float]:
    """CPU and memory of this machine, under MLflow's names for system metrics."""
    import psutil

    memory = psutil.virtual_memory()
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / 1e6,
        "system/process_memory_megabytes": psutil.Process(os.getpid()).memory_info().rss / 1e6,
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("interplay", "torch", "timm", "ffcv", "numpy", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
