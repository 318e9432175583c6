"""Maps over images: attention, saliency, rollout, and the rows of ResMLP's linear maps."""

# B batch, L layers, H heads, T tokens, h w the grid
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from torch import Tensor

from interplay.explain.figures.canvas import (
    FAINT,
    Values,
    as_image,
    bare,
    colour_bar,
    enlarged,
    evenly,
    figure,
    show_image,
    show_map,
    styled,
)

_ROWS, _HEADS = 6, 12
"""Layers and heads of one figure at most."""

_SIDE = 1.0
"""Inches of one map."""


def draw_heads(image: Tensor, name: str, maps: Tensor, layers: Sequence[str], tokens: Sequence[str]) -> Figure:
    """One image and where its tokens look: a row for each layer and token, a column for each head (F3.9).

    Args:
        image: [3, R, R] uint8.
        name: of it.
        maps: [L, H, T, h, w].
        layers: names of the L layers.
        tokens: names of the T tokens.
    """
    chosen = evenly(len(maps), max(1, _ROWS // len(tokens)))
    rows = [(layer, token) for layer in chosen for token in range(len(tokens))]
    heads = evenly(maps.shape[1], _HEADS)
    with styled():
        made = figure((len(heads) + 2) * _SIDE + 0.7, len(rows) * _SIDE + 0.45)
        places = made.subplots(len(rows), len(heads) + 1, squeeze=False)
        for row, (layer, token) in enumerate(rows):
            values = maps[layer, :, token].double().cpu().numpy()
            scale = Normalize(min(0.0, float(values.min())), float(values.max()))
            bare(places[row, 0])
            for column, head in enumerate(heads):
                title = f"head {head + 1}" if row == 0 else ""
                shown = show_map(places[row, column + 1], values[head], scale, title)
            label = layers[layer] + (f"\n{tokens[token]}" if len(tokens) > 1 else "")
            places[row, 1].set_ylabel(label, labelpad=4)
            colour_bar(made, shown, list(places[row, 1:]), "weight")
        show_image(places[0, 0], image, name)
    return made


def draw_saliency(images: Tensor, names: Sequence[str], maps: Tensor, answers: Sequence[str]) -> Figure:
    """Each image, and its grey levels weighted with the map, in the colours of F3.10.

    Args:
        images: [B, 3, R, R] uint8.
        names: of them.
        maps: [B, h, w] the first layer's weights, averaged over heads.
        answers: what the model takes each image for.
    """
    with styled():
        columns = 2 if len(images) == 4 else min(3, len(images))
        rows = -(-len(images) // columns)
        lines = max(answer.count("\n") + 1 for answer in answers)
        made = figure(3.1 * columns, (1.7 + 0.13 * lines) * rows)
        places = made.subplots(rows, 2 * columns, squeeze=False).reshape(-1, 2)
        for row, place in enumerate(places):
            if row >= len(images):
                bare(place[0])
                bare(place[1])
                continue
            show_image(place[0], images[row], names[row])
            place[1].imshow(
                saliency(images[row], maps[row]), cmap="cividis", vmin=0.0, vmax=1.0, interpolation="nearest"
            )
            bare(place[1])
            place[1].set_title("saliency", pad=3)
            place[0].set_xlabel(answers[row], fontsize=7, color=FAINT, loc="left")
    return made


def saliency(image: Tensor, map_hw: Tensor) -> Values:
    """[R, R] in [0, 1]: the grey image times the enlarged map, which is stretched to [0, 1] (thesis S3.7.2.5)."""
    low, high = float(map_hw.min()), float(map_hw.max())
    stretched = (map_hw - low) / (high - low) if high > low else torch.ones_like(map_hw)
    grey = as_image(image) @ np.array([0.299, 0.587, 0.114])
    return np.asarray(grey * enlarged(stretched, image.shape[-1]))


def draw_overlays(
    images: Tensor, names: Sequence[str], maps: Tensor, titles: Sequence[Sequence[str]], label: str
) -> Figure:
    """Each image in a row, followed by maps laid over its grey levels (F5.5, F5.6).

    Args:
        images: [B, 3, R, R] uint8.
        names: of them.
        maps: [B, M, h, w] not negative.
        titles: [B][M] of the maps.
        label: of the colour bar.
    """
    values = maps.double().cpu()
    with styled():
        made = figure(1.5 * (maps.shape[1] + 1) + 0.8, 1.65 * len(images))
        places = made.subplots(len(images), maps.shape[1] + 1, squeeze=False)
        for row, place in enumerate(places):
            show_image(place[0], images[row], names[row])
            scale = Normalize(float(values[row].min()), float(values[row].max()))
            for column, map_hw in enumerate(values[row]):
                axes = place[column + 1]
                shown = show_map(axes, np.asarray(map_hw), scale, titles[row][column], "inferno")
                axes.imshow(_mixed(images[row], map_hw, scale), interpolation="nearest", extent=shown.get_extent())
            colour_bar(made, shown, list(place[1:]), label)
    return made


def draw_patch_rows(rows: Tensor, layers: Sequence[int], central: int = 6) -> Figure:
    """The rows of `central` x `central` patches in the middle as images, for layers spread over depth (F4.2).

    Args:
        rows: [L, N, h, w].
        layers: numbers of the L layers, counted from 0.
        central: patches shown along each side.
    """
    side = rows.shape[-1]
    shown_patches = min(central, side)
    start = (side - shown_patches) // 2
    chosen = evenly(len(rows), 6)
    columns = min(3, len(chosen))
    with styled():
        made = figure(2.7 * columns, 2.2 * -(-len(chosen) // columns))
        places = made.subplots(-(-len(chosen) // columns), columns, squeeze=False).reshape(-1)
        for axes in places:
            bare(axes)
        for axes, number in zip(places, chosen, strict=False):
            mosaic = _mosaic(rows[number].double().numpy(), side, start, shown_patches)
            limit = float(np.nanmax(np.abs(mosaic))) or 1.0
            shown = show_map(axes, mosaic, TwoSlopeNorm(0.0, -limit, limit), f"layer {layers[number] + 1}", "RdBu_r")
            colour_bar(made, shown, [axes], "weight")
    return made


def _mosaic(rows: Values, side: int, start: int, count: int) -> Values:
    """The rows of the patches in the middle, each at its patch's place, with lines of NaN between them."""
    step = side + 1
    mosaic = np.full((count * step - 1, count * step - 1), np.nan)
    for y in range(count):
        for x in range(count):
            row = rows[(start + y) * side + start + x]
            mosaic[y * step : y * step + side, x * step : x * step + side] = row
    return mosaic


def _mixed(image: Tensor, map_hw: Tensor, scale: Normalize) -> Values:
    """The grey image and the colours of the enlarged map in equal parts: [R, R, 3]."""
    grey = as_image(image) @ np.array([0.299, 0.587, 0.114])
    colours = colormaps["inferno"](scale(enlarged(map_hw, image.shape[-1])))[..., :3]
    return np.asarray(0.35 * grey[..., None] + 0.65 * colours)
