"""What becomes of images on their way into a `.beton`, and of those that cannot be stored; the commands of it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import ExifTags, Image, ImageOps

from interplay import native
from interplay.cli import main
from interplay.data import Manifest, from_samples
from interplay.data import ffcv_engine as engine
from interplay.data.complete import skipped_path
from interplay.data.origins import read_origins
from interplay.data.sources import image_folder
from interplay.data.verify import verify
from interplay.data.write import check_source, write_beton
from interplay.errors import InterplayError
from tests.photographs import photographs
from tests.unit.pieces import encoded, fill, jpeg, noise, small, stored_bytes

RED = (255, 0, 0)


def one(image: Any, tmp_path: Path, **options: Any) -> tuple[int, np.ndarray, Manifest]:
    """Mode, pixels [H, W, 3] and manifest of a data set of one image."""
    path = tmp_path / "one.beton"
    manifest = write_beton(from_samples([(image, 0)], classes=["a"]), path, **options)
    ((mode, content),) = stored_bytes(path)
    row = engine.Reader(str(path)).metadata["f0"][0]
    shape = (int(row["height"]), int(row["width"]), 3)
    if mode == engine.JPEG_MODE:
        with Image.open(io.BytesIO(content)) as image:
            assert (image.height, image.width, 3) == shape
            return mode, np.asarray(image), manifest
    return mode, np.frombuffer(content, np.uint8).reshape(shape), manifest


def test_transparent_images_are_laid_on_the_background(tmp_path: Path) -> None:
    alpha = np.array([[0, 255, 128]], np.uint8)
    rgba = np.dstack([np.full((1, 3, 3), 100, np.uint8), alpha])
    for image in (rgba, encoded(Image.fromarray(rgba), "PNG"), encoded(Image.fromarray(rgba), "WEBP", lossless=True)):
        _, pixels, _ = one(image, tmp_path)
        np.testing.assert_array_equal(pixels[0, :2], [[255] * 3, [100] * 3])
        assert np.abs(pixels[0, 2].astype(int) - 177).max() <= 1
        _, pixels, _ = one(image, tmp_path, background="#ff0000")
        assert tuple(pixels[0, 0]) == RED
    grey = Image.fromarray(np.array([[7, 200]], np.uint8))
    _, pixels, _ = one(encoded(grey, "PNG", transparency=7), tmp_path, background="red")
    np.testing.assert_array_equal(pixels, [[RED, (200, 200, 200)]])


def test_images_of_16_bits_are_scaled(tmp_path: Path) -> None:
    grey = np.array([[0, 128, 129, 257, 32_768, 65_534, 65_535]], np.uint16)
    for image in (grey, encoded(Image.fromarray(grey), "PNG"), encoded(Image.fromarray(grey), "TIFF")):
        mode, pixels, _ = one(image, tmp_path)
        assert mode == engine.RAW_MODE
        assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255, 255]
        assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_as_exif_says(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for kind in ("JPEG", "PNG"):
        content = encoded(Image.fromarray(noise()), kind, exif=exif)
        mode, pixels, _ = one(content, tmp_path)
        with Image.open(io.BytesIO(content)) as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        np.testing.assert_array_equal(pixels, expected)
        assert mode == (engine.JPEG_MODE if kind == "JPEG" and orientation == 1 else engine.RAW_MODE)


def test_quality_stores_all_as_jpeg_and_tells_the_loss(tmp_path: Path) -> None:
    photo = next(photographs(1, sizes=[(250, 188)]))
    with Image.open(io.BytesIO(photo)) as image:
        original = np.asarray(image).astype(int)
    losses = []
    for stored in (photo, original.astype(np.uint8)):
        for quality in (95, 60):
            mode, pixels, manifest = one(stored, tmp_path, quality=quality)
            assert mode == engine.JPEG_MODE
            assert manifest.writing is not None
            assert manifest.writing.loss == pytest.approx(np.abs(pixels - original).mean(), abs=1e-3)
            losses.append(manifest.writing.loss)
    assert losses[0] == losses[2] < losses[1] == losses[3]
    assert 0.5 < losses[0] < 2.5
    _, _, manifest = one(photo, tmp_path)
    assert manifest.writing is not None
    assert manifest.writing.loss == 0


@pytest.mark.parametrize("quality", [None, 90])
def test_max_side_shrinks_the_longer_side(quality: int | None, tmp_path: Path) -> None:
    photo = next(photographs(1, sizes=[(250, 188)]))
    mode, pixels, manifest = one(photo, tmp_path, max_side=125, quality=quality)
    assert pixels.shape == (94, 125, 3)
    assert mode == (engine.RAW_MODE if quality is None else engine.JPEG_MODE)
    assert manifest.writing is not None
    assert 1 < manifest.writing.loss < 20
    assert manifest.writing.sizes == {"width": [125] * 3, "height": [94] * 3}
    mode, pixels, _ = one(photo, tmp_path, max_side=250)
    assert (mode, pixels.shape) == (engine.JPEG_MODE, (188, 250, 3))


@pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")
def test_tiles_lose_nothing(tmp_path: Path) -> None:
    photo = next(photographs(1, sizes=[(250, 188)]))
    _, whole, _ = one(photo, tmp_path)
    _, tiled, manifest = one(photo, tmp_path, tiles=32)
    np.testing.assert_array_equal(whole, tiled)
    assert manifest.writing is not None
    assert manifest.writing.options["tiles"] == 32
    ((_, content),) = stored_bytes(tmp_path / "one.beton")
    assert b"\xff\xdd" in content  # restart intervals
    assert content == native.retile(photo, 32)


def test_large_images_may_come_late(tmp_path: Path) -> None:
    """The page grows with them, and earlier images stay where they are."""
    samples = [(noise(seed=i), 0) for i in range(40)] + [(np.zeros((900, 900, 3), np.uint8), 0), (noise(), 0)]
    order = [*range(31), 40, *range(31, 40), 41]  # the survey before writing does not see it
    path = tmp_path / "late.beton"
    manifest = write_beton(from_samples([samples[i] for i in order], classes=["a"]), path)
    assert verify(path) == manifest
    assert [len(content) for _, content in stored_bytes(path)] == [samples[i][0].size for i in order]


def test_the_manifest_tells_what_is_in_the_file(tmp_path: Path) -> None:
    sizes = [(10, 20), (30, 20), (30, 44)]
    samples = [(np.zeros((h, w, 3), np.uint8), [i % 2, 0]) for i, (h, w) in enumerate(sizes)]
    source = from_samples([*samples, (jpeg(), [1, 0])], classes=[["a", "b"], ["x"]], split=["train"] * 3 + ["test"])
    about = write_beton(source, tmp_path / "m.beton", seed=3).writing
    assert about is not None
    assert about.sizes == {"width": [16, 20, 44], "height": [10, 21, 30]}
    assert about.stored == {"jpeg": 1, "pixels": 3}
    assert about.per_class == {"train": [[2, 1], [3]], "val": [[0, 0], [0]], "test": [[0, 1], [1]]}
    assert (about.seed, about.skipped, about.notes, about.loss) == (3, 0, [], 0)


# ------------------------------------------------------------------------------------ bad samples
class Unusual(Exception):
    """What a person's data set may raise."""


