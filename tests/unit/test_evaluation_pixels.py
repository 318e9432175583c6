"""A fixed model answers the same through our loader and through torchvision's transforms on Pillow, as timm's."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms

from interplay.augment import Normalise
from interplay.data import from_samples
from interplay.data.loader import beton_loaders
from interplay.data.write import write_beton
from interplay.models import build
from interplay.recipe import Recipe
from interplay.training import fit
from interplay.training.evaluate import answer
from tests.photographs import PHOTOGRAPHS, photographs

pytestmark = pytest.mark.slow

TRAIN, TEST, SIDE = 480, 2_000, 48
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Judged:
    """A model that was trained a moment, and 2,000 photographs that it has not seen, as files and as a `.beton`."""

    model: nn.Module
    normalise: Normalise
    recipe: Recipe
    files: list[bytes]
    labels: Tensor
    beton: Path


def written(files: list[bytes], labels: list[int], path: Path, training: int) -> Path:
    split = ["train"] * training + ["test"] * (len(files) - training)
    samples = list(zip(files, labels, strict=True))
    write_beton(from_samples(samples, classes=[name for _, name in PHOTOGRAPHS], split=split), path)
    return path


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Which of eight photographs was this cut from?"""
    files = list(photographs(TRAIN + TEST, sizes=[(90, 68), (68, 90), (90, 60), (60, 90), (75, 75)]))
    labels = [number % len(PHOTOGRAPHS) for number in range(len(files))]
    beton = written(files, labels, tmp_path_factory.mktemp("judged") / "photos.beton", TRAIN)
    changes = {
        "model": {"family": "vit", "patch_size": 8, "width": 32, "depth": 2, "heads": 2, "init_std": 0.1},
        "data.resolution": SIDE,
        "data.batch_size": 32,
        "optimiser.lr": 3e-3,
        "schedule.epochs": 6,
        "schedule.warmup_epochs": 1,
    }
    recipe = Recipe().with_(changes)
    loaders = beton_loaders(beton, recipe)
    outcome = fit(recipe, loaders)
    assert 45.0 < outcome.metrics["test/top1"] < 99.0  # it tells them apart, and some narrowly
    model = build(recipe.model, classes=loaders.classes, image_size=SIDE)
    model.load_state_dict(outcome.state["model"])
    normalise = Normalise(loaders.mean, loaders.std, CPU)
    return Judged(model.eval(), normalise, recipe, files[TRAIN:], torch.tensor(labels[TRAIN:]), beton)


@torch.inference_mode()
def by_torchvision(judged: Judged, files: list[bytes], crop_ratio: float, batch: int) -> Tensor:
    """[N, K] logits through timm's evaluation transforms: resize the short side (bicubic, on Pillow), centre crop."""
    steps = [
        transforms.Resize(int(SIDE / crop_ratio), transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(SIDE),
        transforms.PILToTensor(),
    ]
    transform = transforms.Compose(steps)
    images = torch.stack([transform(Image.open(io.BytesIO(file)).convert("RGB")) for file in files])
    images = images.contiguous(memory_format=torch.channels_last)  # as the loader's: kernels for others sum otherwise
    return torch.cat([judged.model(judged.normalise(part)) for part in images.split(batch)])


@pytest.mark.parametrize("crop_ratio", [0.875, 1.0])
def test_resized_photographs_are_answered_the_same(judged: Judged, crop_ratio: float) -> None:
    recipe = judged.recipe.with_({"evaluation.crop_ratio": crop_ratio})
    loader = beton_loaders(judged.beton, recipe).test
    assert loader is not None
    ours = answer(judged.model, loader, judged.normalise, device=CPU)
    theirs = by_torchvision(judged, judged.files, crop_ratio, recipe.data.batch_size)
    assert torch.equal(ours.labels, judged.labels)
    assert (ours.best == theirs.argmax(dim=1)).double().mean() >= 0.999
    top1 = [100.0 * (best == judged.labels).double().mean() for best in (ours.best, theirs.argmax(dim=1))]
    assert abs(top1[0] - top1[1]) <= 0.05


def test_photographs_that_need_no_resizing_get_identical_logits(judged: Judged, tmp_path: Path) -> None:
    files = list(photographs(96, seed=1, sizes=[(SIDE, SIDE), (SIDE + 10, SIDE), (SIDE, SIDE + 7)]))
    beton = written(files, [0] * 96, tmp_path / "same.beton", 32)
    recipe = judged.recipe.with_({"evaluation.crop_ratio": 1.0})
    loader = beton_loaders(beton, recipe).test
    assert loader is not None
    ours = answer(judged.model, loader, judged.normalise, device=CPU).logits
    assert torch.equal(ours, by_torchvision(judged, files[32:], 1.0, recipe.data.batch_size))
