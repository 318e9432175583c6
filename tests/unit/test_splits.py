"""Validation and test splits carved from training samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interplay.data import from_samples
from interplay.data.splits import carve
from interplay.data.write import write_beton
from tests.unit.pieces import noise


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


@pytest.mark.parametrize(("val", "test"), [(0.1, 0.2), (0.05, 0.0), (0.3, 0.3)])
def test_shares_are_right_for_unbalanced_classes(val: float, test: float) -> None:
    labels = np.repeat(np.arange(5), [1000, 333, 60, 20, 7])
    np.random.default_rng(0).shuffle(labels)
    split = carve(labels, np.zeros(len(labels), np.int64), val=val, test=test, seed=0)
    for label in range(5):
        train, in_val, in_test = np.bincount(split[labels == label], minlength=3)
        assert abs(in_test - test * (train + in_val + in_test)) <= 0.5
        assert abs(in_val - val * (train + in_val)) <= 0.5


def test_a_class_that_is_too_small_is_named_and_keeps_a_training_sample(tmp_path: Path) -> None:
    samples = [(noise(), label) for label in [0] * 20 + [1] * 3 + [2]]
    manifest = write_beton(from_samples(samples, classes=["many", "few", "one"]), tmp_path / "s.beton", val=0.1)
    assert manifest.writing is not None
    assert manifest.writing.per_class["val"] == [[2, 0, 0]]
    assert manifest.writing.notes == [
        "2 of 3 classes are too small for a share of 0.1 in val and have no sample there: few (3), one (1)"
    ]
    labels = np.repeat([0, 1], [10, 1])
    assert carve(labels, np.zeros(11, np.int64), val=0.9, test=0.0, seed=0)[10] == 0


def test_splits_of_the_source_are_kept() -> None:
    split = np.array([0, 0, 0, 0, 1, 2])
    assert (carve(np.zeros(6, np.int64), split, val=0.5, test=0.5, seed=0) == split).all()
