"""Stopping the driver of a study that runs on this machine."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import psutil

from interplay.errors import InterplayError

WAIT_S = 180.0


def stop_driver(directory: Path, wait_s: float = WAIT_S) -> int:
    """Tells the process that runs the study in `directory` to stop, as Ctrl-C does, and waits for it; its number.

    Raises:
        InterplayError: if none is running it, it runs on another machine, or does not end.
    """
    name, lock = directory.name, directory / "lock"
    if not _held(lock):
        raise InterplayError(f"study {name!r} is not running; nothing to stop")
    pid = _pid(lock)
    if pid is None or not psutil.pid_exists(pid):
        raise InterplayError(f"study {name!r} is run by another machine; run interplay stop there")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + wait_s
    while _held(lock):
        if time.monotonic() > deadline:
            raise InterplayError(f"process {pid} does not end; kill it, and run the study's command to go on")
        time.sleep(0.2)
    return pid


def _held(lock: Path) -> bool:
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _pid(lock: Path) -> int | None:
    text = lock.read_text(encoding="ascii").strip()
    return int(text) if text.isdigit() else None
