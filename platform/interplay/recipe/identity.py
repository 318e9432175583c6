"""A cell's identity: the hash of everything that decides its result."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from interplay.recipe.part import Part
from interplay.recipe.tree import Recipe

RESULTS_VERSION = 3
"""Raised when numerics change on purpose; the golden curves tell when that happened."""


def fingerprint(recipe: Recipe, dataset_digest: str, after: str = "") -> str:
    """16 hexadecimal digits: SHA-256 of the resolved recipe, the dataset's digest and `RESULTS_VERSION`.

    `after` is the fingerprint of the earlier stage that `recipe.after` describes, whose data set may be another.

    What a part declares as `not_identity` is left out: names, and paths whose content is hashed. So are fields
    at their default, so that a field added later, whose default does what was done before, orphans no cell. A
    default is therefore never changed without raising `RESULTS_VERSION`; a test holds them all.

    Raises:
        ValueError: if only one of `after` and `recipe.after` is given.
    """
    if bool(after) != (recipe.after is not None):
        raise ValueError("a recipe with an earlier stage needs that stage's fingerprint, and only such a recipe")
    tree = _tree(recipe.model_copy(update={"after": None}))
    identity = {"recipe": tree, "dataset": dataset_digest, "results_version": RESULTS_VERSION}
    if after:
        identity["after"] = after
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _tree(part: Part) -> dict[str, Any]:
    plain = part.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, field in type(part).model_fields.items():
        if name in part.not_identity:
            continue
        value, default = getattr(part, name), field.get_default(call_default_factory=True)
        as_default = value == default
        if isinstance(value, Part) and isinstance(default, Part):
            as_default = _tree(value) == _tree(default)
        if name in ("kind", "family") or not as_default:
            found[name] = _plain(value, plain[name])
    return found


def _plain(value: Any, plain: Any) -> Any:
    if isinstance(value, Part):
        return _tree(value)
    if isinstance(value, tuple) and value and all(isinstance(v, tuple) and isinstance(v[-1], Part) for v in value):
        return {name: _tree(part) for name, part in value}
    return plain
