"""The whole stage: the same image gets the same result everywhere, in every memory format, on every device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from interplay.augment import Normalise, TrainingStage
from interplay.data.order import shard
from interplay.recipe import Augment, AutoAugment, RandAugment, ThreeAugment, TrivialAugment
from tests.unit.augment_images import SIDES, noise, photos

CPU = torch.device("cpu")
JITTER = {"color_jitter": 0.3, "hue_jitter": 0.1, "jitter_order": "random"}
EVERYTHING = {
    "three_augment": Augment(policy=ThreeAugment(), color_jitter=0.3, erasing=0.5),
    "rand_augment": Augment(policy=RandAugment(probability=1.0, layers=3), color_jitter=0.3, erasing=0.5),
    "inc0": Augment(policy=RandAugment(increasing=False), erasing=0.5, erasing_mode="rand", **JITTER),
    "weights": Augment(policy=RandAugment(probability=1.0, layers=4, choice="3aw"), hue_jitter=0.5, erasing_count=3),
    "auto_augment": Augment(policy=AutoAugment(std=0.5), erasing=1.0, erasing_count=3),
    "trivial_augment": Augment(policy=TrivialAugment(), erasing=0.5, erasing_mode="const", **JITTER),
}
MIXED = {
    "batch": Augment(mixup=0.8, cutmix=1.0),
    "pair": Augment(policy=ThreeAugment(), mixup=0.8, cutmix_minmax=(0.2, 0.8), mix_mode="pair"),
    "elem": Augment(policy=ThreeAugment(), mixup=0.8, cutmix=1.0, mix_mode="elem"),
}


def stage_of(augment: Augment, seed: int = 5, device: torch.device = CPU, dtype: torch.dtype = torch.float32):
    return TrainingStage(augment, seed, 10, Normalise((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), device, dtype))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", EVERYTHING)
def test_an_image_gets_the_same_result_whatever_batch_it_is_in(name: str, side: int) -> None:
    stage = stage_of(EVERYTHING[name])
    images, labels = photos(40, side), torch.arange(40) % 10
    view = torch.arange(40) % 3

    def run(rows: Tensor, step: int) -> Tensor:
        return stage(images[rows], labels[rows], rows, view[rows], 2, step)[0]

    whole = run(torch.arange(40), 0)
    for rows in (torch.arange(40).flip(0), torch.arange(3, 40, 7), *torch.arange(40).split(1)):
        assert torch.equal(run(rows, 1), whole[rows])


@pytest.mark.parametrize("name", EVERYTHING | MIXED)
def test_two_ranks_make_the_batch_of_one(name: str) -> None:
    stage, batch = stage_of((EVERYTHING | MIXED)[name]), 16
    images, labels = photos(batch), torch.arange(batch) % 10
    sample, view = 7 * torch.arange(batch), torch.arange(batch) % 2
    whole = stage(images, labels, sample, view, 1, 3)
    for rank in range(2):
        rows = torch.from_numpy(shard(np.arange(batch), batch_size=batch, rank=rank, world=2))
        part = stage(images[rows], labels[rows], sample[rows], view[rows], 1, 3)
        for one, other in zip(part, whole, strict=True):
            assert torch.equal(one, other[rows])


@pytest.mark.parametrize("name", EVERYTHING | {k: v for k, v in MIXED.items() if k != "batch"})
def test_epochs_seeds_and_views_differ(name: str) -> None:
    images, labels, rows = photos(16), torch.zeros(16, dtype=torch.int64), torch.arange(16)

    def run(seed: int = 0, epoch: int = 0, view: int = 0) -> Tensor:
        stage = stage_of((EVERYTHING | MIXED)[name], seed)
        return stage(images, labels, rows, torch.full((16,), view), epoch, 0)[0]

    assert torch.equal(run(), run())
    for other in (run(seed=1), run(epoch=1), run(view=1)):
        same = (run() == other).flatten(1).all(1)
        assert same.float().mean() < 0.5


@pytest.mark.parametrize("name", EVERYTHING | MIXED)
def test_memory_formats_and_the_callers_batch_do_not_matter(name: str) -> None:
    """Loaders send NHWC memory and may keep what they sent."""
    stage, rows = stage_of((EVERYTHING | MIXED)[name]), torch.arange(12)
    images = photos(12)
    expected = stage(images, rows % 10, rows, rows * 0, 0, 0)
    other = stage(images.contiguous(memory_format=torch.channels_last), rows % 10, rows, rows * 0, 0, 0)
    assert torch.equal(expected[0], other[0])
    assert torch.equal(images, photos(12))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", EVERYTHING | MIXED)
def test_another_dtype_is_float32_rounded_once(name: str, dtype: torch.dtype) -> None:
    rows, augment = torch.arange(12), (EVERYTHING | MIXED)[name]
    arguments = (photos(12), rows % 10, rows, rows * 0, 0, 0)
    full, targets = stage_of(augment)(*arguments)
    images, same_targets = stage_of(augment, dtype=dtype)(*arguments)
    assert images.dtype == dtype
    assert torch.equal(images, full.to(dtype))
    assert torch.equal(targets, same_targets)


def test_normalise() -> None:
    x = photos(4)
    scaled = x.float() / 255
    mean, std = scaled.mean(dim=(0, 2, 3)), scaled.std(dim=(0, 2, 3))
    normalise = Normalise(tuple(mean.tolist()), tuple(std.tolist()), CPU)
    out = normalise(x)
    torch.testing.assert_close(out.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(dim=(0, 2, 3)), torch.ones(3))
    floats = x.float()
    assert torch.equal(normalise(floats), out)
    assert torch.equal(floats, x.float())
    assert Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), CPU, torch.bfloat16)(x).dtype == torch.bfloat16


def test_jitter_is_switched_on_by_either_strength() -> None:
    rows, images = torch.arange(6), photos(6)
    plain, colour, hue = (
        stage_of(augment)(images, rows, rows, rows * 0, 0, 0)[0]
        for augment in (Augment(), Augment(color_jitter=0.4), Augment(hue_jitter=0.2))
    )
    assert not torch.equal(plain, colour)
    assert not torch.equal(plain, hue)


@pytest.mark.gpu
@pytest.mark.parametrize("name", EVERYTHING | MIXED)
def test_a_gpu_makes_what_the_cpu_makes(name: str) -> None:
    """Whole grey levels and draws are the same; a pixel that falls on a tie may round to the other level."""
    augment, device, rows = (EVERYTHING | MIXED)[name], torch.device("cuda"), torch.arange(32)
    images = torch.cat([photos(16, 64), noise(16, 64)])
    here, targets = stage_of(augment)(images, rows % 10, rows, rows * 0, 0, 0)
    there, same = stage_of(augment, device=device)(images.to(device), (rows % 10).to(device), rows, rows * 0, 0, 0)
    torch.testing.assert_close(same.cpu(), targets)
    levels = (there.cpu() - here).abs() * 255.0 * torch.tensor([0.2, 0.25, 0.3]).view(1, 3, 1, 1)
    assert (levels > 1e-2).float().mean() < 1e-3
    assert (levels > 2.01).float().mean() < 1e-4
