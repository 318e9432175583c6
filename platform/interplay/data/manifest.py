"""The manifest beside a `.beton`: what it holds, and the digest that identifies it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from interplay.atomic import write_text
from interplay.errors import InterplayError

SPLITS = ("train", "val", "test")
"""Names of the splits; a sample's split is stored as the position in this tuple."""


@dataclass(frozen=True)
class Writing:
    """How a `.beton` was written, and what is in it in more detail; for people, nothing is computed from it.

    Attributes:
        origin: path of the source; empty if it was no file.
        seed: of the carving.
        shares: asked for of `val` and `test`, which count only where the source had no such split.
        options: `quality`, `max_side`, `tiles` (side in pixels), `background`, `on_error`; None where not asked for.
        loss: mean absolute difference between an image and what is stored of it, in grey levels, over a sample.
        skipped: samples left out because they could not be stored.
        stored: images stored as `jpeg` and as `pixels`.
        sizes: least, median and largest `width` and `height` of the stored images, in pixels.
        per_class: split -> label level -> samples of each class.
        notes: sentences about what is unusual.
    """

    origin: str = ""
    seed: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    loss: float = 0.0
    skipped: int = 0
    stored: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, list[int]] = field(default_factory=dict)
    per_class: dict[str, list[list[int]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Manifest:
    """What is known of a `.beton` without opening it.

    Attributes:
        source: what it was written from.
        classes: names of each label level's classes; the first level is the one that is trained on.
        counts: samples per split.
        mean: of the training split's pixels in [0, 1], per channel.
        std: their standard deviation.
        bytes: size of the file.
        digest: SHA-256 of the file, in hexadecimal.
        writing: how it was written; None in files of older versions.
    """

    source: str
    classes: list[list[str]]
    counts: dict[str, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bytes: int
    digest: str
    writing: Writing | None = None


def manifest_path(beton: Path) -> Path:
    """`digits.beton` -> `digits.beton.json`."""
    return beton.with_name(beton.name + ".json")


def write_manifest(beton: Path, manifest: Manifest) -> None:
    """Writes the manifest beside `beton`, atomically."""
    write_text(manifest_path(beton), json.dumps(asdict(manifest), indent=1, ensure_ascii=False))


def read_manifest(beton: Path) -> Manifest:
    """The manifest beside `beton`.

    Raises:
        InterplayError: if it is missing or unreadable.
    """
    path = manifest_path(beton)
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        tree["mean"], tree["std"] = tuple(tree["mean"]), tuple(tree["std"])
        if tree.get("writing") is not None:
            tree["writing"] = Writing(**tree["writing"])
        return Manifest(**tree)
    except FileNotFoundError:
        raise InterplayError(
            f"{beton} has no manifest {path.name} beside it; write the data set with interplay data write"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InterplayError(f"the manifest {path} is damaged ({error}); write the data set again") from None


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
