"""Looking into a `.beton`: where samples came from, which are chosen, and the sheet that shows them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interplay.data.manifest import SPLITS
from interplay.data.origins import origins_path
from interplay.data.sheet import draw_sheet
from interplay.data.stored import StoredSamples
from interplay.errors import InterplayError
from tests.unit import pieces


def test_a_sample_is_found(beton: Path) -> None:
    samples = StoredSamples(beton)
    assert [samples.find(i).place for i in range(12)] == [f"sample {i}" for i in range(12)]
    assert [samples.find(i).labels for i in (0, 5)] == [[("a", 0)], [("ünï 鳥", 2)]]
    assert [samples.find(i).split for i in range(12)].count("val") == 3
    np.testing.assert_array_equal(np.asarray(samples.image(4)), pieces.noise(seed=4))
    with pytest.raises(InterplayError, match="has no sample 12; its samples are 0 to 11"):
        samples.find(12)


def other_origins(path: Path) -> None:
    tree = json.loads(gzip.decompress(origins_path(path).read_bytes())) | {"digest": "00"}
    origins_path(path).write_bytes(gzip.compress(json.dumps(tree).encode()))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: origins_path(path).unlink(), "has no small.beton.samples.gz beside it"),
        (lambda path: origins_path(path).write_bytes(b"no gzip"), "small.beton.samples.gz is damaged"),
        (other_origins, "belongs to another data set"),
    ],
)
def test_origins_that_are_not_there(damage: Callable[[Path], None], sentence: str, beton: Path) -> None:
    damage(beton)
    with pytest.raises(InterplayError, match=sentence):
        StoredSamples(beton).find(0)


def test_samples_of_every_class_are_chosen(beton: Path) -> None:
    samples = StoredSamples(beton)
    assert samples.labels[samples.choose(split=None, name=None, count=6), 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert samples.labels[samples.choose(split=None, name=None, count=2), 0].tolist() == [0, 2]
    assert sorted(samples.choose(split=None, name=None, count=99)) == list(range(12))
    assert samples.choose(split=None, name="b", count=9) == [1, 4, 7, 10]
    assert samples.choose(split=None, name="1", count=9) == [1, 4, 7, 10]
    assert (samples.splits[samples.choose(split="val", name=None, count=9)] == SPLITS.index("val")).all()
    for split, name, sentence in (
        (None, "d", "has no class 'd'"),
        ("test", "a", "no sample of split 'test' and class"),
    ):
        with pytest.raises(InterplayError, match=sentence):
            samples.choose(split=split, name=name, count=9)


def test_the_sheet_shows_the_samples(beton: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    assert draw_sheet(StoredSamples(beton), out, split=None, name="a", count=4) == 4
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    enlarged = np.repeat(np.repeat(pieces.noise(seed=0), 9, axis=0), 9, axis=1)  # 16 pixels become 144
    places = np.argwhere((pixels[:, :, :] == enlarged[0, 0]).all(axis=2))
    assert any((pixels[y : y + 108, x : x + 144] == enlarged).all() for y, x in places if y + 108 <= len(pixels))
