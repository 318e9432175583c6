"""Data sets on a node's own disk: copied once, whole, as their digest says."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from interplay.cluster import staging
from interplay.cluster.staging import staged
from interplay.data.manifest import manifest_path, read_manifest
from interplay.data.verify import open_checked
from interplay.errors import InterplayError


@pytest.fixture
def shared(digits_beton: Path, tmp_path: Path) -> Path:
    """The digits on a file system of all nodes."""
    folder = tmp_path / "shared"
    folder.mkdir()
    for path in digits_beton.parent.glob(f"{digits_beton.name}*"):
        shutil.copy(path, folder)
    return folder / digits_beton.name


def test_without_a_local_disk_it_is_read_where_it_is(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INTERPLAY_SCRATCH", raising=False)
    assert staged(shared) == shared


def test_it_is_copied_once_and_whole(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPLAY_SCRATCH", str(tmp_path / "nvme"))
    copy = staged(shared)
    assert copy != shared
    assert copy.read_bytes() == shared.read_bytes()
    assert open_checked(copy)[0] == read_manifest(shared)
    written = copy.stat().st_mtime_ns
    shared.unlink()  # it is not read again
    assert staged(shared) == copy
    assert copy.stat().st_mtime_ns == written


def test_another_data_set_of_the_same_name_is_another(shared: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "nvme"
    first = staged(shared, scratch)
    manifest = manifest_path(shared)
    shared.write_bytes(shared.read_bytes() + b"more")
    digest = read_manifest(shared).digest
    new = hashlib.sha256(shared.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(digest, new))
    second = staged(shared, scratch)
    assert first != second
    assert first.read_bytes() != second.read_bytes()


def test_a_damaged_file_is_refused_and_leaves_nothing(shared: Path, tmp_path: Path) -> None:
    content = bytearray(shared.read_bytes())
    content[len(content) // 2] ^= 1
    shared.write_bytes(content)
    with pytest.raises(InterplayError, match="differs from its manifest"):
        staged(shared, tmp_path / "nvme")
    assert not list((tmp_path / "nvme").rglob("*.beton"))
    assert not list((tmp_path / "nvme").rglob("*.tmp"))


def test_a_disk_that_is_too_small_is_not_used(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("interplay.cluster.staging.SPARE_BYTES", 1 << 60)
    with caplog.at_level(logging.WARNING):
        assert staged(shared, tmp_path / "nvme") == shared
    assert "too little" in caplog.text


def test_of_four_at_the_same_time_one_copies(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[Path] = []
    real = staging._copy_checked

    def slowly(source: Path, target: Path, digest: str) -> None:
        copies.append(target)
        time.sleep(0.3)
        real(source, target, digest)

    monkeypatch.setattr(staging, "_copy_checked", slowly)
    with ThreadPoolExecutor(4) as pool:  # the lock is one of files: processes wait for it as threads do
        found = set(pool.map(lambda _: staged(shared, tmp_path / "nvme"), range(4)))
    assert list(found) == copies
    assert open_checked(copies[0])[0] == read_manifest(shared)