class Raises:
    def __len__(self) -> int:
        return 2

    def __getitem__(self, position: int) -> tuple[Any, int]:
        if position:
            raise Unusual("the disk of my institute is away")
        return noise(), 0


def bomb() -> bytes:
    return encoded(Image.new("1", (10_000, 10_000)), "PNG")


UNFIT: dict[str, tuple[Any, str]] = {
    "truncated": (jpeg()[:-40], r"is no image that can be read \(.*truncated"),
    "empty": (b"", r"is no image that can be read \(it is empty\)"),
    "a web page": (b"<html>", r"\(unknown format\)"),
    "no pixels": (np.zeros((0, 4, 3), np.uint8), "has no pixels"),
    "floats": (np.zeros((4, 4, 3)), "is an array of float64; give uint8"),
    "seven channels": (np.zeros((4, 4, 7), np.uint8), r"its shape is \[4, 4, 7\]"),
    "too wide": (np.zeros((1, 65_536, 3), np.uint8), "is 65536x1; a .beton holds sides up to 65535"),
    "a bomb": (bomb(), "has more than 89,478,485 pixels, Pillow's limit"),
    "32 bits": (encoded(Image.fromarray(np.zeros((2, 2), np.int32)), "TIFF"), "whose scale is not known"),
    "32-bit floats": (
        encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"),
        "fractional numbers of 32 bits",
    ),
    "a path": ("cat.jpg", "is no image but str; give Pillow images"),
}


@pytest.mark.parametrize(("stored", "sentence"), UNFIT.values(), ids=UNFIT.keys())
def test_an_unfit_image_is_named_left_out_or_refused(stored: Any, sentence: str, tmp_path: Path) -> None:
    source = from_samples([(noise(), 0), (stored, 0), (jpeg(), 0)], classes=["a"])
    path = tmp_path / "o.beton"
    with pytest.raises(InterplayError, match=f"sample 1 .*{sentence}.*; remove or repair it, or leave such"):
        write_beton(source, path)
    ((place, reason),) = check_source(source)
    assert place == "sample 1"
    assert re.search(sentence, f"sample 1 {reason}")
    assert not list(tmp_path.iterdir())
    manifest = write_beton(source, path, on_error="skip")
    assert manifest.writing is not None
    assert (manifest.counts["train"], manifest.writing.skipped) == (2, 1)
    assert verify(path) == manifest
    assert read_origins(path, manifest.digest).places == ["sample 0", "sample 2"]
    assert skipped_path(path).read_text(encoding="utf-8") == f"sample 1\t{reason}\n"
    write_beton(from_samples([(noise(), 0)], classes=["a"]), path)
    assert not skipped_path(path).exists()


