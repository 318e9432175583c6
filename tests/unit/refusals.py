"""How tests of the command line see that something was refused: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner, Result

from interplay.cli import main


def run(*command: str | Path) -> Result:
    return CliRunner().invoke(main, [str(c) for c in command])


def listing(folder: Path) -> dict[str, int]:
    """Every path under `folder`, with the time it was last written."""
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob("*")}


def check_refused(result: Result, message: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.startswith("Error: ")] == lines[-1:], result.output
    assert "Traceback" not in result.output
    assert re.search(message, lines[-1]), lines[-1]
    assert not result.stdout
