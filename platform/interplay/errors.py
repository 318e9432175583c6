"""The one exception for mistakes a person can mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InterplayError(Exception):
    """Bad input: the message is one clear sentence that names the fix.

    The command line prints it without a traceback and exits with code 2. Raise it before any process
    starts and before anything is written.
    """


def closest(name: str, valid: Iterable[str], count: int = 3) -> str:
    """`"; did you mean 'a' or 'b'?"` for a misspelt `name`, or an empty string if nothing is near."""
    near = difflib.get_close_matches(name, list(valid), n=count, cutoff=0.6)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
