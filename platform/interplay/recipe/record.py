"""A recipe's docstring is its record: where it comes from, what to expect, what it costs, how to run it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from interplay.errors import InterplayError


@dataclass(frozen=True)
class Record:
    """What a recipe's docstring states."""

    summary: str
    source: str
    expected: str
    cost: str
    run: str


def record_of(function: Callable[..., Any]) -> Record:
    """The record in `function`'s docstring: a summary, then lines `Source:`, `Expected:`, `Cost:`, `Run:`.

    Raises:
        InterplayError: if a line is missing; a recipe without its record is not one.
    """
    doc = inspect.getdoc(function) or ""
    found: dict[str, str] = {}
    last = ""
    for line in doc.splitlines():
        key, colon, text = line.partition(":")
        if colon and key in ("Source", "Expected", "Cost", "Run"):
            last = key.lower()
            found[last] = text.strip()
        elif last and line.startswith(" "):
            found[last] += " " + line.strip()
        else:
            last = ""
    missing = [k for k in ("source", "expected", "cost", "run") if not found.get(k)]
    if not doc or missing:
        raise InterplayError(f"recipe {function.__name__}: the docstring lacks {', '.join(missing) or 'everything'}")
    return Record(summary=doc.splitlines()[0], **found)
