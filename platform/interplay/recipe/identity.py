"""A cell's identity: the hash of everything that decides its result."""

from __future__ import annotations

import hashlib
import json

from interplay.recipe.tree import Recipe

RESULTS_VERSION = 1
"""Raised when numerics change on purpose; the golden curves tell when that happened."""


def fingerprint(recipe: Recipe, dataset_digest: str) -> str:
    """16 hexadecimal digits: SHA-256 of the resolved recipe, the dataset's digest and `RESULTS_VERSION`.

    The recipe's name and the paths of the data set and of an own model are left out: they do not change a
    result, their content does.
    """
    tree = recipe.model_dump(mode="json", exclude={"name": True, "data": {"dataset"}, "model": {"source"}})
    identity = {"recipe": tree, "dataset": dataset_digest, "results_version": RESULTS_VERSION}
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
