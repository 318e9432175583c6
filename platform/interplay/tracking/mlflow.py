"""MLflow as a view of the journals.

Trials never call MLflow: it may be slow or away. One publisher in the driver (`interplay.tracking.publisher`) reads
what is new in the journals and sends it in batches, with calls that give up soon and patience that does not. Runs are
found by their tags and never created twice; points keep the time of the journal, so sending them again adds nothing.

One parent run for each study, one child for each of its cells. A cell that two studies share has a child in
each, because MLflow shows a run under one parent only; the tag `interplay.cell` joins them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any

# A call that fails must fail soon: the publisher tries again by itself. MLflow's defaults block for minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # the command line decides what is printed
os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")

from interplay.tracking.journal import Journal, Record, epochs, read
from interplay.tracking.mlflow_view import SHARED, view_key, view_state
from interplay.tracking.store import FINISHED, PREEMPTED, PRUNED, STOPPED, CellStore

_BATCH, _FEW = 800, 100  # MLflow's limits for one call: 1,000 things, of them 100 parameters and 100 tags
_VALUE = 6000  # and for a parameter's length
TOP1 = "val/top1"
NOTE = "mlflow.note.content"
"""The tag that the UI shows as a run's description, in Markdown."""


@dataclass(frozen=True)
class Child:
    """One cell as MLflow shows it: a name that says the change, flat parameters and tags.

    Attributes:
        fingerprint: of the cell.
        name: of its run.
        params: dotted path -> value; first those that vary, since MLflow's tables keep the order.
        tags: of its run.
        varies: the paths of `params` at which it differs from the study's recipe.
        note: Markdown.
        dataset: name of its data set.
    """

    fingerprint: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)
    varies: tuple[str, ...] = ()
    note: str = ""
    dataset: str = ""


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
    """The runs of one study. Every method may raise when MLflow is away, and may be called again.

    Args:
        root: the storage root.
        study: its name.
        description: of the study, in Markdown, until there is a table.
        kind: `search` or `ablation`.
        tags: of the study's run.
        metric: the one that selects; one that is no metric of an epoch, as the number of parameters, is not compared.
        maximise: whether more of it is better.
        experiment: of MLflow.
    """

    def __init__(
        self,
        root: Path,
        study: str,
        *,
        description: str,
        kind: str,
        tags: Mapping[str, str] | None = None,
        metric: str = TOP1,
        maximise: bool = True,
        experiment: str = "interplay",
    ) -> None:
        self._root, self._study, self._description = root, study, description
        self._tags = {"interplay.kind": kind, **(tags or {})}
        compared = metric if "/" in metric else TOP1
        self._metrics = tuple(dict.fromkeys([compared, TOP1, "test/top1"]))
        self._maximise = maximise or compared != metric
        self._varies: dict[str, bool] = {}  # parameters, and whether they are numbers
        self._everywhere: set[str] | None = None  # parameters that every cell has
        self._shown = ""  # the view that MLflow has
        self._experiment = experiment
        self.uri = tracking_uri(root)
        self._store = CellStore(root)
        place = hashlib.sha256(self.uri.encode()).hexdigest()[:8]
        self._state = Journal(root / "studies" / study / f"mlflow-{place}.jsonl")
        self._sent = self._read_state()
        self._client: Any = None
        self._experiment_id = ""
        self._found: dict[str, str] = {}  # cell -> run, of those that MLflow had when we came
        self._revision: dict[str, str] = {}  # of the code that trained the last cell
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
            parent = self._run({"interplay.role": "study"}, self._study, {NOTE: self._description})
            self._client.update_run(parent, status="RUNNING")
            self._tag(parent, self._tags | {"interplay.status": "running"})
            self._found = self._find_children()
            self._forget_lost_runs()
            self.parent = parent
            self._show()

    def push(self, child: Child) -> bool:
        """Sends what is new in the child's journal. True if there was anything."""
        self.open()
        sent = self._sent.setdefault(child.fingerprint, _Sent())
        self._everywhere = set(child.params) & (child.params.keys() if self._everywhere is None else self._everywhere)
        for name in child.varies:
            self._varies[name] = self._varies.get(name, True) and _is_number(child.params.get(name))
        records, offset = read(self._store.journal(child.fingerprint), sent.offset)
        if not records:
            return False
        new = not sent.run
        if new:
            run = self._found.get(child.fingerprint) or self._create(
                {"interplay.role": "cell", "interplay.cell": child.fingerprint},
                child.name,
                {"mlflow.parentRunId": self.parent, NOTE: child.note[:_VALUE], **child.tags},
                records[0]["at"],  # the run began when the cell did, not when MLflow heard of it
            )
            self._found[child.fingerprint] = run
            self._client.log_text(run, self._recipe(child), "recipe.yaml")
            sent.run = run
        try:
            sent.epoch = self._send(sent, records, child, new)
        except Exception:
            sent.run = "" if new else sent.run  # whatever failed is done again
            raise
        sent.offset = offset
        sent.ended = records[-1]["event"] == "end"
        # appended, not written anew: what a cell costs must not grow with the cells before it
        self._state.append("sent", cell=child.fingerprint, **vars(sent))
        self._show()
        return True

    def has_all(self, fingerprint: str) -> bool:
        """Whether the cell has ended, and MLflow knows."""
        sent = self._sent.get(fingerprint)
        return sent is not None and sent.ended

    def close(self, status: str, texts: Mapping[str, str] | None = None) -> None:
        """Ends the parent run, with `texts` (name -> content) as artifacts; Markdown becomes its description."""
        self.open()
        self._show()
        tags = {"interplay.status": status.lower(), "interplay.varies": ", ".join(self._varies) or "nothing"}
        for name, text in (texts or {}).items():
            self._client.log_text(self.parent, text, name)
            if name.endswith(".md"):
                tags[NOTE] = _shortened(text, name)
        self._tag(self.parent, tags | self._revision)
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
        """The part of the UI's address that shows this study's cells and its own charts, after the server's own."""
        how = f"viewStateShareKey={view_key(self._study)}&compareRunsMode=CHART&workflowType=machine_learning"
        return f"/#/experiments/{self._experiment_id}/runs?{how}"

    def _show(self) -> None:
        """Brings the columns and charts of the UI up to date, if cells vary in more than those it has."""
        everywhere = self._everywhere or ()
        state = view_state(self._study, self._varies, self._metrics, everywhere=everywhere, maximise=self._maximise)
        if self._shown != state:
            self._client.set_experiment_tag(self._experiment_id, SHARED + view_key(self._study), state)
            self._shown = state

    def _tag(self, run: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._client.log_batch(run, tags=[RunTag(key, value[:_VALUE]) for key, value in tags.items()])

    def _forget_lost_runs(self) -> None:
        """What was sent to runs that MLflow has lost, or never had here, is sent again."""
        for fingerprint, sent in self._sent.items():
            if sent.run and self._found.get(fingerprint) != sent.run:
                self._sent[fingerprint] = _Sent()

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

    def _send(self, sent: _Sent, records: list[Record], child: Child, new: bool) -> int:
        """Sends the records and the parameters in as few calls as MLflow takes; the last epoch it has now."""
        from mlflow.entities import Metric, Param, RunTag

        last, epoch = records[-1], sent.epoch
        metrics: list[Any] = []
        tags: dict[str, str] = {}
        for record in records:
            at = int(record["at"] * 1000)
            if record["event"] == "start":
                tags |= self._began(sent, record["evidence"], child)
                if last["event"] != "end":
                    self._client.update_run(sent.run, status="RUNNING")
            elif record["event"] == "epoch" and record["epoch"] > epoch:
                epoch = record["epoch"]  # an epoch trained again after a resume is not sent twice
                metrics += _points(record["metrics"], at, epoch, Metric)
            elif record["event"] == "end":
                metrics += _points(self._final(child.fingerprint, record), at, epoch, Metric)
                tags |= self._ended(child, record)
        rows = [Param(key, str(value)[:_VALUE]) for key, value in (child.params if new else {}).items()]
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

    def _began(self, sent: _Sent, evidence: Mapping[str, Any], child: Child) -> dict[str, str]:
        """The tags of a start; its data set becomes an input of the run, which MLflow keeps once."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        revision = evidence["code_revision"]
        self._revision = {"interplay.code_revision": revision, "mlflow.source.git.commit": revision}
        if child.dataset and (digest := evidence.get("dataset_digest")):
            source = json.dumps({"uri": child.dataset})
            dataset = Dataset(Path(child.dataset).stem, digest[:36], "local", source)
            tags = [InputTag("mlflow.data.context", "train, val, test")]
            self._client.log_inputs(sent.run, [DatasetInput(dataset, tags)])
        return {f"interplay.{k}": _text(v) for k, v in evidence.items()} | {"mlflow.source.git.commit": revision}

    def _ended(self, child: Child, record: Record) -> dict[str, str]:
        """The tags of an end: how, why, and where the checkpoint is."""
        tags, note = {"interplay.status": str(record["status"])}, child.note
        if message := record.get("message"):
            tags["interplay.message"] = str(message)[:_VALUE]
            note += f"\n- {record['status']}: {message}"
        checkpoint = self._store.checkpoint(child.fingerprint)
        if checkpoint.is_file():
            tags["interplay.checkpoint"] = checkpoint.as_uri()
            note += f"\n- checkpoint: [{checkpoint}]({checkpoint.as_uri()})"
        return tags | ({NOTE: note[:_VALUE]} if note else {})

    def _final(self, fingerprint: str, record: Record) -> dict[str, float]:
        """The numbers of an end that no epoch has: of the test split and of further test sets."""
        numbers: dict[str, float] = record.get("metrics", {})
        by_epoch = epochs(read(self._store.journal(fingerprint))[0])
        known = by_epoch[max(by_epoch)]["metrics"] if by_epoch else {}
        return {name: value for name, value in numbers.items() if name not in known}

    def _read_state(self) -> dict[str, _Sent]:
        """The last line of each cell counts."""
        names = _Sent.__dataclass_fields__
        return {r["cell"]: _Sent(**{k: r[k] for k in names}) for r in read(self._state.path)[0]}


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_VALUE]


def _points(metrics: Mapping[str, float], at: int, epoch: int, metric: Any) -> list[Any]:
    return [metric(key, float(value), at, epoch) for key, value in metrics.items() if key != "epoch"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shortened(text: str, name: str) -> str:
    """Whole lines, as many as a description may have; `name` is where the rest is."""
    if len(text) <= _VALUE:
        return text
    rest = f"\n\nThe rest is in the artifact {name}.\n"
    return text[: _VALUE - len(rest)].rpartition("\n")[0] + rest
