"""Which code produced a number."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path


@cache
def code_revision() -> str:
    """The git commit of this code, with `+dirty` if files differ from it; `$INTERPLAY_REVISION` inside a job."""
    if given := os.environ.get("INTERPLAY_REVISION"):
        return given
    folder = Path(__file__).parent
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        return f"{commit}+dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
