"""The C extension: Pillow's pixels from any window of any stored image, and no crash from any bytes."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile

from interplay import native
from interplay.augment import apply_policy
from interplay.augment.keys import Keys
from interplay.data import pipeline
from interplay.data.crops import Windows
from interplay.data.pipeline import Stored, fill
from interplay.errors import InterplayError
from interplay.recipe import ThreeAugment
from tests.photographs import photographs

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")

Pixels = NDArray[np.uint8]
SIDE = 48
FILTERS = ["bicubic", "bilinear", "box"]


# ------------------------------------------------------------------------------------------- images
@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Photographs, noise, and both in extreme sizes."""
    rng = np.random.default_rng(0)
    photos = [Image.open(io.BytesIO(data)).convert("RGB") for data in photographs(3)]
    sizes = [(200, 150), (97, 161), (33, 16), (16, 47), (1, 1), (1, 60), (70, 2), (3, 5), (129, 128)]
    noise = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    return [photos[i % 3].resize(size) for i, size in enumerate(sizes)] + noise


def encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


@pytest.fixture(autouse=True)
def _room_for_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "MAXBLOCK", 1 << 20)  # Pillow's progressive writer needs it for tiny noise


def stored(files: list[bytes], sizes: list[tuple[int, int]], mode: int, views: int = 1) -> Stored:
    """`files` one behind the other, each `views` times in a row; sizes are [height, width]."""
    lengths = np.array([len(f) for f in files], dtype=np.int64)
    which = np.repeat(np.arange(len(files)), views)
    return Stored(
        base=np.frombuffer(b"".join(files), dtype=np.uint8),
        starts=(np.cumsum(lengths) - lengths)[which],
        lengths=lengths[which],
        modes=np.full(len(which), mode, dtype=np.uint8),
        sizes=np.array(sizes, dtype=np.int64)[which],
        samples=which,
        place="the test",
    )


def as_pixels(images: list[Image.Image]) -> Stored:
    return stored([i.tobytes() for i in images], [i.size[::-1] for i in images], native.RAW)


def as_jpegs(files: list[bytes], views: int = 1) -> Stored:
    return stored(files, [Image.open(io.BytesIO(f)).size[::-1] for f in files], native.JPEG, views)


def random_windows(sizes: NDArray[np.int64], seed: int, largest: int = 150) -> Windows:
    """Boxes, sizes, corners (also far outside) and flips without any system."""
    rng = np.random.default_rng(seed)
    height, width = sizes.T
    left, top = rng.integers(0, width), rng.integers(0, height)
    boxes = np.stack([left, top, rng.integers(left + 1, width + 1), rng.integers(top + 1, height + 1)], axis=1)
    resized = rng.integers(1, largest, (len(sizes), 2))
    corners = rng.integers(-60, 120, (len(sizes), 2))
    return Windows(boxes, resized, corners, rng.random(len(sizes)) < 0.5)


def same_size_windows(sizes: NDArray[np.int64], seed: int) -> Windows:
    """Windows that are not resized: what the decoder gives is seen as it is."""
    some = random_windows(sizes, seed)
    return Windows(some.boxes, some.boxes[:, 2:] - some.boxes[:, :2], 0 * some.corners, some.flips)


def squares(images: Stored, windows: Windows, interpolation: str = "bicubic", *, pool: Any = None) -> Pixels:
    out = np.full((len(windows), SIDE, SIDE, 3), 77, dtype=np.uint8)
    fill(out, windows, images, interpolation, pool)
    return out


@pytest.fixture
def by_pillow(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pixels]:
    def cut(images: Stored, windows: Windows, interpolation: str = "bicubic") -> Pixels:
        with monkeypatch.context() as patch:
            patch.setattr(native, "AVAILABLE", False)
            return squares(images, windows, interpolation)

    return cut


# --------------------------------------------------------------------------------------- resampling
@pytest.mark.parametrize("interpolation", FILTERS)
def test_resizing_is_pillows(
    pictures: list[Image.Image], interpolation: str, by_pillow: Callable[..., Pixels]
) -> None:
    images = as_pixels(pictures)
    for seed in range(50):
        windows = random_windows(images.sizes, seed)
        np.testing.assert_array_equal(
            squares(images, windows, interpolation), by_pillow(images, windows, interpolation)
        )


