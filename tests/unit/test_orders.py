"""What several workers are told within an epoch: all the same, at the same step."""

from __future__ import annotations

import itertools
import json
import os
import time
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch import multiprocessing

from interplay.cluster.job import Job
from interplay.cluster.orders import CHECKPOINT, MOST_STEPS, Orders
from interplay.training import Ranks

WORLD, STEPS = 2, 260
SLOW_S, EVERY_S = 0.02, 0.2


def orders_of(folder: Path, due: list[bool]) -> Orders:
    """Of this rank; a checkpoint is due as `due` says, one look after the other, and then no more."""
    job = Job("f", {}, "d", str(folder), "inline", checkpoint_every_s=EVERY_S)
    return Orders(job, Ranks.current(), torch.device("cpu"), due=lambda: bool(due) and due.pop(0))


def test_one_worker_looks_in_its_own_time(tmp_path: Path) -> None:
    orders = orders_of(tmp_path, [True])
    assert orders.after_step() == ""  # too early to look
    time.sleep(EVERY_S)
    assert orders.after_step() == CHECKPOINT
    time.sleep(EVERY_S)
    assert orders.after_step() == ""


def worker(rank: int, folder: Path) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=WORLD)
    looks: list[int] = []
    orders = orders_of(folder, [False, True, True] if rank == 0 else [])
    reason = orders._reason
    found = []
    try:
        for step in range(STEPS):
            orders._reason = lambda at=step: looks.append(at) or reason()  # type: ignore[method-assign]
            if step < 60 and rank:  # one of the two is slow at first, and both are fast then
                time.sleep(SLOW_S)
            if orders.after_step() == CHECKPOINT:
                found.append(step)
    finally:
        dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps({"found": found, "looks": looks}), encoding="utf-8")


@pytest.mark.slow
def test_several_take_a_checkpoint_at_the_same_step_and_look_as_often_as_their_steps_allow(tmp_path: Path) -> None:
    multiprocessing.spawn(worker, (tmp_path,), nprocs=WORLD)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(WORLD))
    assert first == second
    looks = first["looks"]
    assert first["found"] == looks[1:3]  # only the first worker was asked
    between = [later - earlier for earlier, later in itertools.pairwise(looks)]
    assert all(step <= EVERY_S / SLOW_S for step, at in zip(between, looks, strict=False) if 0 < at < 50)
    assert max(between) == MOST_STEPS