def test_samples_that_the_source_cannot_give(tmp_path: Path) -> None:
    source = image_folder(fill(tmp_path / "p", {"a/ä.jpg": jpeg(), "a/2.jpg": jpeg(), "a/3.jpg": jpeg()}))
    (tmp_path / "p" / "a" / "ä.jpg").unlink()
    (tmp_path / "p" / "a" / "2.jpg").unlink()
    (tmp_path / "p" / "a" / "2.jpg").mkdir()
    assert [reason for _, reason in check_source(source)] == ["cannot be read (Is a directory)", "is missing"]
    ((_, reason),) = check_source(from_samples(Raises(), classes=["a"], labels=[0, 0]))  # type: ignore[arg-type]
    assert reason == "cannot be read (Unusual: the disk of my institute is away)"


def test_labels_outside_are_left_out_with_the_rest(tmp_path: Path) -> None:
    source = from_samples([(noise(), 0), (noise(), 3), (noise(), -1)], classes=["a", "b"])
    assert [reason for _, reason in check_source(source)] == [f"has label {n}, outside 0..1" for n in (3, -1)]
    manifest = write_beton(source, tmp_path / "o.beton", on_error="skip")
    assert manifest.counts["train"] == 1
    assert manifest.writing is not None
    assert manifest.writing.notes == ["1 of 2 classes have no training sample: b"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"quality": 0}, "--quality 0 is none of 1 to 100"),
        ({"max_side": 0}, "--max-side 0 leaves no pixels"),
        ({"tiles": 20}, "--tiles 20 is no multiple of 8 pixels"),
        ({"background": "whiet"}, "'whiet' is no colour; write a name"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match=sentence):
        write_beton(small(), tmp_path / "o.beton", **options)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------------------- command line
def run(*command: str | Path) -> Any:
    return CliRunner().invoke(main, ["data", *(str(c) for c in command)])


def test_the_commands_of_a_data_set(tmp_path: Path) -> None:
    files = {f"{'ab'[i % 2]}/{i:02d}.jpg": content for i, content in enumerate(photographs(20, sizes=[(60, 45)]))}
    folder, out = fill(tmp_path / "pictures", files | {"a/bad.jpg": b"<html>"}), tmp_path / "o.beton"
    report = run("write", folder, out, "--on-error", "report")
    assert report.exit_code == 2
    assert report.stdout == f"{folder}/a/bad.jpg is no image that can be read (unknown format)\n"
    assert "1 of 21 samples cannot be stored, nothing was written; repair" in report.stderr
    assert not out.exists()
    written = run("write", folder, out, "--on-error", "skip", "--quality", "90", "--test", "0.2")
    assert written.exit_code == 0, written.output
    lines = written.stdout.splitlines()
    assert lines[0].startswith(f"{out}: 14 train, 2 val, 4 test, 2 classes")
    assert lines[1] == "stored: 20 JPEGs of quality 90"
    assert re.match(r"loss: \d\.\d\d grey levels", lines[2])
    assert lines[3] == f"left out: 1 bad samples, listed with reasons in {out}.skipped.txt"
    assert run("find", out, "0", "19").stdout.splitlines()[1].endswith(f"b (1)  {folder}/b/19.jpg")
    sheet = tmp_path / "sheet.png"
    inspected = run("inspect", out, "--out", sheet, "--class", "b", "--split", "train")
    assert inspected.exit_code == 0, inspected.output
    assert "width 60; height 45" in inspected.stdout
    assert inspected.stdout.endswith(f"{sheet}: 7 samples\n")
    (folder / "a" / "bad.jpg").unlink()
    fine = run("write", folder, out, "--on-error", "report")
    assert (fine.exit_code, fine.stdout) == (0, "all 20 samples can be stored; nothing was written\n")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["write", "digits", "OUT.beton", "--tiles", "7"], "--tiles 7 is no multiple of 8"),
        (["write", "digits", "OUT.beton", "--image-column", "a"], "--image-column means nothing for digits"),
        (["write", "x.csv", "OUT.beton", "--classes", "none.txt"], "names of classes in none.txt cannot be read"),
        (["inspect", "OUT.beton", "--split", "val"], "name a picture with --out sheet.png"),
        (["inspect", "OUT.beton", "--out", "sheet.jpg"], "sheet.jpg must end in .png"),
        (["find", "OUT.beton", "0"], "there is no data set OUT.beton"),
    ],
)
def test_mistakes_on_the_command_line(command: list[str], sentence: str) -> None:
    result = run(*command)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not result.stdout
