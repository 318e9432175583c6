"""Where each stored sample came from, and the checksum of its bytes: a compressed file beside the `.beton`."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from interplay.atomic import replacing
from interplay.errors import InterplayError


@dataclass(frozen=True)
class Origins:
    """Of every sample in the order of the file.

    Attributes:
        places: where it came from, as the source names it.
        checksums: CRC-32 of its stored bytes.
        digest: SHA-256 of the `.beton` that this belongs to.
    """

    places: list[str]
    checksums: list[int]
    digest: str


def origins_path(beton: Path) -> Path:
    """`photos.beton` -> `photos.beton.samples.gz`."""
    return beton.with_name(beton.name + ".samples.gz")


def write_origins(beton: Path, origins: Origins) -> None:
    """Writes `origins` beside `beton`, atomically; the same origins give the same bytes."""
    with replacing(origins_path(beton)) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        # a path of a file system may hold bytes that are no text
        packed.write(json.dumps(vars(origins), ensure_ascii=False).encode(errors="surrogateescape"))


def read_origins(beton: Path, digest: str) -> Origins:
    """The origins beside `beton`, which has `digest`.

    Raises:
        InterplayError: if they are missing, damaged, or of another file.
    """
    path = origins_path(beton)
    again = "write the data set again to have it"
    try:
        text = gzip.decompress(path.read_bytes()).decode(errors="surrogateescape")
        found = Origins(**json.loads(text))
    except FileNotFoundError:
        raise InterplayError(
            f"{beton} has no {path.name} beside it, which tells where samples came from; {again}"
        ) from None
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise InterplayError(f"{path} is damaged ({error}); {again}") from None
    if found.digest != digest:
        raise InterplayError(f"{path} belongs to another data set than {beton}; {again}")
    return found
