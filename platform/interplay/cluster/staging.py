"""Data sets on the node's own disk: copied there once, whole and as their digest says, whatever started first.

`$INTERPLAY_SCRATCH` names a folder on a fast local disk. The file system that all nodes share holds the data set; a
node reads it from there once, not once for each epoch and worker.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from glob import escape
from pathlib import Path

from interplay.atomic import replacing
from interplay.data.manifest import manifest_path, read_manifest
from interplay.errors import InterplayError

VARIABLE = "INTERPLAY_SCRATCH"
SPARE_BYTES = 1 << 30
"""Left free on the disk."""

_CHUNK = 16 << 20
_log = logging.getLogger(__name__)


def staged(dataset: Path, scratch: Path | None = None) -> Path:
    """The data set on this node's own disk, copied there now if it is not; `dataset` itself without such a disk.

    Several processes of a node copy it once: the first copies, the others wait. What lies beside it under the same
    name (its manifest, its origins) goes along. A disk that is too small is told of, and not used.

    Args:
        dataset: a `.beton` with its manifest.
        scratch: folder on the local disk; `$INTERPLAY_SCRATCH` if None.

    Raises:
        InterplayError: if what was read is not what the manifest says: the file or the network damaged it.
    """
    scratch = scratch or Path(os.environ.get(VARIABLE, ""))
    if scratch == Path():
        return dataset
    manifest = read_manifest(dataset)
    folder = scratch / "datasets" / manifest.digest[:16]
    copy = folder / dataset.name
    if copy.is_file():
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the local disk; the kernel lets go of it however the process ends
        if copy.is_file():
            return copy
        if (free := shutil.disk_usage(folder).free) < manifest.bytes + SPARE_BYTES:
            _log.warning(
                "%s has %.1f GB free, too little for %s: it is read where it is", scratch, free / 1e9, dataset
            )
            return dataset
        for beside in sorted(dataset.parent.glob(f"{escape(dataset.name)}.*")):
            if beside.is_file():
                shutil.copyfile(beside, folder / beside.name)
        if not manifest_path(copy).is_file():
            shutil.copyfile(manifest_path(dataset), manifest_path(copy))
        _copy_checked(dataset, copy, manifest.digest)
    return copy


def _copy_checked(source: Path, target: Path, digest: str) -> None:
    found = hashlib.sha256()
    with replacing(target) as out, source.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
            out.write(chunk)
        if found.hexdigest() != digest:
            raise InterplayError(
                f"{source} differs from its manifest (SHA-256 {found.hexdigest()[:12]} instead of {digest[:12]}); "
                "write it again with interplay data write"
            )
