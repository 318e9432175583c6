"""The same training on every device: a GPU gives a CPU's numbers, up to the rounding of its number format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interplay.data import array_loaders
from interplay.recipe import PatchConvNet, Recipe, ResMLP
from interplay.recipe.architecture import ClassAttention, Model
from interplay.training import Computing, State, fit, load, save

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]

RANDOM = {"model.drop_path": 0.2, "model.dropout": 0.1, "augment.mixup": 0.8, "average": "ema"}
FAMILIES: dict[str, Model | dict[str, Any]] = {
    "deit": {},
    "cait": {"model.talking_heads": True, "model.pool": ClassAttention(depth=1), "model.position": "patches"},
    "resmlp": {"model": ResMLP(patch_size=4, width=16, depth=2, init_std=0.1)},
    "patchconvnet": {"model": PatchConvNet(width=16, depth=2, init_std=0.1), "data.resolution": 32},
}

Splits = dict[str, tuple[np.ndarray, np.ndarray]]
Losses = list[float]


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions on a GPU would compute in 19 bits."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def losses(recipe: Recipe, splits: Splits, device: str, folder: Path | None = None, **options: Any) -> Losses:
    """Of each epoch, and of the test split; checkpoints go to `folder`."""
    found = []

    def report(metrics: dict[str, float], state: Any) -> None:
        found.append(metrics["train/loss"])
        if folder is not None:
            save(state(), folder / f"{int(metrics['epoch'])}.pt")

    outcome = fit(recipe, array_loaders(splits, recipe), device=device, report=report, **options)
    return [*found, outcome.metrics["test/loss"]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_device_trains_as_the_cpu_does(tiny: Recipe, random_splits: Splits, family: str, device: str) -> None:
    recipe = tiny.with_({**FAMILIES[family], "precision": "fp32"})
    there, here = (losses(recipe, random_splits, where) for where in (device, "cpu"))
    assert there == pytest.approx(here, rel=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_stays_near_float32(tiny: Recipe, random_splits: Splits, family: str, device: str) -> None:
    recipe = tiny.with_(FAMILIES[family])
    half, full = (losses(recipe.with_({"precision": p}), random_splits, device) for p in ("bf16", "fp32"))
    assert half == pytest.approx(full, rel=0.05)
    assert half != full


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own compiler looks at it
@pytest.mark.parametrize(
    ("family", "device"),
    # torch's compiler takes seconds for each on a CPU; that all compile whole is in the contract suite
    [("patchconvnet", "cpu"), *(pytest.param(family, "cuda", marks=pytest.mark.gpu) for family in FAMILIES)],
)
def test_compiled_and_channels_last_give_the_same(
    tiny: Recipe, random_splits: Splits, family: str, device: str
) -> None:
    recipe = tiny.with_({**FAMILIES[family], "precision": "fp32"})
    computing = Computing(compile=True, channels_last=True)
    quick, plain = (losses(recipe, random_splits, device, computing=how) for how in (computing, Computing()))
    assert quick == pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("after", DEVICES)
def test_a_checkpoint_goes_on_here_and_there(
    tiny: Recipe, random_splits: Splits, tmp_path: Path, device: str, after: str
) -> None:
    """What a device drew is drawn again on it: drop path and dropout are its own, all else is a CPU's too."""
    recipe = tiny.with_({**(RANDOM if device == after else {}), "schedule.epochs": 3, "precision": "fp32"})
    whole = losses(recipe, random_splits, device, tmp_path)
    checkpoint: State = load(tmp_path / "1.pt")
    rest = losses(recipe, random_splits, after, latest_checkpoint=lambda: checkpoint)
    assert rest == pytest.approx(whole[1:], rel=1e-3 if "cuda" in (device, after) else 0.0)
