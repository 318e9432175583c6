"""Keeping MLflow up to date from the driver: whoever runs a study never waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from interplay.tracking.mlflow import Child, StudyRun

_log = logging.getLogger(__name__)


class Publisher:
    """Keeps MLflow up to date from a thread of the driver, without ever holding up the study.

    It begins a little after the first cell: MLflow takes seconds of processor time to import, and so do the processes
    that train.
    """

    def __init__(self, study: StudyRun, every_s: float = 2.0, first_s: float = 4.0) -> None:
        self._study, self._every_s, self._first_s = study, every_s, first_s
        self._children: dict[str, Child] = {}  # whose journals may still grow
        self._training: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="mlflow-publisher", daemon=True)

    def start(self) -> None:
        if self._thread.ident is None:
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
        self.start()

    def ended(self, child: Child) -> None:
        """Nothing trains the cell any more. One that did not start here was trained by another driver."""
        with self._lock:
            if child.fingerprint in self._training:
                self._training.remove(child.fingerprint)
            else:
                self._children[child.fingerprint] = child
        self.start()

    def finish(self, status: str, texts: Callable[[], Mapping[str, str]] = dict, timeout_s: float = 60.0) -> bool:
        """Sends what is left and ends the parent run; False if MLflow is away, or does not answer for `timeout_s`.

        What was not sent stays in the journals: `interplay sync` sends it.

        Args:
            status: of the parent run.
            texts: makes its artifacts (name -> content) when every cell has a run that they may link to.
            timeout_s: for the call that may be under way.
        """
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if self._thread.is_alive() or not self._done(self._send_rest):
            return False
        made = texts()  # an error in here is ours, not MLflow's
        return self._done(lambda: self._study.close(status, made))

    def _send_rest(self) -> None:
        self._study.open()
        self._push_all()
        self._study.stop_children()

    def _done(self, call: Callable[[], None]) -> bool:
        try:
            call()
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
        wait = self._first_s
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