@pytest.mark.parametrize("size", [(20, 20), (140, 20), (40, 139), (200, 150), (150, 100), (201, 100)])
def test_both_orders_of_the_passes_are_pillows(
    pictures: list[Image.Image], size: tuple[int, int], by_pillow: Callable[..., Pixels]
) -> None:
    """Pillow resizes vertically first where the height loses more than twice as many pixels as the width."""
    images = as_pixels(pictures[:1])
    windows = Windows(np.array([[0, 0, 200, 150]]), np.array([size]), np.zeros((1, 2), int), np.array([False]))
    np.testing.assert_array_equal(squares(images, windows), by_pillow(images, windows))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_without_vector_instructions_the_pixels_are_the_same(
    pictures: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = sorted(str(f) for f in Path(native.__file__).parent.glob("*.c"))
    library = tmp_path / "_pixels.so"
    options = ["-O1", "-std=gnu11", "-shared", "-fPIC", "-ffp-contract=off", "-DINTERPLAY_PLAIN"]
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run(["cc", *options, include, *sources, "-o", str(library), "-ljpeg", "-lm"], check=True)
    spec = importlib.util.spec_from_file_location("_pixels", library)
    assert spec is not None
    assert spec.loader is not None
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    images = as_pixels(pictures)
    for seed in range(20):
        windows = random_windows(images.sizes, seed)
        vectorised = squares(images, windows)
        with monkeypatch.context() as patch:
            patch.setattr(native, "_pixels", plain)
            np.testing.assert_array_equal(squares(images, windows), vectorised)


# ----------------------------------------------------------------------------------------- decoding
KINDS: list[dict[str, Any]] = [
    {"subsampling": "4:2:0"},
    {"subsampling": "4:2:2"},
    {"subsampling": "4:4:4"},
    {"keep_rgb": True},
    {"subsampling": "4:2:0", "progressive": True},
    {"subsampling": "4:4:4", "progressive": True, "quality": 30},
    {"subsampling": "4:2:0", "restart_marker_blocks": 3},  # not a whole number of them in a row
    {"subsampling": "4:2:0", "restart_marker_rows": 1, "quality": 97},
]


@pytest.mark.parametrize("tile", [None, 8, 32, 500])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: " ".join(map(str, k.values())))
def test_a_window_has_the_pixels_of_the_whole_image(
    pictures: list[Image.Image], kind: dict[str, Any], tile: int | None, by_pillow: Callable[..., Pixels]
) -> None:
    files = [encoded(picture, **kind) for picture in pictures]
    whole = as_jpegs(files)
    images = whole if tile is None else as_jpegs([native.retile(f, tile) for f in files])
    for seed in range(5):
        windows = same_size_windows(whole.sizes, seed)
        np.testing.assert_array_equal(squares(images, windows), by_pillow(whole, windows))


@pytest.mark.parametrize("tile", [None, 32])
def test_views_of_an_image_are_those_of_the_image_alone(
    pictures: list[Image.Image], tile: int | None, by_pillow: Callable[..., Pixels]
) -> None:
    files = [encoded(picture) for picture in pictures]
    images = as_jpegs(files if tile is None else [native.retile(f, tile) for f in files], views=3)
    for seed in range(3):
        windows = random_windows(images.sizes, seed)
        expected = by_pillow(images, windows)
        np.testing.assert_array_equal(squares(images, windows), expected)
        for threads in (1, 3):
            with ThreadPoolExecutor(threads) as pool:
                np.testing.assert_array_equal(squares(images, windows, pool=pool), expected)


# -------------------------------------------------------------------------------------------- tiles
def test_tiles_are_about_as_wide_as_wanted_and_cost_little() -> None:
    for photo in photographs(6):
        tiled = native.retile(photo, 32)
        assert len(tiled) < 1.02 * len(photo)
        assert tiled.count(b"\xff\xd0") >= (375 // 16) * (333 // 48) // 8  # every eighth marker


def test_tiles_of_tiles_are_cut_again(pictures: list[Image.Image]) -> None:
    """A file with markers is coded anew: both ways give the same coefficients, so the same pixels."""
    for picture in pictures:
        file = encoded(picture, quality=95)
        once = native.retile(file, 32)
        twice = native.retile(once, 64)
        assert once != twice
        whole = np.asarray(Image.open(io.BytesIO(file)))
        for tiled in (once, twice):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(tiled))), whole)


def test_no_damage_crashes_the_cutting(photo: bytes) -> None:
    """A damaged file is refused, or what comes out has the pixels that the damage left."""
    refused = 0
    for seed in range(600):
        rng = np.random.default_rng(seed)
        file = np.frombuffer(photo, dtype=np.uint8).copy()
        where = rng.integers(2, 700 if seed % 3 == 0 else len(file), rng.integers(1, 4))
        file[where] = rng.integers(0, 256, len(where))
        try:
            tiled = native.retile(file.tobytes(), 32)
        except ValueError:
            refused += 1
            continue
        try:
            left = np.asarray(Image.open(io.BytesIO(file.tobytes())))
        except OSError:
            continue
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(tiled))), left)
    assert 100 < refused < 600


