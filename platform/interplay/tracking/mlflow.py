"""MLflow as a view of the journals. The one importer of mlflow.

Trials never call MLflow: it may be slow or away. One publisher in the driver reads what is new in the
journals and sends it in batches, with calls that give up soon and patience that does not. Runs are found by
their tags and never created twice; points keep the time of the journal, so sending them again adds nothing.

One parent run for each study, one child for each of its cells. A cell that two studies share has a child in
each, because MLflow shows a run under one parent only; the tag `interplay.cell` joins them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any
from urllib.parse import quote

# A call that fails must fail soon: the publisher tries again by itself. MLflow's defaults block for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # the command line decides what is printed
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

from interplay.tracking.journal import Journal, Record, read
from interplay.tracking.store import FINISHED, PREEMPTED, PRUNED, STOPPED, CellStore

_BATCH, _FEW = 800, 100  # MLflow's limits for one call: 1,000 things, of them 100 parameters and 100 tags
_VALUE = 6000  # and for a parameter's length
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Child:
    """One cell as MLflow shows it: a name that says the change, flat parameters and tags."""

    fingerprint: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Sent:
    """What MLflow has of a cell: its run, how far the journal was read, the last epoch, whether it has ended."""

    run: str = ""
    offset: int = 0
    epoch: int = 0
    ended: bool = False


def tracking_uri(root: Path) -> str:
    """`$MLFLOW_TRACKING_URI`, or a SQLite file in the storage root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def run_states(uri: str, study: str, experiment: str = "interplay") -> list[tuple[str, str, str]]:
    """(role, cell, status) of every run that MLflow has of a study; the role is `study` or `cell`."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return []
    states, token = [], None
    while True:
        where = f"tags.`interplay.study` = '{study}'"
        page = client.search_runs([found.experiment_id], where, max_results=1000, page_token=token)
        tags = ((run.data.tags, run.info.status) for run in page)
        states += [(t["interplay.role"], t.get("interplay.cell", ""), str(status)) for t, status in tags]
        token = page.token
        if not token:
            return states


class StudyRun:
    """The runs of one study. Every method may raise when MLflow is away, and may be called again."""

    def __init__(self, root: Path, study: str, *, description: str, kind: str, experiment: str = "interplay") -> None:
        self._root, self._study, self._description, self._kind = root, study, description, kind
        self._experiment = experiment
        self.uri = tracking_uri(root)
        self._store = CellStore(root)
        place = hashlib.sha256(self.uri.encode()).hexdigest()[:8]
        self._state = Journal(root / "studies" / study / f"mlflow-{place}.jsonl")
        self._sent = self._read_state()
        self._client: Any = None
        self._experiment_id = ""
        self._found: dict[str, str] = {}  # cell -> run, of those that MLflow had when we came
        self.parent = ""

    def open(self) -> None:
        """Finds or creates the experiment and the parent run, and marks it running."""
        from mlflow import MlflowClient

        if not self.parent:
            self._client = MlflowClient(self.uri)
            found = self._client.get_experiment_by_name(self._experiment)
            if found is None:
                local = self.uri.startswith("sqlite:")
                place = (self._root / "mlartifacts").as_uri() if local else None
                self._experiment_id = self._client.create_experiment(self._experiment, artifact_location=place)
            else:
                self._experiment_id = found.experiment_id
            tags = {"interplay.kind": self._kind, "mlflow.note.content": self._description}
            self.parent = self._run({"interplay.role": "study"}, self._study, tags)
            self._client.update_run(self.parent, status="RUNNING")
            self._found = self._find_children()

    def push(self, child: Child) -> bool:
        """Sends what is new in the child's journal. True if there was anything."""
        sent = self._sent.setdefault(child.fingerprint, _Sent())
        records, offset = read(self._store.journal(child.fingerprint), sent.offset)
        if not records:
            return False
        self.open()
        new = not sent.run
        if new:
            run = self._found.get(child.fingerprint) or self._create(
                {"interplay.role": "cell", "interplay.cell": child.fingerprint},
                child.name,
                {"mlflow.parentRunId": self.parent, **child.tags},
                records[0]["at"],  # the run began when the cell did, not when MLflow heard of it
            )
            self._found[child.fingerprint] = run
            self._client.log_text(run, self._recipe(child), "recipe.yaml")
            sent.run = run
        try:
            sent.epoch = self._send(sent, records, child.params if new else {})
        except Exception:
            sent.run = "" if new else sent.run  # whatever failed is done again
            raise
        sent.offset = offset
        sent.ended = records[-1]["event"] == "end"
        # appended, not written anew: what a cell costs must not grow with the cells before it
        self._state.append("sent", cell=child.fingerprint, **vars(sent))
        return True

    def has_all(self, fingerprint: str) -> bool:
        """Whether the cell has ended, and MLflow knows."""
        sent = self._sent.get(fingerprint)
        return sent is not None and sent.ended

    def close(self, status: str, texts: Mapping[str, str] | None = None) -> None:
        """Ends the parent run, with `texts` (name -> content) as artifacts."""
        self.open()
        for name, text in (texts or {}).items():
            self._client.log_text(self.parent, text, name)
            if name.endswith(".md"):
                self._client.set_tag(self.parent, "mlflow.note.content", text[:_VALUE])
        self._client.set_terminated(self.parent, status)

    def stop_children(self) -> None:
        """Marks the runs of cells that have not ended as killed: nothing is running them any more."""
        for sent in self._sent.values():
            if sent.run and not sent.ended:
                self._client.set_terminated(sent.run, "KILLED")

    def runs(self) -> dict[str, str]:
        """Fingerprint -> run id of the cells sent so far."""
        return {fingerprint: sent.run for fingerprint, sent in self._sent.items() if sent.run}

    def _recipe(self, child: Child) -> str:
        return (self._store.directory(child.fingerprint) / "recipe.yaml").read_text(encoding="utf-8")

    def page(self) -> str:
        """The part of the UI's address that shows this study's cells, after the server's own."""
        only = f"tags.`interplay.study` = '{self._study}'"
        return f"/#/experiments/{self._experiment_id}/runs?workflowType=machine_learning&searchFilter={quote(only)}"

    def _run(self, identity: Mapping[str, str], name: str, tags: Mapping[str, str]) -> str:
        """The run with this identity in this study, created if there is none."""
        found = self._client.search_runs([self._experiment_id], self._where(identity), max_results=1)
        return str(found[0].info.run_id) if found else self._create(identity, name, tags)

    def _create(
        self, identity: Mapping[str, str], name: str, tags: Mapping[str, str], began: float | None = None
    ) -> str:
        began_ms = None if began is None else int(began * 1000)
        source = {"mlflow.source.name": "interplay", "mlflow.source.type": "LOCAL", "mlflow.user": getuser()}
        own = {"interplay.study": self._study, **identity}
        return str(
            self._client.create_run(self._experiment_id, began_ms, {**source, **own, **tags}, name).info.run_id
        )

    def _where(self, identity: Mapping[str, str]) -> str:
        own = {"interplay.study": self._study, **identity}
        return " and ".join(f"tags.`{k}` = '{v}'" for k, v in own.items())

    def _find_children(self) -> dict[str, str]:
        """Cell -> run. Asked for once: a search for each cell would take longer the more there are."""
        found: dict[str, str] = {}
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], self._where({"interplay.role": "cell"}), max_results=1000, page_token=token
            )
            found |= {run.data.tags["interplay.cell"]: str(run.info.run_id) for run in page}
            token = page.token
            if not token:
                return found

    def _send(self, sent: _Sent, records: list[Record], params: Mapping[str, Any]) -> int:
        """Sends the records and the parameters in as few calls as MLflow takes; the last epoch it has now."""
        from mlflow.entities import Metric, Param, RunTag

        last, epoch = records[-1], sent.epoch
        metrics: list[Any] = []
        tags: dict[str, str] = {}
        for record in records:
            at = int(record["at"] * 1000)
            if record["event"] == "start":
                tags |= {f"interplay.{k}": _text(v) for k, v in record["evidence"].items()}
                tags["mlflow.source.git.commit"] = record["evidence"]["code_revision"]
                if last["event"] != "end":
                    self._client.update_run(sent.run, status="RUNNING")
            elif record["event"] == "epoch" and record["epoch"] > epoch:
                epoch = record["epoch"]  # an epoch trained again after a resume is not sent twice
                metrics += _points(record["metrics"], at, epoch, Metric)
            elif record["event"] == "end":
                final = {k: v for k, v in record.get("metrics", {}).items() if k.startswith("test/")}
                metrics += _points(final, at, epoch, Metric)
                tags["interplay.status"] = record["status"]
        rows = [Param(key, str(value)[:_VALUE]) for key, value in params.items()]
        labels = [RunTag(key, value) for key, value in tags.items()]
        while metrics or rows or labels:
            self._client.log_batch(sent.run, metrics[:_BATCH], rows[:_FEW], labels[:_FEW])
            metrics, rows, labels = metrics[_BATCH:], rows[_FEW:], labels[_FEW:]
        if last["event"] == "end":
            # ended by its driver: what it has is sound, but it is no whole run and no failure
            shown = {FINISHED: "FINISHED", PRUNED: "KILLED", STOPPED: "KILLED", PREEMPTED: "KILLED"}
            status = shown.get(last["status"], "FAILED")
            self._client.set_terminated(sent.run, status, end_time=int(last["at"] * 1000))
        return epoch

    def _read_state(self) -> dict[str, _Sent]:
        """The last line of each cell counts."""
        names = _Sent.__dataclass_fields__
        return {r["cell"]: _Sent(**{k: r[k] for k in names}) for r in read(self._state.path)[0]}


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_VALUE]


