"""Seconds from `interplay submit` to the first optimiser step, on a head that is warm, and where they go.

    python tests/bench/cold_start.py [--rounds 3] [--executors inline train]

Each round submits a study of two cells to a head on this machine and stops it when its first cell has ended. The
first round writes the data set, warms file caches, and is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from interplay.cluster.revision import code_revision
from interplay.tracking.journal import read
from tests.cluster.heads import ROOT, Head, running_head

PHASES = (
    "submit: upload of the code, job accepted",
    "job: its driver's process starts",
    "driver: imports, data set, checks, Ray, first cell handed out",
    "trial: process starts, imports PyTorch, reads data",
    "first optimiser step",
)
WAIT_S = 300


def once(head: Head, root: Path, executor: str, seed: int) -> list[float]:
    """Seconds of each of `PHASES`, with the cells of `seed`."""
    name = f"study{seed}"
    command = ["search", "digits.deit_small_patch4", "digits.demo", "--name", name, "--trials", "2"]
    command += ["--executor", executor, "--seed", str(seed)]
    submitted = time.time()
    done = head.run("interplay", "--storage", str(root), "submit", "--no-wait", *command, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    accepted = time.time()
    result = _first(root, name)
    cell = root / "cells" / result["fingerprint"] / "journal.jsonl"
    began = next(record["at"] for record in read(cell)[0] if record["event"] == "start")
    ledger = read(root / "studies" / name / "ledger.jsonl")[0]
    given = next(r["at"] for r in ledger if r["event"] == "begin" and r["cell"] == result["fingerprint"])
    job = _job(head, name)
    moments = [submitted, accepted, max(accepted, job), given, began, result["evidence"]["first_step_at"]]
    assert moments == sorted(moments), moments
    head.run("interplay", "--storage", str(root), "stop", name)
    return [after - before for before, after in pairwise(moments)]


def _first(root: Path, name: str) -> dict[str, Any]:
    """The result of the study's cell that took its first step before the others."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        cells = {r["cell"] for r in read(root / "studies" / name / "ledger.jsonl")[0] if r["event"] == "begin"}
        paths = [root / "cells" / cell / "result.json" for cell in cells]
        if found := [json.loads(path.read_text()) for path in paths if path.exists()]:
            return dict(min(found, key=lambda result: result["evidence"]["first_step_at"]))
        time.sleep(0.2)
    raise TimeoutError(f"no cell of {name} ended in {WAIT_S} s")


def _job(head: Head, name: str) -> float:
    """When the newest job's driver began."""
    from ray.job_submission import JobSubmissionClient

    jobs = JobSubmissionClient(head.address).list_jobs()
    started = [job.start_time for job in jobs if name in (job.entrypoint or "") and job.start_time]
    return max(started) / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--executors", nargs="*", default=["inline", "train"])
    options = parser.parse_args()
    rounds = options.rounds
    print(f"{os.cpu_count()} CPUs, code {code_revision()}; median of {rounds} (min to max), seconds")
    with tempfile.TemporaryDirectory() as folder, running_head("--num-cpus=2") as head:
        for executor in options.executors:
            root = Path(folder) / executor
            found = [once(head, root, executor, seed) for seed in range(rounds + 1)][1:]
            print(f"\n{executor}")
            for phase, values in zip((*PHASES, "all"), [*zip(*found, strict=True), [*map(sum, found)]], strict=True):
                print(f"  {phase:64}{statistics.median(values):6.1f}  ({min(values):.1f} to {max(values):.1f})")


if __name__ == "__main__":
    main()
