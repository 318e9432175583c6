"""The manifest beside a `.beton`: what it holds, and the digest that identifies it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from interplay.atomic import write_text
from interplay.errors import InterplayError

SPLITS = ("train", "val", "test")
"""Names of the splits; a sample's split is stored as the position in this tuple."""


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
    """

    source: str
    classes: list[list[str]]
    counts: dict[str, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bytes: int
    digest: str


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
