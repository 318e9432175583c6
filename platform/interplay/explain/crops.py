"""Which part of an image the crops of training take (thesis F6.2, F6.3)."""

# V draws
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interplay.data.crops import training_windows
from interplay.recipe import Recipe
from interplay.recipe.augmentation import Augment, Crop, RandomResizedCrop, ResizeOnly, SimpleRandomCrop


@dataclass(frozen=True)
class Crops:
    """What one kind of crop takes of one image.

    Attributes:
        name: of the crop.
        boxes: [V, 4] left, top, right, bottom in pixels of the image; outside of it, it is mirrored.
        shares: [V] of the image's area that lie in the box.
    """

    name: str
    boxes: NDArray[np.float64]
    shares: NDArray[np.float64]


def draw_crops(recipe: Recipe, width: int, height: int, draws: int = 2000) -> list[Crops]:
    """Random resized and simple random crops of an image, and the recipe's own where it is neither.

    The recipe's own crop has its settings and its name; the other has its defaults. The draws are those of repeated
    views of sample 0 in epoch 0.
    """
    own = recipe.augment.crop
    kinds: list[Crop] = [own if isinstance(own, kind) else kind() for kind in (RandomResizedCrop, SimpleRandomCrop)]
    if isinstance(own, ResizeOnly):
        kinds.append(own)
    found = []
    for crop in kinds:
        augment = Augment.model_validate({**dict(recipe.augment), "crop": crop})
        boxes = crop_boxes(augment, recipe.data.resolution, width, height, recipe.seeds.augment, draws)
        name = crop.kind.replace("_", " ") + (" (the recipe's)" if crop is own else "")
        found.append(Crops(name, boxes, inside(boxes, width, height)))
    return found


def crop_boxes(
    augment: Augment, resolution: int, width: int, height: int, seed: int, draws: int
) -> NDArray[np.float64]:
    """[V, 4] the boxes, in the image's pixels, of the squares that training would cut."""
    view = np.arange(draws, dtype=np.int64)
    windows = training_windows(
        augment,
        resolution,
        np.full(draws, height, dtype=np.int64),
        np.full(draws, width, dtype=np.int64),
        seed=seed,
        epoch=0,
        sample=np.zeros_like(view),
        view=view,
    )
    # the square within the resized window, in the window's own pixels
    scale = (windows.boxes[:, 2:] - windows.boxes[:, :2]) / windows.sizes
    first = windows.boxes[:, :2] + windows.corners * scale
    return np.concatenate([first, first + resolution * scale], axis=1)


def inside(boxes: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """[V] share of the image's area that lies in each box."""
    sides = np.minimum(boxes[:, 2:], [width, height]) - np.maximum(boxes[:, :2], 0.0)
    return np.asarray(sides.prod(axis=1) / (width * height))
