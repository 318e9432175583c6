"""Notices that a machine is about to be taken away: spot instances get one, a minute or two before.

`$INTERPLAY_SPOT_NOTICE`, set on machines that can be taken away, says where notices come:

- `http://169.254.169.254/latest/meta-data/spot/instance-action`: EC2's metadata, which answers 404 until then;
- `http://metadata.google.internal/computeMetadata/v1/instance/preempted`: Google's, which answers FALSE until then;
- a path: a file that appears, as a Kubernetes `preStop` hook makes one.

A worker that sees one has Ray drain its node, so that nothing new is placed there, takes a checkpoint and ends; the
cell goes on elsewhere, and it does not count as a failure of the cell.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

VARIABLE = "INTERPLAY_SPOT_NOTICE"
LOOK_S, FILE_LOOK_S = 5.0, 0.5
TIMEOUT_S = 2.0
DEADLINE_S = 60
"""Seconds after which Ray takes the drained node for lost; EC2 gives 120 in all, Google 30."""

_log = logging.getLogger(__name__)


class Notice:
    """Looks for a notice in a thread of this process, while the context lasts. Without a source none comes.

    Args:
        source: where notices come; `$INTERPLAY_SPOT_NOTICE` if None.
        look_s: seconds between two looks; if None `LOOK_S`, or `FILE_LOOK_S` at a file, which costs nothing.
        drain: have Ray drain the node before `came` is true.
    """

    def __init__(self, source: str | None = None, *, look_s: float | None = None, drain: bool = True) -> None:
        self._source = os.environ.get(VARIABLE, "") if source is None else source
        usual = LOOK_S if self._source.startswith("http") else FILE_LOOK_S
        self._look_s = usual if look_s is None else look_s
        self._drain = drain
        self._came, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spot-notice", daemon=True)

    def __enter__(self) -> Notice:
        if self._source:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._source:
            self._thread.join()

    @property
    def came(self) -> bool:
        return self._came.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for a notice for at most so long; whether it has come."""
        return self._came.wait(timeout_s)

    def _watch(self) -> None:
        while not has_come(self._source):
            if self._stop.wait(self._look_s):
                return
        _log.warning("this machine is about to be taken away; its cells go on elsewhere")
        if self._drain:
            drain_this_node()
        self._came.set()


def has_come(source: str) -> bool:
    """Whether there is a notice at `source` now. A source that does not answer has none."""
    if not source.startswith("http"):
        return Path(source).exists()
    try:
        if "computeMetadata" in source:
            return _get(source, {"Metadata-Flavor": "Google"}).strip() == "TRUE"
        place = urlsplit(source)
        token = _get(
            f"{place.scheme}://{place.netloc}/latest/api/token",
            {"X-aws-ec2-metadata-token-ttl-seconds": "60"},
            method="PUT",
        )
        _get(source, {"X-aws-ec2-metadata-token": token})
    except (OSError, urllib.error.HTTPError):
        return False
    return True


def drain_this_node() -> None:
    """Has Ray place nothing more on this node. Without Ray nothing happens."""
    import ray

    if not ray.is_initialized():
        return
    context = ray.get_runtime_context()
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", "--address", context.gcs_address]
    command += ["--node-id", context.get_node_id(), "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
    command += ["--reason-message", "spot notice", "--deadline-remaining-seconds", str(DEADLINE_S)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode:
        _log.warning("the node could not be drained: %s", (done.stderr or done.stdout).strip()[-500:])


def _get(url: str, headers: dict[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        return str(answer.read().decode())
