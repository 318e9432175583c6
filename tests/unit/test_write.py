"""Writing and verifying `.beton` files: sources, bytes, splits, and every refusal."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from interplay.data import Manifest, Source, from_samples, read_manifest
from interplay.data import ffcv_engine as engine
from interplay.data.manifest import SPLITS, manifest_path, sha256, write_manifest
from interplay.data.sources import cifar, find_source, image_folder
from interplay.data.verify import verify
from interplay.data.write import carve, write_beton
from interplay.errors import InterplayError


def noise(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(seed: int = 0) -> bytes:
    return encoded(Image.fromarray(noise(seed=seed)), "JPEG", quality=95)


def palette_with_transparency() -> bytes:
    image = Image.fromarray(noise()).convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
    return encoded(image, "PNG", transparency=bytes(range(8)))


FILES: dict[str, Callable[[], bytes]] = {
    "rgb.jpg": jpeg,
    "progressive.jpg": lambda: encoded(Image.fromarray(noise()), "JPEG", progressive=True),
    "grey.jpg": lambda: encoded(Image.fromarray(noise()).convert("L"), "JPEG"),
    "cmyk.jpg": lambda: encoded(Image.fromarray(noise()).convert("CMYK"), "JPEG"),
    "rgb.png": lambda: encoded(Image.fromarray(noise()), "PNG"),
    "grey.png": lambda: encoded(Image.fromarray(noise()).convert("L"), "PNG"),
    "palette.png": lambda: encoded(Image.fromarray(noise()).convert("P"), "PNG"),
    "transparent palette.png": palette_with_transparency,
    "rgba.png": lambda: encoded(Image.fromarray(noise()).convert("RGBA"), "PNG"),
    "one pixel.PNG": lambda: encoded(Image.fromarray(noise(1, 1)), "PNG"),
    "photo.webp": lambda: encoded(Image.fromarray(noise()), "WEBP"),
}


def fill(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three splits, every kind of file."""
    train = {f"train/{'ab'[i % 2]}/{name}": make() for i, (name, make) in enumerate(FILES.items())}
    rest = {f"{split}/{c}/1.jpg": jpeg(seed) for seed, split in enumerate(("val", "test"), 1) for c in "ab"}
    return fill(tmp_path / "pictures", train | rest)


def small(count: int = 12) -> Source:
    """JPEGs and pixels in turn, three classes."""
    samples = [(jpeg(i) if i % 2 else noise(seed=i), i % 3) for i in range(count)]
    return from_samples(samples, classes=list("abc"))


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    path = tmp_path / "small.beton"
    write_beton(small(), path, val=0.25)
    return path


def column(path: Path, name: str) -> list[int]:
    reader = engine.Reader(str(path))
    return reader.metadata[f"f{reader.field_names.index(name)}"].tolist()


def stored_bytes(path: Path) -> list[tuple[int, bytes]]:
    """Mode and bytes of each stored image."""
    reader = engine.Reader(str(path))
    sizes = {int(row["ptr"]): int(row["size"]) for row in reader.alloc_table}
    content = path.read_bytes()
    starts = [(int(row["mode"]), int(row["data_ptr"])) for row in reader.metadata["f0"]]
    return [(mode, content[start : start + sizes[start]]) for mode, start in starts]


