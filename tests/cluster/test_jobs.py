"""Searches as jobs on a local cluster: through `interplay submit` and through plain `ray job submit`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SMALL = ["-s", "schedule.epochs=2", "-s", "schedule.warmup_epochs=1", "--trials", "2"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """A head of our own on free ports; the environment in which jobs are submitted to it."""
    gcs, dashboard, client, agent = free_port(), free_port(), free_port(), free_port()
    environment = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "PYTHONPATH")}
    environment |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    # what Ray notes of its last cluster must not reach others on this machine; sockets need a short path
    environment["RAY_TMPDIR"] = temporary = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    environment["PATH"] = f"{BIN}{os.pathsep}{environment['PATH']}"  # as on a head with its environment activated
    command = [str(BIN / "ray"), "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}"]
    command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}", f"--ray-client-server-port={client}"]
    # a second Ray on a machine finds the agent's default port taken, and runs on without an agent that takes jobs
    command += [f"--dashboard-agent-listen-port={agent}"]
    head = subprocess.Popen(
        [*command, "--num-cpus=2", "--disable-usage-stats"], env=environment, start_new_session=True
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/version", timeout=2).read()
                break
            except OSError:
                assert head.poll() is None, "the head did not start"
                assert time.monotonic() < deadline, "the job server did not answer"
                time.sleep(0.5)
        yield {**environment, "RAY_API_SERVER_ADDRESS": address, "RAY_DASHBOARD_ADDRESS": address}
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def search(name: str, storage: Path) -> list[str]:
    options = ["search", "digits.deit_small_patch4", "digits.demo", "--name", name, *SMALL]
    return ["--storage", str(storage), *options]


def test_interplay_submit_and_ray_job_submit(cluster: dict[str, str], tmp_path: Path) -> None:
    def run(command: list[str]) -> str:
        done = subprocess.run(command, cwd=ROOT, env=cluster, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    out = run([str(BIN / "interplay"), "submit", *search("one", tmp_path)])
    assert re.search(r"^0 .*COMPLETE|^1 .*COMPLETE", out, re.MULTILINE)
    assert len(list(tmp_path.glob("cells/*/result.json"))) == 2

    # the plain way; it finds both cells and trains nothing
    environment = '{"env_vars": {"PYTHONPATH": "platform:."}, "excludes": [".git", ".venv", "runs"]}'
    submit = [str(BIN / "ray"), "job", "submit", "--working-dir", ".", "--runtime-env-json", environment, "--"]
    out = run([*submit, "python", "-m", "interplay", *search("two", tmp_path)])
    assert "COMPLETE" in out
    assert len(list(tmp_path.glob("cells/*/result.json"))) == 2

    # inside a job, `platform` is the standard library's though the working directory has a folder of that name
    code = "import platform, os; print('platform is', platform.python_version(), os.path.isdir('platform'))"
    assert "platform is 3." in run([*submit, "python", "-c", code])
