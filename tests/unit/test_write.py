"""Writing and verifying `.beton` files: sources, bytes, splits, and every refusal."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from interplay.data import Source, from_samples, read_manifest
from interplay.data import ffcv_engine as engine
from interplay.data.manifest import sha256
from interplay.data.sources import cifar, find_source, image_folder
from interplay.data.verify import verify
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from tests.unit.pieces import encoded, fill, jpeg, noise, small, stored_bytes


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, three splits, every kind of file."""
    train = {f"train/{'ab'[i % 2]}/{name}": make() for i, (name, make) in enumerate(FILES.items())}
    rest = {f"{split}/{c}/1.jpg": jpeg(seed) for seed, split in enumerate(("val", "test"), 1) for c in "ab"}
    return fill(tmp_path / "pictures", train | rest)


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    path = tmp_path / "small.beton"
    write_beton(small(), path, val=0.25)
    return path


def column(path: Path, name: str) -> list[int]:
    reader = engine.Reader(str(path))
    return reader.metadata[f"f{reader.field_names.index(name)}"].tolist()


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
            with Image.open(file) as image:
                pixels = np.asarray(on_white(image) if image.has_transparency_data else image.convert("RGB"))
            assert (mode, content) == (engine.RAW_MODE, pixels.tobytes())


def on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


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
    "empty file": (folder_with({"a/1.png": b""}), r"a/1.png is no image that can be read \(it is empty\)"),
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