# ------------------------------------------------------------------------------------------- sources
def test_a_folder_of_images_is_written_as_it_is(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "pictures.beton"
    manifest = write_beton(image_folder(folder), path)
    assert manifest.counts == {"train": len(FILES), "val": 2, "test": 2}
    assert manifest.classes == [["a", "b"]]
    assert verify(path) == manifest == read_manifest(path)
    files = sorted((folder / "train").rglob("*.*"))
    for file, (mode, content), label in zip(files, stored_bytes(path), column(path, "label"), strict=False):
        assert ["a", "b"][label] == file.parent.name
        if file.name in ("rgb.jpg", "progressive.jpg"):
            assert (mode, content) == (engine.JPEG_MODE, file.read_bytes())
        else:
            image = Image.open(file)
            pixels = np.asarray((image.convert("RGBA") if image.mode == "P" else image).convert("RGB"))
            assert (mode, content) == (engine.RAW_MODE, pixels.tobytes())


def test_a_folder_without_splits_is_all_training(tmp_path: Path) -> None:
    source = image_folder(
        fill(tmp_path, {"cat/1.jpg": jpeg(), "cat/more/2.jpg": jpeg(), "dog/1.png": b"", "a.txt": b""})
    )
    assert source.labels[:, 0].tolist() == [0, 0, 1]
    assert source.split.tolist() == [0, 0, 0]
    assert source.classes == [["cat", "dog"]]


class _Python2(pickle._Pickler):  # type: ignore[misc]
    """Writes what Python 2 and an old NumPy wrote, as the published CIFAR files are."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

    def save_string(self, value: str | bytes) -> None:
        data = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(value)

    def save_old_global(self, value: Any, name: str | None = None) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(pickle.GLOBAL + f"{module}\n{name or value.__qualname__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string
    dispatch[type] = save_old_global

    def save_global(self, value: Any, name: str | None = None) -> None:
        self.save_old_global(value, name)


def python2_pickle(content: Any) -> bytes:
    buffer = io.BytesIO()
    _Python2(buffer, protocol=2).dump(content)
    return buffer.getvalue()


def cifar_batch(count: int, seed: int, **labels: int) -> tuple[np.ndarray, bytes]:
    """[count, 3072] rows of planes and the pickle; `labels` gives the number of classes of each key."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
    content: dict[str, Any] = {key: rng.integers(0, n, count).tolist() for key, n in labels.items()}
    return rows, python2_pickle({"data": rows, "batch_label": "a batch", "filenames": ["x.png"] * count, **content})


def cifar10_files() -> tuple[np.ndarray, dict[str, bytes]]:
    parts = [cifar_batch(6, seed, labels=10) for seed in range(6)]
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    meta = python2_pickle({"label_names": [f"class {i}" for i in range(10)], "num_vis": 3072})
    return np.concatenate([p[0] for p in parts]), {"batches.meta": meta} | {
        n: p[1] for n, p in zip(names, parts, strict=True)
    }


def cifar100_files() -> dict[str, bytes]:
    meta = {
        "fine_label_names": [f"fine {i}" for i in range(100)],
        "coarse_label_names": [f"c {i}" for i in range(20)],
    }
    parts = {
        n: cifar_batch(9, seed, fine_labels=100, coarse_labels=20)[1] for seed, n in enumerate(("train", "test"))
    }
    return {"meta": python2_pickle(meta)} | parts


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_cifar_10_is_read_from_its_pickles(inner: str, tmp_path: Path) -> None:
    rows, files = cifar10_files()
    fill(tmp_path / inner, files)
    source = find_source(f"cifar:{tmp_path}")
    manifest = write_beton(source, tmp_path / "c.beton", val=0.2)
    assert manifest.source == "CIFAR-10"
    assert manifest.counts["test"] == 6
    assert sum(manifest.counts.values()) == 36
    assert manifest.classes == [[f"class {i}" for i in range(10)]]
    for (mode, content), row in zip(stored_bytes(tmp_path / "c.beton"), rows, strict=True):
        assert mode == engine.RAW_MODE
        np.testing.assert_array_equal(np.frombuffer(content, np.uint8).reshape(32, 32, 3), planes(row))


def planes(row: np.ndarray) -> np.ndarray:
    red, green, blue = row.reshape(3, 32, 32)
    return np.stack([red, green, blue], axis=2)


def test_cifar_100_keeps_both_label_levels(tmp_path: Path) -> None:
    fill(tmp_path / "cifar-100-python", cifar100_files())
    source = cifar(tmp_path)
    manifest = write_beton(source, tmp_path / "c.beton")
    assert [len(names) for names in manifest.classes] == [100, 20]
    assert manifest.counts == {"train": 9, "val": 0, "test": 9}
    stored = np.stack([column(tmp_path / "c.beton", "label"), column(tmp_path / "c.beton", "label1")], axis=1)
    np.testing.assert_array_equal(stored, source.labels)
    assert verify(tmp_path / "c.beton") == manifest


def test_samples_of_any_kind_and_several_levels(tmp_path: Path) -> None:
    images = [jpeg(), noise(), Image.fromarray(noise()).convert("L"), noise()[..., 0]]
    samples = [(image, [i, i // 2]) for i, image in enumerate(images)]
    source = from_samples(samples, classes=[list("abcd"), list("xy")], split=["train", "train", "val", "test"])
    manifest = write_beton(source, tmp_path / "s.beton")
    assert manifest.counts == {"train": 2, "val": 1, "test": 1}
    assert column(tmp_path / "s.beton", "label1") == [0, 0, 1, 1]
    assert verify(tmp_path / "s.beton") == manifest


def test_mean_and_std_are_of_the_training_pixels(tmp_path: Path) -> None:
    images = [noise(seed=i) for i in range(4)]
    split = ["train", "train", "train", "test"]
    manifest = write_beton(from_samples([(i, 0) for i in images], classes=["a"], split=split), tmp_path / "m.beton")
    pixels = np.stack(images[:3]).reshape(-1, 3) / 255
    assert manifest.mean == pytest.approx(pixels.mean(axis=0))
    assert manifest.std == pytest.approx(pixels.std(axis=0))


def test_the_same_source_gives_the_same_file(tmp_path: Path) -> None:
    one, other = (write_beton(small(), tmp_path / name, val=0.25) for name in ("one.beton", "other.beton"))
    assert one == other
    assert one.digest == sha256(tmp_path / "one.beton")


def test_images_larger_than_a_page_get_larger_pages(tmp_path: Path) -> None:
    large = np.zeros((900, 900, 3), np.uint8)
    manifest = write_beton(from_samples([(large, 0), (noise(), 0)], classes=["a"]), tmp_path / "l.beton")
    assert verify(tmp_path / "l.beton") == manifest


@pytest.mark.slow  # FFCV compiles its own pipeline
@pytest.mark.filterwarnings("ignore")
def test_the_stock_loader_of_ffcv_reads_our_file(beton: Path) -> None:
    """Its own decoders, compiled, in sequential order; another process, as ours keeps its compiler off."""
    import subprocess
    import sys

    script = (
        "import sys, numpy as np\n"
        "from ffcv.loader import Loader, OrderOption\n"
        "from ffcv.fields.rgb_image import CenterCropRGBImageDecoder\n"
        "from ffcv.fields.decoders import IntDecoder\n"
        "pipelines = {'image': [CenterCropRGBImageDecoder((12, 16), 1.0)], 'label': [IntDecoder()],\n"
        "             'index': [IntDecoder()], 'split': None}\n"
        "loader = Loader(sys.argv[1], batch_size=12, num_workers=1, order=OrderOption.SEQUENTIAL, os_cache=True,\n"
        "                pipelines=pipelines)\n"
        "for image, label, index in loader:\n"
        "    print(image.shape, label[:, 0].tolist(), index[:, 0].tolist())\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(beton)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    labels = [i % 3 for i in range(12)]
    assert done.stdout.strip() == f"(12, 12, 16, 3) {labels} {list(range(12))}"


# ------------------------------------------------------------------------------------------- carving
def test_carving_is_stratified() -> None:
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    split = carve(labels, np.zeros(160, np.int64), val=0.1, test=0.2, seed=0)
    for label, counts in enumerate(([72, 8, 20], [36, 4, 10], [7, 1, 2])):
        assert np.bincount(split[labels == label], minlength=3).tolist() == counts


def test_carving_is_seeded_and_keeps_the_test_split() -> None:
    labels, none = np.repeat([0, 1], 100), np.zeros(200, np.int64)
    splits = [
        carve(labels, none, val=val, test=0.2, seed=seed) for val, seed in ((0.1, 0), (0.1, 0), (0.1, 1), (0.3, 0))
    ]
    assert (splits[0] == splits[1]).all()
    assert (splits[0] != splits[2]).any()
    assert ((splits[0] == 2) == (splits[3] == 2)).all()
    assert not none.any()


def test_splits_of_the_source_are_kept() -> None:
    split = np.array([0, 0, 0, 0, 1, 2])
    assert (carve(np.zeros(6, np.int64), split, val=0.5, test=0.5, seed=0) == split).all()


# ------------------------------------------------------------------------------------------ refusals


class Malicious:
    """Unpickling this the ordinary way runs its code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import sys; sys.interplay_was_attacked = True",)


def cifar_with(name: str, content: bytes) -> dict[str, bytes]:
    return {f"c/{n}": c for n, c in (cifar10_files()[1] | {name: content}).items()}


def samples_with(label: Any) -> Callable[[Path], Source]:
    return lambda _: from_samples([(noise(), 0), (noise(), label)], classes=["a", "b"], name="mine")


def folder_with(files: dict[str, bytes]) -> Callable[[Path], Source]:
    return lambda root: image_folder(fill(root, files))


def cifar_from(name: str, content: bytes) -> Callable[[Path], Source]:
    return lambda root: cifar(fill(root, cifar_with(name, content)) / "c")


BAD: dict[str, tuple[Callable[[Path], Source], str]] = {
    "label too large": (samples_with(2), r"sample 1 has label 2, outside 0\.\.1 \(1 such\); correct the label"),
    "label below 0": (samples_with(-1), r"sample 1 has label -1, outside 0\.\.1"),
    "label no integer": (samples_with(0.5), "mine: the label of sample 1 is 0.5; labels are whole numbers"),
    "label a word": (samples_with("b"), "labels are whole numbers"),
    "label missing": (samples_with(None), "labels are whole numbers"),
    "one label more": (samples_with([0, 1]), "every sample needs the same number of labels"),
    "levels not named": (
        lambda _: from_samples([(noise(), [0, 0])], classes=["a"]),
        "samples have 2 labels, but classes are named for 1",
    ),
    "unknown split": (
        lambda _: from_samples([(noise(), 0)], classes=["a"], split=["training"]),
        "split 'training' is not one of train, val, test",
    ),
    "splits too few": (
        lambda _: from_samples([(noise(), 0)] * 3, classes=["a"], split=["train"]),
        "3 samples, but splits for 1",
    ),
    "no samples": (lambda _: from_samples([], classes=["a"]), "samples holds no samples"),
    "no training samples": (
        lambda _: from_samples([(noise(), 0)], classes=["a"], split=["val"]),
        "has no training samples; put some into its train split",
    ),
    "truncated JPEG": (
        folder_with({"a/1.jpg": jpeg(), "a/2.jpg": jpeg()[:-40]}),
        r"a/2.jpg is no image that can be read \(.*truncated.*\); remove or repair it",
    ),
    "no image": (
        folder_with({"a/1.jpg": b"<html>not found</html>"}),
        r"a/1.jpg is no image that can be read \(unknown format\)",
    ),
    "empty file": (folder_with({"a/1.png": b""}), r"a/1.png is no image that can be read \(unknown format\)"),
    "no array of pixels": (
        lambda _: from_samples([(np.zeros((4, 4, 7), np.uint8), 0)], classes=["a"]),
        "sample 0 is no image that can be read",
    ),
    "empty class folder": (
        folder_with({"a/1.jpg": jpeg(), "b/readme.txt": b""}),
        "class folder .*/b holds no image; add one or remove the folder",
    ),
    "missing folder": (lambda root: image_folder(root / "nowhere"), "there is no folder .*nowhere"),
    "folder of files": (folder_with({"1.jpg": jpeg()}), "holds no images in class folders, as in .*/cat/1.jpg"),
    "class only in val": (
        folder_with({"train/a/1.jpg": jpeg(), "val/b/1.jpg": jpeg()}),
        "val/b: class 'b' is not in .*/train",
    ),
    "no train folder": (folder_with({"val/a/1.jpg": jpeg()}), "has val but no train folder"),
    "unknown source": (
        lambda _: find_source("imagenet:/x"),
        "'imagenet' is no kind of source; use digits, cifar:FOLDER",
    ),
    "no CIFAR": (lambda root: cifar(root), r"holds neither data_batch_1 \(CIFAR-10\)"),
    "CIFAR cut": (cifar_from("data_batch_3", b"\x80\x02"), "data_batch_3 is not a CIFAR pickle"),
    "CIFAR of a list": (cifar_from("data_batch_3", pickle.dumps([1])), "data_batch_3 .* holds no dictionary"),
    "CIFAR without data": (
        cifar_from("data_batch_3", pickle.dumps({b"a": 1})),
        "data_batch_3 is not a batch of CIFAR-10",
    ),
    "CIFAR without names": (cifar_from("batches.meta", pickle.dumps({b"a": 1})), "batches.meta .*label_names"),
    "malicious pickle": (
        cifar_from("data_batch_3", pickle.dumps(Malicious())),
        r"data_batch_3 is not a CIFAR pickle: it names builtins\.exec",
    ),
    "pickle of another module's function": (
        cifar_from("data_batch_3", b"\x80\x02ccopy\n_reconstruct\n."),
        r"data_batch_3 is not a CIFAR pickle: it names copy\._reconstruct",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), BAD.values(), ids=BAD.keys())
def test_a_bad_source_is_refused_in_one_sentence_and_leaves_nothing(
    make: Callable[[Path], Source], sentence: str, tmp_path: Path
) -> None:
    import sys

    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    with pytest.raises(InterplayError, match=sentence) as caught:
        write_beton(make(source), target / "bad.beton")
    assert "\n" not in str(caught.value)
    assert list(target.iterdir()) == []
    assert not hasattr(sys, "interplay_was_attacked")


def test_a_failed_write_keeps_the_old_file(beton: Path) -> None:
    manifest = verify(beton)
    with pytest.raises(InterplayError):
        write_beton(from_samples([(b"", 0)], classes=["a"]), beton)
    assert verify(beton) == manifest


# -------------------------------------------------------------------------------------------- damage
def patch_bytes(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def restate(path: Path) -> None:
    """Makes the manifest agree with the file, so that only the structure can tell the damage."""
    tree = json.loads(manifest_path(path).read_text())
    tree |= {"bytes": path.stat().st_size, "digest": sha256(path)}
    manifest_path(path).write_text(json.dumps(tree))


def metadata_offset(path: Path, sample: int, field: str) -> int:
    reader = engine.Reader(str(path))
    rows = reader.metadata.dtype
    head = engine.HeaderType.itemsize + len(reader.field_names) * engine.FieldDescType.itemsize
    return head + sample * rows.itemsize + rows.fields[f"f{reader.field_names.index(field)}"][1]


def first_image(path: Path, mode: int) -> int:
    images = engine.Reader(str(path)).metadata["f0"]
    return int(images["data_ptr"][images["mode"] == mode][0])


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def truncate_unnoticed(path: Path) -> None:
    truncate(path)
    restate(path)


def flip_a_byte(path: Path) -> None:
    start = first_image(path, engine.RAW_MODE)
    patch_bytes(path, start, bytes([path.read_bytes()[start] ^ 0xFF]))


def spoil_a_jpeg(path: Path) -> None:
    patch_bytes(path, first_image(path, engine.JPEG_MODE), b"\0" * 40)
    restate(path)


def spoil_the_header(path: Path) -> None:
    patch_bytes(path, 0, b"\xff" * engine.HeaderType.itemsize)


def spoil_the_version(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.fields["version"][1], b"\x63")


def spoil_the_field_names(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.itemsize, b"\0" * engine.FieldDescType.itemsize)


def zero_the_table(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.fields["alloc_table_ptr"][1], b"\0" * 8)


def label_out_of_range(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "label"), (77).to_bytes(8, "little"))
    restate(path)


def split_out_of_range(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "split"), (9).to_bytes(8, "little"))
    restate(path)


def image_elsewhere(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "image") + 8, (123).to_bytes(8, "little"))
    restate(path)


def larger_than_stored(path: Path) -> None:
    """An image of pixels that claims more rows than it has: a reader would run past its end."""
    start = metadata_offset(path, 0, "image")
    names = engine.Reader(str(path)).metadata["f0"].dtype.fields
    patch_bytes(path, start + names["height"][1], (60_000).to_bytes(2, "little"))
    restate(path)


def lose_the_manifest(path: Path) -> None:
    manifest_path(path).unlink()


def garble_the_manifest(path: Path) -> None:
    manifest_path(path).write_text("{")


def cut_the_manifest(path: Path) -> None:
    manifest_path(path).write_text('{"source": "x"}')


def take_anothers_manifest(path: Path) -> None:
    other = path.with_name("other.beton")
    write_beton(small(9), other)
    manifest_path(path).write_bytes(manifest_path(other).read_bytes())


def take_the_manifest_of_other_counts(path: Path) -> None:
    manifest = read_manifest(path)
    counts = manifest.counts | {"train": manifest.counts["train"] - 1, "val": manifest.counts["val"] + 1}
    write_manifest(path, Manifest(**(vars(manifest) | {"counts": counts})))


def lose_the_file(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, "has .* bytes instead of .*: it is truncated or changed; copy it again"),
        (truncate_unnoticed, "has a damaged header|has a damaged table"),
        (flip_a_byte, "differs from its manifest"),
        (spoil_a_jpeg, r"the JPEG of sample 1 cannot be decoded \(unknown format\)"),
        (spoil_the_header, "has a damaged header"),
        (spoil_the_version, "has a damaged header"),
        (spoil_the_field_names, "has a damaged header|has no field 'image'"),
        (zero_the_table, "was never finished"),
        (label_out_of_range, r"sample 5 has label 77, outside 0\.\.2"),
        (split_out_of_range, "holds .* samples, its manifest says"),
        (image_elsewhere, "points to images that are not there"),
        (larger_than_stored, "sample 0 .* another size than stated"),
        (lose_the_manifest, r"has no manifest small.beton.json beside it; write the data set"),
        (garble_the_manifest, "small.beton.json is damaged"),
        (cut_the_manifest, "small.beton.json is damaged"),
        (
            take_anothers_manifest,
            "instead of .*: it is truncated or changed|differs from its manifest|never finished",
        ),
        (take_the_manifest_of_other_counts, "its manifest says"),
        (lose_the_file, "there is no data set .*small.beton; write one with interplay data write"),
    ],
    ids=lambda v: v.__name__ if callable(v) else "",
)
def test_damage_is_told_in_one_sentence(damage: Callable[[Path], None], sentence: str, beton: Path) -> None:
    damage(beton)
    with pytest.raises(InterplayError, match=sentence) as caught:
        verify(beton)
    assert "\n" not in str(caught.value)


def test_a_sound_file_is_verified(beton: Path) -> None:
    manifest = verify(beton)
    assert manifest == read_manifest(beton)
    assert sum(manifest.counts.values()) == 12
    assert tuple(manifest.counts) == SPLITS