def test_tiles_leave_exif_and_comments_behind(pictures: list[Image.Image]) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    file = encoded(pictures[0], exif=exif, comment=b"a comment")
    assert b"a description" in file
    tiled = native.retile(file)
    assert b"a description" not in tiled
    assert b"a comment" not in tiled


def test_what_cannot_be_tiled_says_why(pictures: list[Image.Image]) -> None:
    photo = encoded(pictures[0])
    for data, reason in (
        (encoded(pictures[0].convert("L")), "not in RGB"),
        (encoded(pictures[0].convert("CMYK")), "not in RGB"),
        (b"", "Empty input"),
        (b"no image at all", "Not a JPEG"),
        (photo[: len(photo) // 2], "Premature end"),
    ):
        with pytest.raises(ValueError, match=reason):
            native.retile(data)
    with pytest.raises(ValueError, match="tiles of 0 pixels"):
        native.retile(photo, 0)


# ------------------------------------------------------------------------------------------- damage
@pytest.fixture(scope="module")
def photo(pictures: list[Image.Image]) -> bytes:
    return encoded(pictures[0], quality=95)


def whole_window(images: Stored) -> Windows:
    boxes = np.concatenate([0 * images.sizes, images.sizes[:, ::-1]], axis=1)
    return Windows(boxes, np.full_like(images.sizes, SIDE), 0 * images.sizes, np.zeros(len(boxes), dtype=np.bool_))


def status_of(file: bytes, sizes: tuple[int, int] = (150, 200), windows: Windows | None = None) -> str:
    images = stored([file], [sizes], native.JPEG)
    out, status = np.empty((1, SIDE, SIDE, 3), dtype=np.uint8), np.full(1, 99, dtype=np.uint8)
    native.fill(out, images, windows or whole_window(images), "bicubic", status, range(1))
    return native.REASONS[status[0]]


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.99])
def test_a_file_cut_short_is_a_failure(photo: bytes, share: float, tile: int | None) -> None:
    file = photo if tile is None else native.retile(photo, tile)
    assert status_of(file) == ""
    assert status_of(file[: int(len(file) * share)]) == "damaged JPEG data"


