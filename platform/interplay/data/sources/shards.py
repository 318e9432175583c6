"""WebDataset shards: tar files in which files of one name up to the first dot are one sample."""

from __future__ import annotations

import glob
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from interplay.data.sources.source import IMAGE_SUFFIXES, Source, number_labels, split_in, stamp_of
from interplay.errors import InterplayError, closest


@dataclass
class _Sample:
    place: str
    shard: int
    image: tuple[int, int] | None = None  # where its bytes start in the shard, and how many they are
    parts: set[str] = field(default_factory=set)
    labels: dict[str, object] = field(default_factory=dict)


def shards(
    pattern: str, *, labels: Sequence[str] | None = None, classes: Sequence[Sequence[str]] | None = None
) -> Source:
    """`KEY.jpg` (or another image) with `KEY.cls`, or with `KEY.json` that holds `label`, in tar files.

    The shards are read once to find where the images are; nothing is extracted. A shard whose name contains
    `train`, `val` or `test` belongs to that split, others to training.

    Args:
        pattern: of the shards' paths, as `shards/*.tar`, or their folder.
        labels: names of the label levels in `KEY.json`; `label` if not given. `cls` is a file of its own.
        classes: names of the classes of each level; otherwise taken from the labels.

    Raises:
        InterplayError: for a sample without an image or a label, a key that occurs twice, and a damaged shard.
    """
    files = _files(pattern)
    keys = list(labels or ())
    samples = [sample for number, file in enumerate(files) for sample in _index(file, number, keys)]
    if not samples:
        raise InterplayError(f"{pattern} holds no samples, as KEY.jpg with KEY.cls")
    keys = keys or (["cls"] if "cls" in samples[0].labels else ["label"])
    root = Path(pattern) if Path(pattern).is_dir() else Path(pattern).parent
    splits = [split_in(file.relative_to(root) if file.is_relative_to(root) else Path(file.name)) for file in files]
    columns, names = [], []
    for level, key in enumerate(keys):
        values = [_label(sample, key) for sample in samples]
        known = classes[level] if classes else None
        numbers, level_names = number_labels(values, known, repr(key), lambda p: samples[p].place)
        columns.append(numbers)
        names.append(level_names)

    def image(position: int) -> bytes:
        sample = samples[position]
        assert sample.image is not None
        with files[sample.shard].open("rb") as file:
            file.seek(sample.image[0])
            return file.read(sample.image[1])

    return Source(
        name=f"shards of {root.name}",
        image=image,
        place=lambda position: samples[position].place,
        labels=np.stack(columns, axis=1),
        split=np.array([splits[sample.shard] for sample in samples], dtype=np.int64),
        classes=names,
        stamp=lambda: stamp_of(files),
        origin=str(root.resolve()),
    )


def _files(pattern: str) -> list[Path]:
    if Path(pattern).is_dir():
        files = sorted(Path(pattern).rglob("*.tar"))
    else:
        files = sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    if not files:
        raise InterplayError(f"there are no shards {pattern}; give a pattern such as shards/*.tar in quotes")
    return files


def _index(path: Path, number: int, keys: list[str]) -> list[_Sample]:
    """The samples of one shard, with their labels read and their images not."""
    found: dict[str, _Sample] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                whole = PurePosixPath(member.name)
                stem, _, kind = whole.name.partition(".")
                kind = kind.lower()
                sample = found.setdefault(str(whole.with_name(stem or whole.name)), _Sample("", number))
                if kind in sample.parts:
                    raise InterplayError(f"{path} holds {member.name} twice; give every sample a key of its own")
                sample.parts.add(kind)
                if f".{kind.rpartition('.')[2]}" in IMAGE_SUFFIXES:
                    if sample.image is not None:
                        raise InterplayError(f"{path} holds two images of the key {stem}; keep one of them")
                    sample.place, sample.image = f"{path}/{member.name}", (member.offset_data, member.size)
                elif kind in ("cls", "json") or kind in keys:
                    content = tar.extractfile(member)
                    assert content is not None
                    _read_label(sample, path / member.name, kind, content.read())
    except FileNotFoundError:
        raise InterplayError(f"there is no file {path}") from None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InterplayError(f"{path} is no uncompressed tar file, or is damaged ({error}); write it again") from None
    for key, sample in found.items():
        if sample.image is None:
            raise InterplayError(f"{path}: the key {key} has {', '.join(sorted(sample.parts))} but no image")
    size = path.stat().st_size
    cut = next((s for s in found.values() if s.image and sum(s.image) > size), None)
    if cut is not None:
        raise InterplayError(f"{path} ends in the middle of {cut.place}; copy it again")
    return list(found.values())


def _read_label(sample: _Sample, place: Path, kind: str, content: bytes) -> None:
    if kind != "json":
        sample.labels[kind] = content.decode(errors="replace").strip()
        return
    try:
        tree = json.loads(content)
    except ValueError as error:
        raise InterplayError(f"{place} is no JSON ({error}); write it again") from None
    if not isinstance(tree, dict):
        raise InterplayError(f'{place} holds no object, as {{"label": 3}}')
    sample.labels |= tree


def _label(sample: _Sample, key: str) -> object:
    if key not in sample.labels:
        known = list(sample.labels)
        have = f", only {', '.join(known)}" if known else ""
        raise InterplayError(
            f"{sample.place} has no label {key!r}{have}"
            f"{closest(key, known) or '; add KEY.cls or KEY.json, or name yours with --label-columns'}"
        )
    return sample.labels[key]