def _points(metrics: Mapping[str, float], at: int, epoch: int, metric: Any) -> list[Any]:
    return [metric(key, float(value), at, epoch) for key, value in metrics.items() if key != "epoch"]


class Publisher:
    """Keeps MLflow up to date from a thread of the driver, without ever holding up the study."""

    def __init__(self, study: StudyRun, every_s: float = 2.0) -> None:
        self._study, self._every_s = study, every_s
        self._children: dict[str, Child] = {}  # whose journals may still grow
        self._training: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="mlflow-publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, child: Child) -> None:
        """From now on the child's journal is followed, to its end. A later child of the same cell replaces it."""
        with self._lock:
            self._children[child.fingerprint] = child

    def started(self, child: Child) -> None:
        """The cell is trained, and its journal grows: also when it says of an earlier run that it ended."""
        with self._lock:
            self._children[child.fingerprint] = child
            self._training.add(child.fingerprint)

    def ended(self, fingerprint: str) -> None:
        """Nothing trains the cell any more."""
        with self._lock:
            self._training.discard(fingerprint)

    def finish(self, status: str, texts: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> bool:
        """Sends what is left and ends the parent run; False if MLflow is away, or does not answer for `timeout_s`.

        What was not sent stays in the journals: `interplay sync` sends it.
        """
        self._stop.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        try:
            self._push_all()
            self._study.open()
            self._study.stop_children()
            self._study.close(status, texts)
        except Exception as error:
            _log.warning("MLflow at %s is away (%s)", self._study.uri, _first_line(error))
            return False
        return True

    def _push_all(self, until: Callable[[], bool] = lambda: False) -> None:
        """Sends what is new of every cell that may still grow; leaves the rest when `until` says so."""
        with self._lock:
            children = list(self._children.values())
        for child in children:
            if until():
                return
            self._study.push(child)
            with self._lock:
                # an ended cell is not looked at again; one that was stopped may have begun anew
                if self._study.has_all(child.fingerprint) and child.fingerprint not in self._training:
                    self._children.pop(child.fingerprint, None)

    def _loop(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            try:
                self._study.open()
                self._push_all(self._stop.is_set)  # `finish` sends the rest: it waits only for a call that hangs
                wait = self._every_s
            except Exception as error:
                wait = min(30.0, max(1.0, 2.0 * wait))
                _log.warning(
                    "MLflow at %s is away, next try in %.0f s (%s)", self._study.uri, wait, _first_line(error)
                )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
