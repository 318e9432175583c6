"""Copies of a storage root in object storage: S3 and what speaks like it, Google's, or another folder.

A storage root itself stays a folder: journals are appended to and leases are made exclusively, which objects cannot
do. A copy is for keeping, for moving between clusters, and for data sets. In object storage an upload that breaks off
leaves no object; on a folder a temporary name is used. Of every cell `result.json` is copied last: half a copy of a
cell is an unfinished cell, that goes on from what there is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urlsplit

from pyarrow import fs  # type: ignore[import-untyped]

from interplay.atomic import replacing
from interplay.errors import InterplayError

LAST = "result.json"
IGNORED = ("lock", "lease.json", "answer.json")
FOLDERS = ("datasets", "cells", "studies")
"""In this order: a study finds its cells, and a cell its data set."""

ENDPOINT = "AWS_ENDPOINT_URL"
THREADS = 8
_CHUNK = 4 << 20


@dataclass(frozen=True)
class Copied:
    """How many files were copied, of how many bytes, and how many were there already."""

    files: int
    bytes: int
    kept: int

    def __add__(self, other: Copied) -> Copied:
        return Copied(self.files + other.files, self.bytes + other.bytes, self.kept + other.kept)

    def text(self) -> str:
        return f"{self.files} files copied ({self.bytes / 1e6:.1f} MB), {self.kept} were there already"


def push(root: Path, place: str, below: Sequence[str] = FOLDERS) -> Copied:
    """Copies what is in the folders `below` the storage root to `place`.

    Raises:
        InterplayError: if the storage cannot be reached.
    """
    return _copy(_Folder(root), _Objects(*open_place(place)), below)


def pull(root: Path, place: str, below: Sequence[str] = FOLDERS) -> Copied:
    """Copies what is in the folders `below` `place` to the storage root.

    A journal that is longer here than there is kept: what was recorded is never cut.

    Raises:
        InterplayError: if the storage cannot be reached.
    """
    return _copy(_Objects(*open_place(place)), _Folder(root), below)


def open_place(place: str) -> tuple[fs.FileSystem, str]:
    """The file system of `s3://bucket/folder`, `gs://...` or `file:///...`, and the folder in it.

    Credentials are those of the machine: its role, or the usual variables. An endpoint of one's own is in
    `$AWS_ENDPOINT_URL`, or in the address (`s3://bucket/folder?endpoint_override=...`).

    Raises:
        InterplayError: if there is no such kind of storage.
    """
    parts = urlsplit(place)
    if not parts.scheme:
        raise InterplayError(
            f"{place} is no address of object storage; give s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
        )
    endpoint = os.environ.get(ENDPOINT)
    try:
        if parts.scheme == "s3" and endpoint and "endpoint_override" not in parse_qs(parts.query):
            where = urlsplit(endpoint)
            system: fs.FileSystem = fs.S3FileSystem(
                endpoint_override=where.netloc or where.path,
                scheme=where.scheme or "https",
                region=os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
            )
            return system, f"{parts.netloc}{parts.path}".rstrip("/")
        system, base = fs.FileSystem.from_uri(place)
    except (OSError, ValueError) as error:
        raise InterplayError(f"{place} cannot be reached: {(str(error).splitlines() or [''])[0]}") from None
    return system, base.rstrip("/")


class _Folder:
    """A storage root on this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self, below: str) -> Iterator[tuple[str, int]]:
        """Path below the root and size of each file."""
        folder = self._root / below
        for path in sorted([folder] if folder.is_file() else folder.rglob("*")):
            if path.is_file() and not path.name.startswith(".") and path.name not in IGNORED:
                yield path.relative_to(self._root).as_posix(), path.stat().st_size

    def read(self, name: str) -> Iterator[bytes]:
        with (self._root / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def write(self, name: str, chunks: Iterator[bytes]) -> None:
        with replacing(self._root / name) as file:
            for chunk in chunks:
                file.write(chunk)


class _Objects:
    """A storage root in object storage."""

    def __init__(self, system: fs.FileSystem, base: str) -> None:
        self._system, self._base = system, base

    def files(self, below: str) -> Iterator[tuple[str, int]]:
        """Path below the root and size of each file."""
        place = f"{self._base}/{below}"
        one = self._system.get_file_info([place])[0]
        found = [one] if one.type == fs.FileType.File else []
        if not found:
            found = self._system.get_file_info(fs.FileSelector(place, allow_not_found=True, recursive=True))
        for info in sorted(found, key=lambda info: info.path):
            if info.type == fs.FileType.File and not info.path.endswith(".part"):
                yield info.path.removeprefix(f"{self._base}/"), info.size

    def read(self, name: str) -> Iterator[bytes]:
        with self._system.open_input_stream(f"{self._base}/{name}") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def write(self, name: str, chunks: Iterator[bytes]) -> None:
        """Writes an object, or none: a killed process completes none, and one that fails is removed."""
        place = f"{self._base}/{name}"
        local = self._system.type_name == "local"
        if local:
            self._system.create_dir(str(PurePosixPath(place).parent), recursive=True)
        written = f"{place}.part" if local else place
        try:
            with self._system.open_output_stream(written) as stream:
                for chunk in chunks:
                    stream.write(chunk)
        except BaseException:
            with suppress(OSError):
                self._system.delete_file(written)  # leaving the block has completed it
            raise
        if local:
            self._system.move(written, place)


def _copy(source: _Folder | _Objects, target: _Folder | _Objects, below: Sequence[str]) -> Copied:
    try:
        there = {name: size for folder in below for name, size in target.files(folder)}
        files = [(name, size) for folder in below for name, size in source.files(folder)]
        wanted = [(name, size) for name, size in files if _is_wanted(name, size, there)]
        with ThreadPoolExecutor(THREADS) as pool:
            for last in (False, True):
                # results once all else of all cells is there
                part = [name for name, _ in wanted if name.endswith(f"/{LAST}") == last]
                list(pool.map(lambda name: target.write(name, source.read(name)), part))
    except OSError as error:
        raise InterplayError(
            f"copying broke off ({(str(error).splitlines() or [''])[0]}); the same command again goes on"
        ) from None
    return Copied(len(wanted), sum(size for _, size in wanted), len(files) - len(wanted))


def _is_wanted(name: str, size: int, there: Mapping[str, int]) -> bool:
    """Whether the file must be copied over what is `there`.

    A cell with a result never changes again. Journals only grow; checkpoints and what says what a study is may change
    without growing.
    """
    if name not in there:
        return True
    cell = "/".join(name.split("/")[:2])
    if name.startswith("cells/") and f"{cell}/{LAST}" in there:
        return False
    if name.endswith((".jsonl", ".journal")):
        return size > there[name]
    return size != there[name] or name.endswith((".pt", "/study.yaml"))
