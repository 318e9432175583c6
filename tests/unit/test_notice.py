"""Spot notices: where they come from, and that a cell ends with a checkpoint when one comes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from ray.exceptions import RayActorError

from interplay.cluster import trainables
from interplay.cluster.job import Job
from interplay.cluster.notice import Notice, has_come
from interplay.cluster.orders import Stopped
from interplay.cluster.trial import train_cell
from interplay.recipe import Recipe
from interplay.tracking.journal import epochs, read
from interplay.tracking.lease import Leases
from interplay.tracking.store import PREEMPTED, Cell, CellStore


class Metadata(BaseHTTPRequestHandler):
    """EC2's and Google's metadata servers; `taken` says whether the machine is to go."""

    taken = False

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token"
        self._answer(200, "the-token")

    def do_GET(self) -> None:
        if "computeMetadata" in self.path:
            assert self.headers["Metadata-Flavor"] == "Google"
            self._answer(200, "TRUE" if Metadata.taken else "FALSE")
        elif self.headers["X-aws-ec2-metadata-token"] != "the-token":
            self._answer(401, "")
        else:
            self._answer(200 if Metadata.taken else 404, '{"action": "terminate"}' if Metadata.taken else "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        """Nothing on the console."""


@pytest.fixture
def server() -> Iterator[str]:
    Metadata.taken = False
    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("path", ["/latest/meta-data/spot/instance-action", "/computeMetadata/v1/instance/preempted"])
def test_a_cloud_says_when(server: str, path: str) -> None:
    assert not has_come(server + path)
    with Notice(server + path, look_s=0.02, drain=False) as notice:
        assert not notice.wait(0.2)
        Metadata.taken = True
        assert notice.wait(5.0)
        assert notice.came


def test_a_server_that_does_not_answer_says_nothing() -> None:
    assert not has_come("http://127.0.0.1:9/latest/meta-data/spot/instance-action")


def test_without_a_source_there_is_no_thread() -> None:
    before = threading.active_count()
    with Notice("") as notice:
        assert threading.active_count() == before
        assert not notice.came


@pytest.fixture
def cell(tiny: Recipe, digits_beton: Path, tmp_path: Path) -> tuple[Cell, CellStore]:
    recipe = tiny.with_({"data.dataset": str(digits_beton), "schedule.epochs": 200})
    return Cell(recipe, digits_beton), CellStore(tmp_path)


def test_a_cell_ends_with_a_checkpoint_and_is_no_failure(
    cell: tuple[Cell, CellStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "notice"
    monkeypatch.setenv("INTERPLAY_SPOT_NOTICE", str(file))
    monkeypatch.setattr("interplay.cluster.notice.LOOK_S", 0.02)
    monkeypatch.setattr("interplay.cluster.orders.LOOK_S", 0.05)
    one, store = cell
    leases = Leases(store.root / "cells")
    with leases:
        leases.take(one.fingerprint)
        job = Job(
            fingerprint=one.fingerprint,
            recipe=one.recipe.model_dump(mode="json"),
            dataset=str(one.dataset),
            directory=str(store.prepare(one)),
            executor="inline",
            checkpoint_every_s=1e9,
            lease=leases.holder,
        )
        threading.Thread(target=after_an_epoch, args=(store.journal(one.fingerprint), file), daemon=True).start()
        with pytest.raises(Stopped) as stopped:
            train_cell(job, torch.device("cpu"))
        assert stopped.value.reason == PREEMPTED
        records = read(store.journal(one.fingerprint))[0]
        assert (records[-1]["event"], records[-1]["status"]) == ("end", PREEMPTED)
        assert 0 < len(epochs(records)) < 200
        assert store.checkpoint(one.fingerprint).is_file()

        # what Tune sees is a machine that was taken away: it starts the trial again elsewhere, and counts nothing
        with pytest.raises(RayActorError) as gone:
            trainables.inline(job.ticket(tmp_path))
        assert gone.value.preempted


def after_an_epoch(journal: Path, file: Path) -> None:
    """The notice comes while the second epoch or a later one is trained."""
    deadline = time.monotonic() + 60
    while not epochs(read(journal)[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    file.touch()


def test_tune_does_not_count_it() -> None:
    from ray.exceptions import RayTaskError
    from ray.tune.experiment import Trial

    def failures(error: Exception) -> int:
        trial = Trial("none", stub=True)
        trial._handle_ray_task_error(RayTaskError("train", "traceback", error))
        return int(trial.num_failures)

    assert failures(RuntimeError("a bug")) == 1
    assert failures(RayActorError(error_msg="the machine is being taken away", preempted=True)) == 0
