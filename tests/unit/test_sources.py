"""Every kind of source: what is read of it, and every mistake in it."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from interplay.data.sources import Source, find_source, from_rows, from_samples
from interplay.data.write import write_beton
from interplay.errors import InterplayError

NAMES = ["Äpfel", "pear", "鳥"]


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 10, 3), dtype=np.uint8)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(noise(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def pixels(source: Source, position: int) -> np.ndarray:
    stored = source.image(position)
    return np.asarray(Image.open(io.BytesIO(stored)).convert("RGB") if isinstance(stored, bytes) else stored)


def check(source: Source, labels: list[list[int]], split: list[int], seeds: list[int]) -> None:
    """Labels, splits and pixels of a source whose images are `noise`; and that it can be written."""
    assert source.labels.tolist() == labels
    assert source.split.tolist() == split
    assert source.stamp()
    for position, seed in enumerate(seeds):
        np.testing.assert_array_equal(pixels(source, position), noise(seed))


# ----------------------------------------------------------------------------------------------- npz
def save_npz(path: Path, **changes: Any) -> Path:
    arrays = {
        "train_images": np.stack([noise(i) for i in range(6)]),
        "train_labels": np.array([[0], [1], [2], [0], [1], [2]], dtype=np.uint8),
        "val_images": np.stack([noise(6)]),
        "val_labels": np.array([[1]]),
        "test_images": np.stack([noise(7), noise(8)]),
        "test_labels": np.array([[2], [0]]),
    }
    arrays |= changes
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def test_medmnist(tmp_path: Path) -> None:
    source = find_source(str(save_npz(tmp_path / "path.npz")))
    check(source, [[0], [1], [2], [0], [1], [2], [1], [2], [0]], [0] * 6 + [1, 2, 2], list(range(9)))
    assert source.classes == [["0", "1", "2"]]
    assert source.place(8) == "path.npz: test image 1"
    assert write_beton(source, tmp_path / "o.beton").counts == {"train": 6, "val": 1, "test": 2}


def test_medmnist_of_grey_images_with_names(tmp_path: Path) -> None:
    grey = np.stack([noise(i)[..., 0] for i in range(6)])
    path = save_npz(tmp_path / "grey.npz", train_images=grey, val_images=None, test_images=None)
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    source = find_source(f"npz:{path}", classes=[NAMES])
    assert source.classes == [NAMES]
    assert source.split.tolist() == [0] * 6
    np.testing.assert_array_equal(pixels(source, 3), grey[3])


# ------------------------------------------------------------------------------------------- parquet
def save_parquet(path: Path, rows: range, *, features: Any = None, group: int = 2, **columns: Any) -> Path:
    content: dict[str, Any] = {"image": [{"bytes": png(i), "path": f"{i}.png"} for i in rows]}
    content |= columns or {"label": [i % 3 for i in rows]}
    table = pa.table({key: value for key, value in content.items() if value is not None})
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


FEATURES = {"label": {"names": NAMES, "_type": "ClassLabel"}, "image": {"_type": "Image"}}


def test_parquet_as_on_the_hub(tmp_path: Path) -> None:
    save_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", range(0, 3), features=FEATURES)
    save_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", range(3, 8), features=FEATURES)
    save_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", range(8, 9), features=FEATURES)
    source = find_source(str(tmp_path))
    check(source, [[i % 3] for i in range(9)], [0] * 8 + [1], list(range(9)))
    assert source.classes == [NAMES]
    assert source.place(4).endswith("train-00001-of-00002.parquet row 1")
    assert write_beton(source, tmp_path / "o.beton").counts == {"train": 8, "val": 1, "test": 0}


def test_parquet_of_two_levels_and_other_columns(tmp_path: Path) -> None:
    path = save_parquet(tmp_path / "c.parquet", range(4), fine_label=[0, 1, 2, 0], coarse_label=[0, 0, 1, 0])
    check(find_source(str(path)), [[0, 0], [1, 0], [2, 1], [0, 0]], [0] * 4, [0, 1, 2, 3])
    words = ["dog", "cat", "dog", "ant"]
    path = save_parquet(tmp_path / "w.parquet", range(4), image=None, photo=[png(i) for i in range(4)], kind=words)
    source = find_source(f"parquet:{path}", image="photo", labels=["kind"])
    check(source, [[2], [1], [2], [0]], [0] * 4, [0, 1, 2, 3])
    assert source.classes == [["ant", "cat", "dog"]]


def test_parquet_whose_images_are_files(tmp_path: Path) -> None:
    (tmp_path / "7.png").write_bytes(png(7))
    path = save_parquet(tmp_path / "p.parquet", range(1), image=[{"bytes": None, "path": "7.png"}], label=[0])
    check(find_source(str(path)), [[0]], [0], [7])


def test_arrow_files_as_save_to_disk_writes(tmp_path: Path) -> None:
    for split, rows in (("train", range(4)), ("test", range(4, 6))):
        images = [{"bytes": png(i), "path": None} for i in rows]
        table = pa.table({"img": images, "label": [i % 3 for i in rows]})
        (tmp_path / split).mkdir()
        path = tmp_path / split / "data-00000-of-00001.arrow"
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    source = find_source(str(tmp_path))
    assert source.labels[:, 0].tolist() == [1, 2, 0, 1, 2, 0]  # folders in order: test, train
    assert source.split.tolist() == [2, 2, 0, 0, 0, 0]
    np.testing.assert_array_equal(pixels(source, 5), noise(3))


# ---------------------------------------------------------------------------------------- WebDataset
def save_shard(path: Path, files: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def sample(number: int, label: int) -> list[tuple[str, bytes]]:
    return [(f"{number:04d}.png", png(number)), (f"{number:04d}.cls", str(label).encode())]


def test_webdataset(tmp_path: Path) -> None:
    save_shard(tmp_path / "shards" / "x-train-0.tar", sample(0, 0) + sample(1, 1))
    save_shard(
        tmp_path / "shards" / "x-train-1.tar",
        [*sample(2, 2), ("3.cls", b"1"), ("3.seg.json", b""), ("3.PNG", png(3))],
    )
    save_shard(tmp_path / "shards" / "x-val-0.tar", sample(4, 0))
    for reference in (f"{tmp_path}/shards/*.tar", str(tmp_path / "shards"), f"webdataset:{tmp_path}/shards"):
        source = find_source(reference)
        check(source, [[0], [1], [2], [1], [0]], [0, 0, 0, 0, 1], list(range(5)))
    assert source.place(1) == f"{tmp_path}/shards/x-train-0.tar/0001.png"
    assert sorted(p.name for p in tmp_path.rglob("*.png")) == []  # nothing is extracted


def test_webdataset_with_json(tmp_path: Path) -> None:
    files = []
    for number, (fine, coarse) in enumerate([("a", 0), ("b", 1), ("a", 0)]):
        files += [
            (f"d/{number}.json", json.dumps({"label": fine, "group": coarse}).encode()),
            (f"d/{number}.png", png(number)),
        ]
    path = save_shard(tmp_path / "s.tar", files)
    check(find_source(str(path)), [[0], [1], [0]], [0] * 3, [0, 1, 2])
    check(find_source(str(path), labels=["label", "group"]), [[0, 0], [1, 1], [0, 0]], [0] * 3, [0, 1, 2])


# ----------------------------------------------------------------------------------------------- csv
def save_table(path: Path, text: str, images: int = 4) -> Path:
    (path.parent / "bilder ä").mkdir(parents=True, exist_ok=True)
    for number in range(images):
        (path.parent / "bilder ä" / f"{number}.png").write_bytes(png(number))
    path.write_text(text.replace("@", "bilder ä/"), encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(separator: str, tmp_path: Path) -> None:
    text = "path,label,label1,split\n@0.png,鳥,0,train\n@1.png,pear,1,validation\n\n@3.png,鳥,0,test\n"
    source = find_source(str(save_table(tmp_path / "t.csv", text.replace(",", separator))))
    check(source, [[1, 0], [0, 1], [1, 0]], [0, 1, 2], [0, 1, 3])
    assert source.classes == [["pear", "鳥"], ["0", "1"]]
    assert source.place(2) == str(tmp_path / "bilder ä" / "3.png")


def test_csv_of_other_columns_and_named_classes(tmp_path: Path) -> None:
    path = save_table(tmp_path / "t.csv", '﻿file,kind,width\n"@0.png",2,10\n@1.png,0,10\n')
    source = find_source(str(path), image="file", labels=["kind"], classes=[NAMES])
    check(source, [[2], [0]], [0, 0], [0, 1])
    assert source.classes == [NAMES]


# -------------------------------------------------------------------------------------------- Python
class Rows:
    """As a data set of Hugging Face: columns are read without decoding images."""

    def __init__(self, first: int, count: int) -> None:
        self.column_names = ["img", "label", "kind"]
        self._first, self._count = first, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, key: Any) -> Any:
        numbers = range(self._first, self._first + self._count)
        if key == "label":
            return [i % 3 for i in numbers]
        if key == "kind":
            return [NAMES[i % 3] for i in numbers]
        return {
            "img": Image.fromarray(noise(numbers[key])),
            "label": numbers[key] % 3,
            "kind": NAMES[numbers[key] % 3],
        }


def test_rows_of_mappings() -> None:
    source = from_rows(
        {"train": Rows(0, 4), "validation": Rows(4, 2)}, image="img", labels=["label", "kind"], version="1"
    )
    order = [sorted(NAMES).index(NAMES[i % 3]) for i in range(6)]
    check(source, [[i % 3, order[i]] for i in range(6)], [0] * 4 + [1] * 2, list(range(6)))
    assert source.classes == [["0", "1", "2"], sorted(NAMES)]
    plain: list[Mapping[str, Any]] = [{"image": noise(i), "label": i} for i in range(3)]
    check(from_rows(plain, classes=[NAMES], version="2"), [[0], [1], [2]], [0] * 3, [0, 1, 2])


def test_labels_that_are_known_need_no_sample() -> None:
    class Lazy(list[Any]):
        def __getitem__(self, position: Any) -> Any:
            raise AssertionError("read")

    source = from_samples(Lazy([None, None]), classes=["a", "b"], labels=[1, 0])
    assert source.labels.tolist() == [[1], [0]]
    assert source.stamp() == ""


def test_a_changed_source_has_another_stamp(tmp_path: Path) -> None:
    path = save_table(tmp_path / "t.csv", "path,label\n@0.png,0\n@1.png,1\n")
    before = find_source(str(path)).stamp()
    assert find_source(str(path)).stamp() == before
    (tmp_path / "bilder ä" / "1.png").write_bytes(png(5) + b" ")
    assert find_source(str(path)).stamp() != before


# ------------------------------------------------------------------------------------------ mistakes
def npz_with(**changes: Any) -> Callable[[Path], Source]:
    return lambda root: find_source(str(save_npz(root / "x.npz", **changes)))


def parquet_with(labels: Any = None, **columns: Any) -> Callable[[Path], Source]:
    return lambda root: find_source(str(save_parquet(root / "x.parquet", range(2), **columns)), labels=labels)


def shard_with(*files: tuple[str, bytes], labels: Any = None) -> Callable[[Path], Source]:
    return lambda root: find_source(str(save_shard(root / "x.tar", list(files))), labels=labels)


def table_of(text: str, **options: Any) -> Callable[[Path], Source]:
    return lambda root: find_source(str(save_table(root / "x.csv", text)), **options)


def file_of(name: str, content: bytes) -> Callable[[Path], Source]:
    def make(root: Path) -> Source:
        (root / name).write_bytes(content)
        return find_source(str(root / name))

    return make


def cut_shard(root: Path) -> Source:
    path = save_shard(root / "x.tar", sample(0, 0) + sample(1, 1))
    path.write_bytes(path.read_bytes()[:700])
    return find_source(str(path))


IMAGES = np.zeros((6, 4, 4, 3), np.uint8)

MISTAKES: dict[str, tuple[Callable[[Path], Source], str]] = {
    "npz multi-label": (npz_with(train_labels=np.zeros((6, 14), int)), "multi-label sets cannot be trained on"),
    "npz volumes": (npz_with(train_images=np.zeros((6, 4, 4, 4, 1), np.uint8)), "volumes are no images"),
    "npz of floats": (npz_with(train_images=IMAGES / 2), "train_images are float64; save them as uint8"),
    "npz float labels": (npz_with(train_labels=np.zeros(6)), "train_labels are float64; labels are whole numbers"),
    "npz lengths": (npz_with(train_labels=np.zeros(5, int)), "has 6 train_images but 5 train_labels"),
    "npz without train": (npz_with(train_images=None), "has no array train_images"),
    "npz without labels": (npz_with(val_labels=None), "has no array val_labels"),
    "npz gap": (npz_with(train_labels=np.full(6, 4)), "no sample has 3; number the classes from 0 without gaps"),
    "npz no file": (lambda root: find_source(f"npz:{root}/none.npz"), "there is no file .*none.npz"),
    "npz damaged": (file_of("x.npz", b"PK\x03\x04 cut"), "is no .npz file of arrays"),
    "npz of something": (file_of("x.npz", b"<html>"), "is no .npz file of arrays"),
    "npz columns": (lambda root: find_source("npz:x.npz", labels=["a"]), "--label-columns means nothing for"),
    "parquet no image": (
        parquet_with(image=None, photo=[b""] * 2, label=[0, 1]),
        "no column of an image, only photo, label",
    ),
    "parquet no label": (parquet_with(kind=["a", "b"]), "no column of a label, only image, kind; name yours with"),
    "parquet misspelt": (parquet_with(["labl"]), "no column 'labl', only image, label; did you mean 'label'"),
    "parquet multi-label": (parquet_with(label=[[0, 1], [2]]), "holds several labels for each image"),
    "parquet fractions": (parquet_with(label=[0.5, 1.0]), "column 'label' holds double; labels are whole numbers"),
    "parquet null": (parquet_with(label=[0, None]), "'label' of .*x.parquet row 1 is None; labels are whole numbers"),
    "parquet gap": (parquet_with(label=[1, 2]), "runs from 1 to 2, but no sample has 0; number the classes from 0"),
    "parquet empty": (lambda root: find_source(f"parquet:{root}"), "there are no .parquet files"),
    "parquet damaged": (file_of("x.parquet", b"PAR1 cut"), "is no parquet file"),
    "arrow damaged": (file_of("x.arrow", b"\xff\xff\xff\xff cut"), "is no arrow file"),
    "shard twice": (
        shard_with(*sample(0, 0), *sample(0, 1)),
        "holds 0000.png twice; give every sample a key of its own",
    ),
    "shard two images": (shard_with(("0.png", png(0)), ("0.jpg", png(0))), "holds two images of the key 0"),
    "shard no image": (shard_with(*sample(0, 0), ("1.cls", b"1")), "the key 1 has cls but no image"),
    "shard no label": (shard_with(("0.png", png(0))), "0.png has no label 'label'; add KEY.cls or KEY.json"),
    "shard no such label": (
        shard_with(*sample(0, 0), labels=["clss"]),
        "no label 'clss', only cls; did you mean 'cls'",
    ),
    "shard bad json": (shard_with(("0.png", b""), ("0.json", b"{")), "0.json is no JSON"),
    "shard list": (shard_with(("0.png", b""), ("0.json", b"[3]")), "0.json holds no object"),
    "shard fraction": (
        shard_with(*sample(0, 0), ("1.png", b""), ("1.cls", b"0.5")),
        "1.png is '0.5'; labels are whole",
    ),
    "shard no tar": (file_of("x.tar", b"<html>" * 200), "is no uncompressed tar file"),
    "shard cut": (cut_shard, "is no uncompressed tar file, or is damaged|ends in the middle of|has png but no image"),
    "shards missing": (lambda root: find_source(f"{root}/*.tar"), "there are no shards .*in quotes"),
    "shards empty": (shard_with(), "holds no samples"),
    "csv no path": (table_of("pth,label\n@0.png,1\n"), "no column 'path', only pth, label; did you mean 'pth'"),
    "csv no label": (table_of("path,kind\n@0.png,1\n"), "no column 'label', only path, kind; name yours with"),
    "csv twice": (table_of("path,label\n@0.png,0\n@0.png,1\n"), "0.png is in line 2 and in line 3; keep one"),
    "csv empty": (table_of("path,label\n"), "holds no rows"),
    "csv ragged": (table_of("path,label\n@0,1.png,0\n"), "line 2 has 3 columns, the first line 2; put"),
    "csv no image": (table_of("path,label\n,0\n"), "line 2 names no image"),
    "csv no value": (table_of("path,label\n@0.png,\n"), "'label' of line 2 is ''; labels are whole numbers"),
    "csv fraction": (table_of("path,label\n@0.png,0\n@1.png,1.5\n"), "'label' of line 3 is '1.5'; labels are whole"),
    "csv mixed": (
        table_of("path,label\n@0.png,0\n@1.png,cat\n"),
        "mixes names and numbers .'cat' of line 3, 0 of line 2",
    ),
    "csv negative": (
        table_of("path,label\n@0.png,-1\n@1.png,0\n"),
        "'label' of line 2 is -1; number the classes from 0",
    ),
    "csv from one": (table_of("path,label\n@0.png,1\n@1.png,2\n"), "no sample has 0; number the classes from 0"),
    "csv split": (table_of("path,label,split\n@0.png,0,tain\n"), "split 'tain' of line 2 is not one of train, val"),
    "csv unknown class": (
        table_of("path,label\n@0.png,peer\n", classes=[NAMES]),
        "'peer', which is none of the 3 classes; did you mean 'pear'",
    ),
    "csv levels": (table_of("path,label\n@0.png,0\n", classes=[NAMES, NAMES]), "has 1 label levels, but classes"),
    "csv bytes": (file_of("x.csv", b"path,label\n\xff\xfe,0\n"), "cannot be read as a table of text in UTF-8"),
    "folder columns": (
        lambda root: find_source(str(root), labels=["a"]),
        "--label-columns means nothing for a folder",
    ),
    "rows no image": (
        lambda _: from_rows([{"image": 1, "lable": 0}]),
        "samples have no 'label', only image, lable; did",
    ),
    "rows no mapping": (lambda _: from_rows([(1, 2)]), "samples have no 'label', only tuple"),  # type: ignore[list-item]
    "rows split": (lambda _: from_rows({"extra": []}), "split 'extra' is not one of train, val, test"),
}


@pytest.mark.parametrize(("make", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence(make: Callable[[Path], Source], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match=sentence) as caught:
        make(tmp_path)
    assert "\n" not in str(caught.value)
