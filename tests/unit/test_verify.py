"""Every damage of a `.beton` is told in one sentence; a sound one can be looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from interplay.data import Manifest, read_manifest
from interplay.data import ffcv_engine as engine
from interplay.data.manifest import SPLITS, manifest_path, sha256, write_manifest
from interplay.data.origins import origins_path
from interplay.data.verify import open_checked, verify
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from tests.unit import pieces
from tests.unit.pieces import jpeg


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


def zero_an_image(path: Path) -> None:
    """Pixels that are all zero could be an image; what was written tells."""
    patch_bytes(path, first_image(path, engine.RAW_MODE), b"\0" * 12 * 16 * 3)


def zero_a_jpeg(path: Path) -> None:
    patch_bytes(path, first_image(path, engine.JPEG_MODE), b"\0" * 400)


def zero_the_head(path: Path) -> None:
    """What a writer leaves that is killed before it writes the head, as FFCV's does last."""
    patch_bytes(path, 0, b"\0" * 4096)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut_to_some_bytes(path: Path) -> None:
    os.truncate(path, 10)
    restate(path)


def put_another_file(path: Path) -> None:
    path.write_bytes(jpeg(3) * 40)
    restate(path)


def cut_the_table(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2 * np.dtype(engine.ALLOC_TABLE_TYPE).itemsize)
    restate(path)


def cut_the_table_within_a_row(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)
    restate(path)


def table_entry(path: Path, row: int, field: int, value: int) -> None:
    table = int(engine.Reader(str(path)).header["alloc_table_ptr"])
    patch_bytes(path, table + row * 24 + field * 8, value.to_bytes(8, "little"))
    restate(path)


def image_beyond_the_end(path: Path) -> None:
    table_entry(path, 11, 2, 1 << 40)


def images_overlap(path: Path) -> None:
    sizes = engine.Reader(str(path)).alloc_table["size"]
    table_entry(path, 0, 2, int(sizes[0]) + 1)


def image_of_no_bytes(path: Path) -> None:
    table_entry(path, 4, 2, 0)


def no_samples(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.fields["num_samples"][1], b"\0" * 8)
    restate(path)


def countless_samples(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.fields["num_samples"][1], b"\xff" * 7 + b"\0")
    restate(path)


def fewer_samples(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.fields["num_samples"][1], b"\x0b")
    restate(path)


def odd_page(path: Path) -> None:
    patch_bytes(path, engine.HeaderType.fields["page_size"][1], (12345).to_bytes(4, "little"))
    restate(path)


def unknown_mode(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "image") + mode_offset(path), b"\x07")
    restate(path)


def mode_offset(path: Path) -> int:
    return int(engine.Reader(str(path)).metadata["f0"].dtype.fields["mode"][1])


def image_without_pixels(path: Path) -> None:
    names = engine.Reader(str(path)).metadata["f0"].dtype.fields
    patch_bytes(path, metadata_offset(path, 3, "image") + names["width"][1], b"\0\0")
    restate(path)


def jpeg_of_another_size(path: Path) -> None:
    names = engine.Reader(str(path)).metadata["f0"].dtype.fields
    patch_bytes(path, metadata_offset(path, 3, "image") + names["width"][1], b"\x0f\0")
    restate(path)


def two_samples_of_one_image(path: Path) -> None:
    start = int(engine.Reader(str(path)).metadata["f0"]["data_ptr"][4])
    names = engine.Reader(str(path)).metadata["f0"].dtype.fields
    offset = metadata_offset(path, 6, "image") + names["data_ptr"][1]
    patch_bytes(path, offset, start.to_bytes(8, "little"))
    restate(path)


def negative_label(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "label"), b"\xff" * 8)
    restate(path)


def another_label(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "label"), b"\x01")


def out_of_order(path: Path) -> None:
    patch_bytes(path, metadata_offset(path, 5, "index"), (9).to_bytes(8, "little"))
    restate(path)


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
    write_beton(pieces.hard_to_draw(9), other)
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
        (truncate_unnoticed, "is truncated: its tables lie beyond"),
        (empty, "small.beton is empty; copy it again"),
        (cut_to_some_bytes, "is no .beton: it has 10 bytes"),
        (put_another_file, "is no .beton of version 2, or has a damaged header"),
        (zero_the_head, "was never finished"),
        (zero_the_table, "was never finished"),
        (flip_a_byte, r"differs from its manifest: the bytes of sample 0 \(sample 0\) are not those written; copy"),
        (zero_an_image, "the bytes of sample 0 .* are not those written, they are all zero"),
        (zero_a_jpeg, "the bytes of sample 1 .* are not those written"),
        (another_label, "differs from its manifest .SHA-256 "),
        (spoil_a_jpeg, r": the JPEG of sample 1 cannot be decoded \(unknown format\)"),
        (jpeg_of_another_size, "the JPEG of sample 3 has another size than stated"),
        (spoil_the_header, "has a damaged header"),
        (spoil_the_version, "has a damaged header"),
        (odd_page, "has a damaged header"),
        (no_samples, "holds no samples"),
        (countless_samples, "its tables lie beyond"),
        (fewer_samples, "has a damaged table of allocations: it is cut or too long"),
        (spoil_the_field_names, "has a damaged header|has no field 'image'"),
        (cut_the_table, "has a damaged table of allocations: it is cut"),
        (cut_the_table_within_a_row, "has a damaged table of allocations: it is cut"),
        (image_beyond_the_end, "has a damaged table of allocations: its images overlap or lie outside"),
        (images_overlap, "has a damaged table of allocations: its images overlap"),
        (image_of_no_bytes, "has a damaged table of allocations"),
        (label_out_of_range, r"sample 5 has label 77, outside 0\.\.2"),
        (negative_label, r"sample 5 has label -1, outside 0\.\.2"),
        (split_out_of_range, "holds .* samples, its manifest says"),
        (out_of_order, "has samples out of order"),
        (image_elsewhere, "points to images that are not there"),
        (two_samples_of_one_image, "points to images that are not there"),
        (image_without_pixels, "has images without pixels"),
        (unknown_mode, "stored in no known way"),
        (larger_than_stored, "sample 0 .* another size than stated"),
        (lose_the_manifest, r"has no manifest small.beton.json beside it; write the data set"),
        (garble_the_manifest, "small.beton.json is damaged"),
        (cut_the_manifest, "small.beton.json is damaged"),
        (take_anothers_manifest, "instead of .*: it is truncated or changed"),
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


@pytest.mark.parametrize("damage", [truncate_unnoticed, cut_the_table, image_beyond_the_end, label_out_of_range])
def test_a_loader_is_kept_from_damage_without_reading_images(damage: Callable[[Path], None], beton: Path) -> None:
    damage(beton)
    with pytest.raises(InterplayError):
        open_checked(beton)


def test_damage_is_found_without_the_list_of_origins(beton: Path) -> None:
    origins_path(beton).unlink()
    assert verify(beton) == read_manifest(beton)
    zero_an_image(beton)
    with pytest.raises(InterplayError, match=r"differs from its manifest \(SHA-256"):
        verify(beton)
