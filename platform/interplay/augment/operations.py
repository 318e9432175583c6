"""The operations of the policies by name, and applying one drawn operation to each image of a batch."""

# B batch, n images that get one operation
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interplay.augment import colour, geometry
from interplay.augment.blur import gaussian_blur
from interplay.augment.geometry import Affine, Resampling

Values = NDArray[np.float64]
Operation = Callable[[Tensor, Tensor], Tensor] | Affine

# [n, 3, H, W] uint8 and [n] values -> [n, 3, H, W] uint8
OPERATIONS: dict[str, Operation] = {
    "grayscale": lambda x, _: colour.grayscale(x),
    "autocontrast": lambda x, _: colour.autocontrast(x),
    "equalise": lambda x, _: colour.equalise(x),
    "invert": lambda x, _: colour.invert(x),
    "posterise": colour.posterise,
    "solarise": colour.solarise,
    "solarise_add": colour.solarise_add,
    "saturation": colour.saturation,
    "contrast": colour.contrast,
    "brightness": colour.brightness,
    "hue": colour.hue,
    "sharpness": colour.sharpness,
    "rotate": geometry.rotate,
    "shear_x": geometry.shear_x,
    "shear_y": geometry.shear_y,
    "translate_x": geometry.translate_x,
    "translate_y": geometry.translate_y,
}
"""All but "blur", which must know its largest value before it starts, and "identity"."""


@dataclass(frozen=True)
class Layer:
    """One operation for each image: image b gets `names[choice[b]]` with `value[b]`, or none where choice is -1."""

    names: tuple[str, ...]
    choice: NDArray[np.int64]
    value: Values


_IN_CACHE = 8 * 3 * 224 * 224
"""Pixels that a CPU works on at a time: as floats they stay in its caches, twice to six times as fast."""


def apply_layer(x: Tensor, layer: Layer, resampling: Resampling = geometry.TIMMS) -> Tensor:
    """[B, 3, H, W] uint8 -> the same, contiguous and in new memory."""
    names = [name for name in layer.names if name != "identity"]
    # images sorted by operation, those that stay first: every group is a slice, and the layer is sent at once.
    # Those that move pixels come last: an image gets one operation of a layer, so one resampling is enough
    names.sort(key=lambda name: isinstance(OPERATIONS.get(name), Affine))
    place = np.array([names.index(name) if name in names else -1 for name in layer.names] + [-1])[layer.choice]
    order = np.argsort(place, kind="stable")
    bounds = [0, *np.searchsorted(place[order], np.arange(len(names) + 1)).tolist()]
    rows = torch.from_numpy(np.stack([order, np.argsort(order)])).to(x.device, non_blocking=True)
    values = torch.from_numpy(layer.value[order]).to(x.device, torch.float32, non_blocking=True)
    x = x.contiguous().index_select(0, rows[0])
    done, matrices = [x[: bounds[1]]], []
    for name, start, stop in zip(names, bounds[1:-1], bounds[2:], strict=True):
        if start == stop:
            continue
        operation = OPERATIONS.get(name)
        if isinstance(operation, Affine):
            matrices.append(operation.matrix(values[start:stop], x.shape[2], x.shape[3]))
            continue
        if operation is None:
            operation = partial(_blur, largest=float(layer.value[order[start:stop]].max()))
        done.append(in_parts(operation, x[start:stop], values[start:stop]))
    if matrices:
        moving = x[len(x) - sum(map(len, matrices)) :]
        done.append(in_parts(partial(geometry.affine, resampling=resampling), moving, torch.cat(matrices)))
    return torch.cat(done).index_select(0, rows[1])


def in_parts(operation: Callable[[Tensor, Tensor], Tensor], x: Tensor, values: Tensor) -> Tensor:
    """`operation` on [n, 3, H, W] and [n, ...] values; on a CPU a few images at a time, which changes no result."""
    size = max(1, _IN_CACHE // x[0].numel())
    if x.device.type != "cpu" or len(x) <= size:
        return operation(x, values)
    return torch.cat([operation(*part) for part in zip(torch.split(x, size), torch.split(values, size), strict=True)])


def _blur(x: Tensor, radius: Tensor, largest: float) -> Tensor:
    return gaussian_blur(x, radius, largest)
