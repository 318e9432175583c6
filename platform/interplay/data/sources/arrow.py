"""Image data sets of the Hugging Face hub: parquet files, or the arrow files of `save_to_disk`."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from interplay.data.sources.source import Source, Stored, number_labels, split_in, stamp_of
from interplay.errors import InterplayError, closest

_HELD = 3
"""Row groups whose images are held in memory: neighbours are read together."""


@dataclass(frozen=True)
class _Group:
    """Some rows of one file that are read together."""

    file: Path
    rows: int
    first: int  # row of the file
    column: Callable[[str], Any]  # a column's name -> its values as an arrow array


def arrow_files(
    path: Path,
    *,
    image: str | None = None,
    labels: Sequence[str] | None = None,
    classes: Sequence[Sequence[str]] | None = None,
) -> Source:
    """Rows of an image (its bytes, or a structure of `bytes` and `path`) and its labels.

    A file whose name or folder contains `train`, `validation` or `test` belongs to that split, others to training.

    Args:
        path: one file, or a folder of them: `*.parquet`, or `*.arrow` as `save_to_disk` writes.
        image: column of the images; `image` or `img` if not given.
        labels: columns of the label levels; otherwise `label`, or `fine_label` and `coarse_label`.
        classes: names of the classes of each level; otherwise those that Hugging Face keeps in the files.

    Raises:
        InterplayError: for files without such columns, and labels that are neither numbers nor names of classes.
    """
    files = _files(path)
    groups, schema = _groups(files)
    image = _column(path, schema, image, ("image", "img"), "an image")
    labels = labels or _label_columns(path, schema)
    starts = np.cumsum([0, *(group.rows for group in groups)])
    if not starts[-1]:
        raise InterplayError(f"{path} holds no rows")
    root = path if path.is_dir() else path.parent
    reader = _Images(groups, starts, image)
    columns, names = [], []
    for level, name in enumerate(labels):
        _column(path, schema, name, (), "a label")
        _check_type(path, schema, name)
        values = [value for group in groups for value in group.column(name).to_pylist()]
        known = classes[level] if classes else _class_names(schema, name)
        numbers, level_names = number_labels(values, known, f"{path.name}: {name!r}", reader.place)
        columns.append(numbers)
        names.append(level_names)
    splits = [split_in(group.file.relative_to(root)) for group in groups]
    return Source(
        name=f"rows of {path.name}",
        image=reader.image,
        place=reader.place,
        labels=np.stack(columns, axis=1),
        split=np.repeat(np.array(splits, dtype=np.int64), [group.rows for group in groups]),
        classes=names,
        stamp=lambda: stamp_of(files),
        origin=str(path.resolve()),
    )


class _Images:
    """Images by position; the row groups read last are held."""

    def __init__(self, groups: list[_Group], starts: Any, column: str) -> None:
        self._groups, self._starts, self._column = groups, starts, column
        self._held: OrderedDict[int, Any] = OrderedDict()
        self._lock = threading.Lock()

    def _find(self, position: int) -> tuple[int, int]:
        group = int(np.searchsorted(self._starts, position, side="right")) - 1
        return group, int(position - self._starts[group])

    def place(self, position: int) -> str:
        number, row = self._find(position)
        group = self._groups[number]
        return f"{group.file} row {group.first + row}"

    def image(self, position: int) -> Stored:
        number, row = self._find(position)
        with self._lock:  # one thread reads a group, the others wait for it
            if number not in self._held:
                self._held[number] = self._groups[number].column(self._column)
                if len(self._held) > _HELD:
                    self._held.popitem(last=False)
            values = self._held[number]
        value = values[row].as_py()
        if isinstance(value, dict):
            if value.get("bytes") is None and value.get("path"):
                return (self._groups[number].file.parent / str(value["path"])).read_bytes()
            value = value.get("bytes")
        if value is None:
            raise ValueError("its row holds no image")
        content: bytes = value
        return content


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(path.rglob("*.parquet")) or sorted(
        f for f in path.rglob("*.arrow") if not f.name.startswith("cache-")
    )
    if not files:
        raise InterplayError(f"there are no .parquet files in {path}")
    return files


def _groups(files: list[Path]) -> tuple[list[_Group], Any]:
    """All row groups in order, and the schema that the files share."""
    groups: list[_Group] = []
    schema: Any = None
    for file in files:
        try:
            found, own = _parquet(file) if file.suffix == ".parquet" else _stream(file)
        except FileNotFoundError:
            raise InterplayError(f"there is no file {file}") from None
        except (OSError, ValueError) as error:  # arrow's own errors are these
            reason = (str(error).splitlines() or ["damaged"])[0]
            raise InterplayError(f"{file} is no {file.suffix[1:]} file ({reason}); download it again") from None
        if schema is not None and own.names != schema.names:
            raise InterplayError(
                f"{file} has the columns {', '.join(own.names)}, but {files[0].name} has {', '.join(schema.names)}; "
                f"write them separately"
            )
        schema = schema or own
        groups += found
    return groups, schema


def _parquet(file: Path) -> tuple[list[_Group], Any]:
    import pyarrow.parquet as parquet  # type: ignore[import-untyped]

    def reader(number: int) -> Callable[[str], Any]:
        def column(name: str) -> Any:
            with parquet.ParquetFile(file) as opened:
                return opened.read_row_group(number, columns=[name])[name].combine_chunks()

        return column

    groups, first = [], 0
    with parquet.ParquetFile(file) as opened:
        for number in range(opened.num_row_groups):
            rows = opened.metadata.row_group(number).num_rows
            groups.append(_Group(file, rows, first, reader(number)))
            first += rows
        return groups, opened.schema_arrow


def _stream(file: Path) -> tuple[list[_Group], Any]:
    import pyarrow

    groups, first = [], 0
    with pyarrow.memory_map(str(file)) as mapped, pyarrow.ipc.open_stream(mapped) as opened:
        for batch in opened:  # mapped, not read
            groups.append(_Group(file, batch.num_rows, first, batch.column))
            first += batch.num_rows
        return groups, opened.schema


def _column(path: Path, schema: Any, name: str | None, usual: tuple[str, ...], what: str) -> str:
    found = name if name is not None else next((n for n in usual if n in schema.names), None)
    if found is None or found not in schema.names:
        wanted = f"column {found!r}" if found else f"column of {what}"
        raise InterplayError(
            f"{path} has no {wanted}, only {', '.join(schema.names)}"
            f"{closest(found or '', schema.names) or '; name yours with --image-column and --label-columns'}"
        )
    return found


def _label_columns(path: Path, schema: Any) -> list[str]:
    for usual in (["label"], ["labels"], ["fine_label", "coarse_label"], ["fine_label"]):
        if all(name in schema.names for name in usual):
            return usual
    return [_column(path, schema, None, (), "a label")]


def _check_type(path: Path, schema: Any, name: str) -> None:
    import pyarrow.types as types  # type: ignore[import-untyped]

    kind = schema.field(name).type
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        raise InterplayError(
            f"{path}: column {name!r} holds several labels for each image; multi-label sets cannot be trained on, "
            f"name a column of one label with --label-columns"
        )
    plain = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_integer(plain) or types.is_string(plain) or types.is_large_string(plain)):
        raise InterplayError(f"{path}: column {name!r} holds {kind}; labels are whole numbers or names of classes")


def _class_names(schema: Any, name: str) -> list[str] | None:
    """Names of a label column's classes as Hugging Face writes them into the schema, if it did."""
    try:
        tree = json.loads((schema.metadata or {})[b"huggingface"])
        names = tree["info"]["features"][name]["names"]
        names = [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else names
        return [str(n) for n in names]
    except (KeyError, TypeError, ValueError):
        return None
