"""What tests of every room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from interplay.data import locate
from interplay.recipe import (
    AdamW,
    Augment,
    Cosine,
    Data,
    Evaluation,
    LayerScale,
    RandomResizedCrop,
    Recipe,
    ViT,
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


@pytest.fixture
def tiny() -> Recipe:
    """A recipe that trains in a second: 2 blocks of width 16 on 16x16 images."""
    return Recipe(
        name="tiny",
        model=ViT(patch_size=4, width=16, depth=2, heads=2, scale=LayerScale(init=0.1), init_std=0.1),
        data=Data(dataset="digits", resolution=16, batch_size=32),
        augment=Augment(crop=RandomResizedCrop(scale=(0.7, 1.0)), flip=0.0),
        optimiser=AdamW(lr=3e-3),
        schedule=Cosine(epochs=2, warmup_epochs=1, per="step"),
        evaluation=Evaluation(crop_ratio=1.0),
    )


@pytest.fixture(scope="session")
def digits_beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as a `.beton`, written once for all tests."""
    return locate("digits", tmp_path_factory.mktemp("datasets"))


@pytest.fixture(scope="session")
def random_splits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Random 20x20 images with 5 classes: 100 to train, 33 to validate, 31 to test."""
    rng = np.random.default_rng(0)

    def split(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = rng.integers(0, 5, count)
        images = rng.integers(0, 60, (count, 20, 20, 3)) + 30 * labels[:, None, None, None]
        return images.astype(np.uint8), labels.astype(np.int64)

    return {"train": split(100), "val": split(33), "test": split(31)}