@pytest.mark.parametrize("tile", [None, 32])
def test_zeros_in_place_of_data_are_a_failure(photo: bytes, tile: int | None) -> None:
    file = bytearray(photo if tile is None else native.retile(photo, tile))
    file[len(file) // 2 :] = bytes(len(file) - len(file) // 2)
    assert status_of(bytes(file)) == "damaged JPEG data"


def test_other_files_than_jpegs_in_rgb_are_failures(pictures: list[Image.Image], photo: bytes) -> None:
    assert status_of(encoded(pictures[0].convert("L"))) == "no JPEG in RGB"
    assert status_of(encoded(pictures[0].convert("CMYK"))) == "no JPEG in RGB"
    assert status_of(b"some other file") == "damaged JPEG data"
    assert status_of(photo, sizes=(200, 150)) == "another size than stated"


def test_bytes_that_harm_no_pixel_are_no_failure(photo: bytes) -> None:
    """Pillow reads such files too, and ImageNet has some."""
    assert status_of(photo[:-2] + b"\x00\x00" + photo[-2:]) == ""
    assert status_of(photo + b"something behind the image") == ""


@pytest.mark.parametrize("tile", [None, 32])
def test_no_damage_crashes(photo: bytes, tile: int | None) -> None:
    """600 files with some wrong bytes, a third of them in the header."""
    sound = photo if tile is None else native.retile(photo, tile)
    reasons = set()
    for seed in range(600):
        rng = np.random.default_rng(seed)
        file = np.frombuffer(sound, dtype=np.uint8).copy()
        reach = 700 if seed % 3 == 0 else len(file)
        where = rng.integers(2, reach, rng.integers(1, 20))
        file[where] = rng.integers(0, 256, len(where))
        reasons.add(status_of(file.tobytes()))
    assert {"", "damaged JPEG data"} <= reasons


def test_impossible_places_and_windows_are_failures(photo: bytes) -> None:
    images = stored([photo], [(150, 200)], native.JPEG)
    good = whole_window(images)

    def status(images: Stored, windows: Windows) -> str:
        out, codes = np.empty((1, SIDE, SIDE, 3), dtype=np.uint8), np.zeros(1, dtype=np.uint8)
        native.fill(out, images, windows, "bicubic", codes, range(1))
        return native.REASONS[codes[0]]

    for start, length in ((-1, 10), (0, len(photo) + 1), (len(photo), 1), (1 << 62, 1 << 62), (0, 0)):
        outside = Stored(
            images.base, np.array([start]), np.array([length]), images.modes, images.sizes, images.samples, ""
        )
        assert status(outside, good) == "outside of the file"
    for box in ((0, 0, 201, 150), (-1, 0, 9, 9), (5, 5, 5, 9), (9, 0, 5, 9), (0, 0, 9, 151)):
        assert (
            status(images, Windows(np.array([box]), good.sizes, good.corners, good.flips)) == "an impossible window"
        )
    for size in ((0, 9), (9, -1), (1 << 40, 9)):
        wrong = Windows(good.boxes, np.array([size]), good.corners, good.flips)
        assert status(images, wrong) == "an impossible window"


def test_arrays_of_other_shapes_are_refused(photo: bytes) -> None:
    images = stored([photo, photo], [(150, 200)] * 2, native.JPEG)
    windows, status = whole_window(images), np.zeros(2, dtype=np.uint8)
    out = np.empty((2, SIDE, SIDE, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="starts has 16 bytes instead of 8"):
        native.fill(out, images, windows, "bicubic", status[:1], range(1))
    with pytest.raises(ValueError, match="out has"):
        native.fill(out[:1], images, windows, "bicubic", status, range(2))
    with pytest.raises(ValueError, match="the range of images"):
        native.fill(out, images, windows, "bicubic", status, range(3))
    with pytest.raises(TypeError, match="argument 10 must be read-write bytes-like object"):
        native.fill(out[:, ::2], images, windows, "bicubic", status, range(2))


@pytest.mark.parametrize("threads", [0, 3])
def test_the_first_failure_is_the_error(photo: bytes, threads: int) -> None:
    files = [photo, photo, photo[:2000], photo, photo[:900], photo]
    images = stored(files, [(150, 200)] * 6, native.JPEG)
    pool = ThreadPoolExecutor(threads) if threads else None
    with pytest.raises(InterplayError, match=r"the test: sample 2 cannot be decoded \(damaged JPEG data\)"):
        squares(images, whole_window(images), pool=pool)
    if pool:
        pool.shutdown()


# ------------------------------------------------------------------------------------- availability
def test_the_extension_can_be_switched_off() -> None:
    code = "from interplay import native; print(native.AVAILABLE, native.BUILT)"
    environment = os.environ | {"INTERPLAY_NATIVE": "0", "PYTHONPATH": str(Path(native.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_an_extension_of_other_code_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert native._find().__file__ == native._pixels.__file__
    monkeypatch.setattr(native, "_VERSION", native._VERSION + 1)
    assert native._find() is None


def test_slow_decoding_is_announced_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    pipeline._announce_pillow.cache_clear()
    with caplog.at_level(logging.WARNING):
        pipeline.announce_decoder()
        assert not caplog.records
        monkeypatch.setattr(native, "AVAILABLE", False)
        pipeline.announce_decoder()
        pipeline.announce_decoder()
    assert [r.getMessage() for r in caplog.records] == [
        "Images are decoded by Pillow, several times slower: the C extension is switched off by INTERPLAY_NATIVE=0."
    ]


# ---------------------------------------------------------------------------------------- 3-Augment
@pytest.mark.parametrize("side", [1, 2, 7, 64])
@pytest.mark.parametrize("radius", [(0.1, 2.0), (0.01, 0.3), (2.0, 9.0)])
def test_three_augment_is_the_tensor_version(side: int, radius: tuple[float, float]) -> None:
    policy = ThreeAugment(blur_radius=radius)
    images = np.random.default_rng(side).integers(0, 256, (60, side, side, 3), dtype=np.uint8)
    keys = Keys(0, 0, np.arange(60), np.zeros(60, dtype=np.int64))
    tensor = apply_policy(policy, torch.from_numpy(images).permute(0, 3, 1, 2), keys)
    draws = keys.uniform("three_augment", 2)
    codes = {"grayscale": native.GRAYSCALE, "solarise": native.SOLARISE, "blur": native.BLUR}
    operations = np.array([codes[policy.ops[int(draw * len(policy.ops))]] for draw in draws[:, 0]], dtype=np.uint8)
    assert len(set(operations)) == 3
    native.three_augment(images, operations, radius[0] + draws[:, 1] * (radius[1] - radius[0]))
    np.testing.assert_array_equal(images, tensor.permute(0, 2, 3, 1).numpy())
