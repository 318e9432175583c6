"""What is explained: a trained model, and the images it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from interplay.augment import Normalise
from interplay.data import Manifest, locate, read_manifest
from interplay.data.crops import evaluation_windows
from interplay.data.decode import cut
from interplay.data.images import BadImage, parse_colour, upright
from interplay.data.labels import class_names, trained_labels
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe import Recipe
from interplay.recipe.changes import validate
from interplay.recipe.part import LAST_CHECKPOINT
from interplay.training.start import put_weights, read_checkpoint

_SHOWN = 4
"""Samples of a data set that are looked at if none is named."""


@dataclass(frozen=True)
class Subject:
    """A trained model in evaluation mode and how its images are prepared.

    Attributes:
        model: with the checkpoint's weights, the averaged ones where the training averaged.
        recipe: it was trained by.
        normalise: levels 0..255 -> what the model is given.
        epoch: finished epochs of training.
        classes: their names.
    """

    model: nn.Module
    recipe: Recipe
    normalise: Normalise
    epoch: int
    classes: tuple[str, ...]

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return self.recipe.evaluation.resolution or self.recipe.data.resolution


@dataclass(frozen=True)
class Images:
    """Images as they are before normalisation.

    Attributes:
        names: of the B images.
        pixels: [B, 3, R, R] uint8.
        labels: true class numbers, None where they are not known.
    """

    names: tuple[str, ...]
    pixels: Tensor
    labels: tuple[int | None, ...]

    def __len__(self) -> int:
        return len(self.names)


def load_subject(checkpoint: Path, manifest: Manifest | None = None) -> Subject:
    """The model of `checkpoint`, a file or a cell's folder; classes have the names that `manifest` gives them.

    Raises:
        InterplayError: if it is no checkpoint of ours, or its classes are not those of `manifest`.
    """
    state = read_checkpoint(checkpoint)
    recipe: Recipe = validate(state["recipe"])
    count = int(state["classes"])
    if "mean" not in state or "std" not in state:
        raise InterplayError(f"{checkpoint} does not say how its images are normalised; train the cell again")
    side = recipe.evaluation.resolution or recipe.data.resolution
    model = build(recipe.model, classes=count, image_size=side)
    put_weights(model, checkpoint, new_head=False)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    normalise = Normalise(state["mean"], state["std"], device)
    return Subject(
        model.to(device).eval(), recipe, normalise, state["epoch"], _names(checkpoint, count, manifest, recipe)
    )


def epochs_of(checkpoint: Path) -> list[Path]:
    """The checkpoints of a cell's epochs that were kept, in order; none for a file."""
    folder = (checkpoint / LAST_CHECKPOINT).parent
    return sorted(folder.glob("epoch-*.pt")) if checkpoint.is_dir() else []


def images_of_files(paths: Sequence[Path], recipe: Recipe) -> Images:
    """Image files, cut as the recipe's evaluation cuts them.

    Raises:
        InterplayError: if there is no such file, or it is no image.
    """
    return prepared([(path.name, open_image(path), None) for path in paths], recipe)


def images_of_data(
    path: Path, recipe: Recipe, indices: Sequence[int] = (), *, split: str = "test", count: int = _SHOWN
) -> tuple[Images, Manifest]:
    """Samples of a `.beton` by their position, or `count` of different classes of `split`; and its manifest.

    Labels are those that `recipe` learns. Without such a split the samples are of the whole file.

    Raises:
        InterplayError: if the file is missing or damaged, or has no such sample or labels.
    """
    from interplay.data.stored import StoredSamples  # needs FFCV

    samples = StoredSamples(path)
    for index in indices:
        if not 0 <= index < len(samples):
            raise InterplayError(f"{path} has no sample {index}; its samples are 0 to {len(samples) - 1}")
    of = split if samples.manifest.counts.get(split) else None
    chosen = list(indices) or samples.choose(split=of, name=None, count=count)
    names = class_names(samples.manifest, recipe)
    labels, _ = trained_labels(samples.labels, tuple(map(len, samples.manifest.classes)), recipe)
    found = [(f"sample {n}: {names[labels[n]]}", samples.image(n), int(labels[n])) for n in chosen]
    return prepared(found, recipe), samples.manifest


def prepared(found: Sequence[tuple[str, Image.Image, int | None]], recipe: Recipe) -> Images:
    """(name, RGB image, label) of each -> squares of the recipe's resolution and crop ratio."""
    side = recipe.evaluation.resolution or recipe.data.resolution
    sizes = np.array([image.size for _, image, _ in found], dtype=np.int64)
    windows = evaluation_windows(side, recipe.evaluation.crop_ratio, sizes[:, 1], sizes[:, 0])
    squares = [cut(image, windows, slot, side, recipe.data.interpolation) for slot, (_, image, _) in enumerate(found)]
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).contiguous()
    return Images(tuple(name for name, _, _ in found), pixels, tuple(label for _, _, label in found))


def open_image(path: Path) -> Image.Image:
    """An image file in RGB, turned as its EXIF says.

    Raises:
        InterplayError: if there is none.
    """
    try:
        return upright(path.read_bytes(), parse_colour("white")).image
    except OSError:
        raise InterplayError(f"there is no image {path}") from None
    except BadImage as error:
        raise InterplayError(f"{path} {error}") from None


def data_manifest(dataset: str, root: Path) -> tuple[Path, Manifest]:
    """The `.beton` that `dataset` names under the storage root, and what is known of it."""
    path = locate(dataset, root / "datasets")
    return path, read_manifest(path)


def _names(checkpoint: Path, count: int, manifest: Manifest | None, recipe: Recipe) -> tuple[str, ...]:
    if manifest is None:
        return tuple(f"class {number}" for number in range(count))
    names = class_names(manifest, recipe)
    if len(names) != count:
        raise InterplayError(f"the data set has {len(names)} classes, {checkpoint} {count}; give the one it was for")
    return names
