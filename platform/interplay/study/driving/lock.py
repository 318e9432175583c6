"""One driver at a time for each study."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interplay.errors import InterplayError

_LOCK = "lock"


def check_free(directory: Path) -> None:
    """Refuses a study that another process has, before time is spent on what comes before its lock.

    Raises:
        InterplayError: naming the process.
    """
    if (directory / _LOCK).is_file():
        with study_lock(directory):
            pass


@contextmanager
def study_lock(directory: Path) -> Iterator[None]:
    """Holds the study for this process; the kernel lets go of it however the process ends.

    Raises:
        InterplayError: if another process has it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise InterplayError(
                f"study {directory.name!r} is being run by process {file.read().strip() or 'unknown'}; "
                "stop it first, or choose another --name"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
