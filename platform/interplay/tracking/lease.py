"""Leases: of two drivers on one storage root only one trains a cell at a time.

A lease is the file `cells/FINGERPRINT/lease.json`. It is made with O_EXCL, which NFS keeps atomic where locks may
not work, and renewed by its modification time, compared with a file touched on the same file system: no clock of
another machine is trusted. The driver also answers its worker beside it, in `answer.json`: go on, or stop.

A driver that was paused past its lease finds it taken; its worker looks before it writes a record, a checkpoint or
a result, and stops. What can still happen between that look and the write is harmless: both write the same numbers.
A lease of a cell that has its result says nothing: a killed driver may leave one.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

RENEW_S, EXPIRES_S = 5.0, 30.0
LEASE, ANSWER = "lease.json", "answer.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the driver last said to a cell's worker: the last epoch it has heard of, and why to stop, if at all."""

    epoch: int = 0
    stop: str = ""


class Leases:
    """The leases of one driver, renewed by a thread for as long as this context lasts.

    Args:
        cells: the folder of all cells.
        study: for the message to others.
        renew_s: seconds between renewals.
        expires_s: a lease not renewed for so long may be taken by another.
    """

    def __init__(
        self, cells: Path, study: str = "", *, renew_s: float = RENEW_S, expires_s: float = EXPIRES_S
    ) -> None:
        self.holder = uuid4().hex
        self._cells, self._renew_s, self._expires_s = cells, renew_s, expires_s
        self._clock = cells / f".clock-{self.holder}"
        self._content = json.dumps({"holder": self.holder, "study": study, **_this_process()})
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)

    def __enter__(self) -> Leases:
        self._cells.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for fingerprint in self.held():
            self.release(fingerprint)
        self._clock.unlink(missing_ok=True)

    def held(self) -> list[str]:
        """The cells leased to this driver, as far as it knows."""
        with self._lock:
            return list(self._answers)

    def take(self, fingerprint: str) -> bool:
        """Leases the cell; False if another live driver has it."""
        directory = self._cells / fingerprint
        directory.mkdir(parents=True, exist_ok=True)
        if not _created(directory / LEASE, self._content) and not self._taken_over(directory):
            return False
        (directory / ANSWER).unlink(missing_ok=True)  # meant for another worker
        with self._lock:
            self._answers[fingerprint] = Answer()
        return True

    def release(self, fingerprint: str) -> None:
        """Gives the lease back, if it is still this driver's."""
        with self._lock:
            self._answers.pop(fingerprint, None)
        directory = self._cells / fingerprint
        if is_held(directory, self.holder):
            (directory / ANSWER).unlink(missing_ok=True)
            (directory / LEASE).unlink(missing_ok=True)

    def answer(self, fingerprint: str, epoch: int = 0, stop: str = "") -> None:
        """Tells the cell's worker that `epoch` was heard of, and to stop, if `stop` says why. A stop stands."""
        with self._lock:
            before = self._answers.get(fingerprint)
            if before is None:
                return
            now = Answer(max(epoch, before.epoch), before.stop or stop)
            self._answers[fingerprint] = now
            temporary = self._cells / fingerprint / f".{ANSWER}.{self.holder}"
            temporary.write_text(json.dumps({"holder": self.holder, **vars(now)}), encoding="utf-8")
            temporary.replace(self._cells / fingerprint / ANSWER)

    def stop_all(self, reason: str) -> None:
        """Tells all workers to stop at their next checkpoint."""
        for fingerprint in self.held():
            self.answer(fingerprint, stop=reason)

    def _taken_over(self, directory: Path) -> bool:
        """Takes a lease that was not renewed, or whose process is dead. One of several who try succeeds."""
        lease = directory / LEASE
        try:
            found, touched = _read(lease)
        except FileNotFoundError:
            return _created(lease, self._content)
        if self._now() - touched < self._expires_s and not _is_dead(found):
            return False
        marker = directory / f".{LEASE}.{found.get('holder', 'none')}.over"
        if not _created(marker, self._content):
            with suppress(FileNotFoundError):  # left by a driver that was killed right here
                if self._now() - marker.stat().st_mtime > self._expires_s:
                    marker.unlink()
            return False
        try:
            if _read(lease) != (found, touched):
                return False  # another was faster, or it was renewed after all
            temporary = directory / f".{LEASE}.{self.holder}"
            temporary.write_text(self._content, encoding="utf-8")
            temporary.replace(lease)
        except FileNotFoundError:
            return False
        finally:
            marker.unlink(missing_ok=True)
        return True

    def _now(self) -> float:
        """The file system's time."""
        self._clock.touch()
        return self._clock.stat().st_mtime

    def _renew(self) -> None:
        while not self._stop.wait(self._renew_s):
            for fingerprint in self.held():
                try:
                    if is_held(self._cells / fingerprint, self.holder):
                        os.utime(self._cells / fingerprint / LEASE)
                except OSError as error:
                    _log.warning("the lease of cell %s could not be renewed (%s)", fingerprint, error)


def is_held(directory: Path, holder: str) -> bool:
    """Whether the cell in `directory` is leased to `holder`. A file system without an answer takes nothing away."""
    try:
        return bool(_read(directory / LEASE)[0].get("holder") == holder)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def read_answer(directory: Path, holder: str) -> Answer:
    """What `holder` last said to the worker of the cell in `directory`."""
    try:
        found = json.loads((directory / ANSWER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return Answer()
    return Answer(found["epoch"], found["stop"]) if found.pop("holder", "") == holder else Answer()


def _created(path: Path, content: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, content.encode())
    finally:
        os.close(descriptor)
    return True


def _read(path: Path) -> tuple[dict[str, Any], float]:
    """What a lease says, and when it was renewed; opened first, since NFS then asks the server how old it is."""
    with path.open("rb") as file:
        touched = os.fstat(file.fileno()).st_mtime
        text = file.read()
    try:
        found = json.loads(text)
    except ValueError:
        found = {}  # made, not yet written
    return (found if isinstance(found, dict) else {}), touched


@cache
def _this_process() -> dict[str, Any]:
    """Enough to tell on the same machine whether this process still lives: numbers of processes are used again."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "born": psutil.Process().create_time(),
    }


def _machine() -> str:
    """This boot of this machine, and the namespace in which a process number means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _is_dead(found: dict[str, Any]) -> bool:
    """A driver of this machine that was killed need not be waited for."""
    if not found.get("machine") or found["machine"] != _machine():
        return False
    try:
        return bool(abs(psutil.Process(found["pid"]).create_time() - found["born"]) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
