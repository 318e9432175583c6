"""The core (recipes, models, data, augmentation, training) runs with torch and timm alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import interplay

REFUSED = ("ray", "mlflow", "optuna", "ffcv", "numba", "cv2", "scipy", "sklearn", "statsmodels", "pandas", "psutil")

PROGRAM = """
import sys

refused = sys.argv[1:]
sys.modules.update(dict.fromkeys(refused))  # None: importing it fails, and looking for it finds nothing

import numpy as np
import interplay.augment, interplay.data, interplay.models, interplay.recipe, interplay.training
assert "timm" not in sys.modules, "importing timm takes seconds, and only LAMB and timm's models need it"

from interplay.data import array_loaders
from interplay.recipe import Augment, Cosine, Data, Recipe, ViT
from interplay.training import fit

images = np.arange(40 * 16 * 16 * 3, dtype=np.int64).reshape(40, 16, 16, 3) % 251
split = (images.astype(np.uint8), np.arange(40) % 3)
recipe = Recipe(
    model=ViT(patch_size=8, width=8, depth=1, heads=1),
    data=Data(resolution=16, batch_size=20),
    augment=Augment(policy="rand_augment", mixup=0.8),
    schedule=Cosine(epochs=1, warmup_epochs=0),
)
for kind in ("adamw", "sgd", "adagrad", "lamb"):
    chosen = recipe.with_({"optimiser": kind, "average": "ema"})
    outcome = fit(chosen, array_loaders({"train": split, "val": split, "test": split}, chosen))
    assert outcome.samples_seen == 40 and "test/top1" in outcome.metrics
    assert kind == "lamb" or "torch._dynamo" not in sys.modules, "importing torch's compiler takes seconds"
assert not [name for name, module in sys.modules.items() if module and name.partition(".")[0] in refused]
print("trained")
"""


@pytest.mark.slow
def test_the_core_trains_without_the_platform() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(interplay.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *REFUSED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained\n"
