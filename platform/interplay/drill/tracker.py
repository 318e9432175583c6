"""An MLflow server that goes away and comes back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from interplay.cluster.session import free_port
from interplay.errors import InterplayError

START_S = 120.0


class Tracker:
    """An MLflow server on this machine, over `folder/mlflow.db`; a context, in which it runs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Tracker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it answers.

        Raises:
            InterplayError: if it does not.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        variables = {**self._environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        variables.pop("MLFLOW_TRACKING_URI", None)
        with (self._folder / "server.txt").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=variables, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.2)
        raise InterplayError(f"the MLflow server does not start; what it said is in {self._folder / 'server.txt'}")

    def kill(self) -> None:
        """It refuses connections from now on."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)  # its workers too
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """It takes connections and never answers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        """It answers again."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGCONT)
