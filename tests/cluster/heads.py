"""Ray clusters of a test's own on this machine: a head on free ports, which dies with all that it started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray.util

from interplay.cluster.session import free_ports

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
HEAD_ID = "f" * 51 + "00000"  # by which Ray's fake provider knows its head


@dataclass(frozen=True)
class Head:
    """A running head.

    Attributes:
        address: of its job server.
        gcs: for `RAY_ADDRESS`.
        environment: in which commands find it.
        folder: its temporary files.
    """

    address: str
    gcs: str
    environment: dict[str, str]
    folder: Path

    def run(self, *command: str, cwd: Path = ROOT, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs one of the environment's programs."""
        words = [str(BIN / command[0]), *command[1:]]
        return subprocess.run(
            words, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )


@contextmanager
def running_head(
    *options: str, variables: Mapping[str, str] | None = None, autoscaling: Sequence[Mapping[str, Any]] = ()
) -> Iterator[Head]:
    """A head for this block.

    Args:
        options: of `ray start`.
        variables: added to its environment, and to that of commands.
        autoscaling: kinds of nodes that Ray's fake provider starts on this machine, each with `name`, `resources`
            and `max_workers`; none is a cluster that does not grow.
    """
    gcs, dashboard, client, agent = free_ports(4)
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets need a short path
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "PYTHONPATH")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder)}
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"
    environment |= variables or {}
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", f"--port={gcs}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
    # a driver of this machine that is told 127.0.0.1 looks at the machine's own address: nodes that come need one
    ip = ray.util.get_node_ip_address() if autoscaling else "127.0.0.1"
    command.append(f"--node-ip-address={ip}")
    command += [f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}", *options]
    own = dict(environment)
    if autoscaling:
        description = folder / "autoscaling.json"
        description.write_text(json.dumps(fake_cluster(f"{ip}:{gcs}", autoscaling)))
        command.append(f"--autoscaling-config={description}")
        own |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_enable_autoscaler_v2": "1"}
        most = {kind["name"]: kind["max_workers"] for kind in autoscaling}
        for name in ("CPU", "GPU"):
            total = sum(most[kind["name"]] * kind["resources"].get(name, 0) for kind in autoscaling)
            grows = environment.get("INTERPLAY_GROWS_TO", "")
            environment["INTERPLAY_GROWS_TO"] = f"{grows}{',' if grows else ''}{name}={total}"
        own |= {"RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
    address = f"http://127.0.0.1:{dashboard}"
    with (folder / "head.log").open("w") as log:
        head = subprocess.Popen(command, env=own, start_new_session=True, stdout=log, stderr=log)
    try:
        _wait_for(address, head, folder)
        environment["RAY_DASHBOARD_ADDRESS"] = address
        yield Head(address, f"{ip}:{gcs}", environment, folder)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        for process in processes_of(str(folder)):
            with suppress(psutil.Error):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def processes_of(word: str) -> list[psutil.Process]:
    """Processes of this machine with `word` on their command line or as part of their environment's `RAY_TMPDIR`."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid == os.getpid():
                continue
            line = " ".join(process.cmdline())
            if word in line or process.environ().get("RAY_TMPDIR") == word:
                found.append(process)
    return found


def fake_cluster(gcs: str, kinds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What `ray up` would have left on the head; the wheel of Ray lacks its own example."""
    workers = {
        kind["name"]: {
            "resources": {"object_store_memory": 100_000_000, **kind["resources"]},
            "node_config": {},
            "min_workers": 0,
            "max_workers": kind["max_workers"],
        }
        for kind in kinds
    }
    empty_lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "fake",
        "max_workers": sum(kind["max_workers"] for kind in kinds),
        "idle_timeout_minutes": 0.1,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": gcs,
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            **workers,
        },
        "head_node_type": "ray.head.default",
        "auth": {},
        "docker": {},
        **{f"{name}_commands": [] for name in empty_lists},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
    }


def _wait_for(address: str, head: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=2).read()
            return
        except urllib.error.HTTPError:
            return  # it answers, and wants a token
        except OSError:
            assert head.poll() is None, (folder / "head.log").read_text()
            assert time.monotonic() < deadline, "the job server did not answer"
            time.sleep(0.5)
