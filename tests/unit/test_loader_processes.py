"""Loaders in processes of their own: the same pixels for each (seed, epoch, index, view), also after a restart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from interplay.data import from_samples
from interplay.data.write import write_beton
from interplay.recipe import Recipe, to_yaml
from tests.photographs import photographs

ROOT = Path(__file__).parents[2]

PROGRAM = """
import hashlib, json, sys
from pathlib import Path
from interplay.augment import policy_in_loader
from interplay.data.loader import beton_loaders
from interplay.recipe import read_recipe

beton, recipe, threads, passes = Path(sys.argv[1]), read_recipe(Path(sys.argv[2])), int(sys.argv[3]), sys.argv[4]
policy = policy_in_loader(recipe.augment, recipe.seeds.augment)
train = beton_loaders(beton, recipe, threads=threads, policy=policy).train
found = []
for epoch, start in json.loads(passes):
    for step, batch in enumerate(train.epoch(epoch, start), start=start):
        for index, view, image in zip(batch.index.tolist(), batch.view.tolist(), batch.images, strict=True):
            pixels = hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()
            found.append([epoch, step, index, view, pixels])
print(json.dumps(found))
"""

Draw = tuple[int, int, int, int, str]  # epoch, step, index, view, hash of the pixels


@pytest.fixture(scope="module")
def beton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 photographs of several sizes."""
    path = tmp_path_factory.mktemp("processes") / "photos.beton"
    files = photographs(48, sizes=[(120, 90), (90, 120), (120, 80), (150, 150)])
    write_beton(from_samples([(file, i % 3) for i, file in enumerate(files)], classes=list("abc")), path)
    return path


@pytest.fixture
def recipe(tiny: Recipe, tmp_path: Path) -> Path:
    changes = {
        "data.resolution": 32,
        "data.batch_size": 8,
        "augment.crop": "random_resized_crop",
        "augment.flip": 0.5,
        "augment.policy": "three_augment",
        "augment.repeats": 2,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(tiny.with_(changes)))
    return path


def start(beton: Path, recipe: Path, threads: int, passes: list[tuple[int, int]]) -> subprocess.Popen[str]:
    """A process that reads `passes`: an epoch from a step on, each."""
    command = [sys.executable, "-c", PROGRAM, str(beton), str(recipe), str(threads), json.dumps(passes)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def drawn(process: subprocess.Popen[str]) -> list[Draw]:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [tuple(row) for row in json.loads(output)]


@pytest.mark.slow
def test_processes_and_threads_give_the_same_pixels_and_a_resumed_one_the_rest(beton: Path, recipe: Path) -> None:
    whole = start(beton, recipe, 1, [(0, 0), (1, 0), (2, 0)])
    resumed = start(beton, recipe, 2, [(1, 4), (2, 0), (0, 0)])  # stopped in epoch 1 after four of six steps
    one, other = drawn(whole), drawn(resumed)
    assert len(one) == 3 * 48
    assert len(set(one)) == len({row[4] for row in one}) == 3 * 48  # no two draws are the same picture
    assert other[:16] == [row for row in one if row[0] == 1 and row[1] >= 4]
    assert other[16:64] == [row for row in one if row[0] == 2]
    assert other[64:] == [row for row in one if row[0] == 0]
