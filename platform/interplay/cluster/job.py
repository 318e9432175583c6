"""What a worker is told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from interplay.atomic import write_text


@dataclass(frozen=True)
class Job:
    """One cell as plain data: all that travels to a worker, which imports nothing but `interplay`.

    Attributes:
        fingerprint: of the cell.
        recipe: the resolved recipe as plain data.
        dataset: path of the `.beton`.
        directory: the cell's directory, on storage that every worker sees.
        executor: `inline` or `train`.
        workers: number of workers.
        fewest_workers: that suffice while the cluster has no room for more; 0 is `workers`.
        threads: CPU threads of each worker, for computing and for decoding.
        gpus: GPUs of each worker; may be a fraction for inline cells that share one.
        accelerator: type of the GPUs as Ray calls it (`A10G`); empty for any.
        code_revision: of the code that started the study.
        checkpoint_every_s: least time between two checkpoints, which are taken between steps; the last epoch always
            leaves one.
        keep_best: keep the checkpoint of the epoch with the best `val/top1` too, as `best.pt`.
        keep_last: checkpoints of the last so many epochs are kept, as `epoch-0007.pt`; 0 is none of these.
        start: the earlier stage's checkpoint, if the recipe has one.
        micro_batch: images of a worker in memory at a time; 0 is all.
        compile: let torch compile the model's blocks.
        channels_last: keep images and maps in that memory format.
        lease: of the driver for which the cell is trained; a worker whose driver has lost it stops.
        asks: a scheduler wants to hear of every epoch, and may cut the cell.
    """

    fingerprint: str
    recipe: dict[str, Any]
    dataset: str
    directory: str
    executor: str
    workers: int = 1
    fewest_workers: int = 0
    threads: int = 1
    gpus: float = 0.0
    accelerator: str = ""
    code_revision: str = "unknown"
    checkpoint_every_s: float = 30.0
    keep_best: bool = False
    keep_last: int = 0
    start: str = ""
    micro_batch: int = 0
    compile: bool = False
    channels_last: bool = False
    lease: str = ""
    asks: bool = False

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def ticket(self, folder: Path) -> dict[str, str]:
        """What Tune is told in its place, which keeps several copies of that for every cell to the end.

        The job waits in `folder`, which must be the driver's own, on storage that every worker sees.
        """
        path = folder / f"{self.fingerprint}.json"
        write_text(path, json.dumps(self.plain()))
        return {"fingerprint": self.fingerprint, "job": str(path)}


def job_of(ticket: Mapping[str, str]) -> Job:
    """The job of `Job.ticket`."""
    return Job(**json.loads(Path(ticket["job"]).read_text(encoding="utf-8")))
