"""Curves over depth, and what a data set's embeddings look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from interplay.explain.embeddings import Embeddings
from interplay.explain.figures.canvas import COLOURS, FAINT, INK, Values, evenly, figure, styled
from interplay.explain.patches import Sparsity
from interplay.explain.residuals import BranchRatio, BranchScale
from interplay.explain.similarity import TokenSimilarity

_WIDE = 100.0
"""Values are drawn on a logarithmic axis if the largest is so many times the smallest."""


def draw_ratios(epochs: Mapping[int, Sequence[BranchRatio]]) -> Figure:
    """Ratios of norms by depth, a panel for each kind of branch; later epochs are darker (F3.6)."""
    every = [ratio for ratios in epochs.values() for ratio in ratios]
    kinds = list(dict.fromkeys(ratio.kind for ratio in sorted(every, key=lambda ratio: ratio.depth)))
    shades = [colormaps["Blues"](share) for share in np.linspace(0.35, 1.0, len(epochs))] if len(epochs) > 1 else []
    columns = 2 if len(kinds) in (2, 4) else min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    with styled():
        made = figure(2.7 * columns + 0.9, 2.1 * rows)
        places = made.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, kind in zip(places.flat, kinds, strict=False):
            for number, ratios in enumerate(epochs.values()):
                points = [(ratio.depth + 1, ratio.mean, ratio.std) for ratio in ratios if ratio.kind == kind]
                depth, mean, std = np.array(points).T
                colour = shades[number] if shades else COLOURS[0]
                axes.plot(depth, mean, marker="o", color=colour)
                if not shades:
                    axes.fill_between(depth, np.maximum(mean - std, 0.0), mean + std, color=colour, alpha=0.18, lw=0)
            _over_depth(axes, sorted({ratio.depth + 1 for ratio in every if ratio.kind == kind}), kind)
        _share_limits(places.flat[0], [ratio.mean for ratio in every if ratio.mean > 0.0])
        for axes in places.flat[len(kinds) :]:
            axes.set_visible(False)
        for axes in places[:, 0]:
            axes.set_ylabel("‖scaled branch‖ / ‖input‖")
        if shades:
            _epoch_bar(made, places, list(epochs), shades)
    return made


def draw_scales(scales: Sequence[BranchScale]) -> Figure:
    """Magnitudes of the learned scales by depth: median, and where 80 % of the channels lie."""
    kinds = list(dict.fromkeys(scale.kind for scale in sorted(scales, key=lambda scale: scale.depth)))
    shown: list[list[float]] = []
    with styled():
        made = figure(4.6, 2.7)
        axes = made.subplots()
        for kind, colour in zip(kinds, cycle(COLOURS)):
            own = [scale for scale in scales if scale.kind == kind]
            depth = [scale.depth + 1 for scale in own]
            low, middle, high = np.array([np.quantile(s.values.abs().numpy(), (0.1, 0.5, 0.9)) for s in own]).T
            shown += [low.tolist(), high.tolist()]
            axes.plot(depth, middle, marker="o", color=colour, label=kind)
            axes.fill_between(depth, low, high, color=colour, alpha=0.18, lw=0)
        if len(starts := {scale.init for scale in scales}) == 1 and (start := next(iter(starts))) > 0.0:
            axes.axhline(start, color=FAINT, lw=0.8, ls="--", label=f"start, {start:g}")
        _share_limits(axes, [value for values in shown for value in values if value > 0.0])
        _over_depth(axes, sorted({scale.depth + 1 for scale in scales}))
        axes.set_ylabel("|scale|, median and 10 to 90 %")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return made


def draw_sparsity(found: Sparsity) -> Figure:
    """Shares of small entries by layer, a line for each matrix (F4.3)."""
    names = {"A": "A, over patches", "A1": "A₁, over patches", "A2": "A₂, over patches", "B": "B, MLP", "C": "C, MLP"}
    with styled():
        made = figure(4.6, 2.6)
        axes = made.subplots()
        for (matrix, shares), colour in zip(found.shares.items(), COLOURS, strict=False):
            axes.plot([layer + 1 for layer in found.layers], [100 * s for s in shares], "o-", color=colour)
            axes.lines[-1].set_label(names[matrix])
        _over_depth(axes, [layer + 1 for layer in found.layers])
        _share_limits(axes, [100 * share for shares in found.shares.values() for share in shares])
        axes.set_ylabel("entries below 5 % of\nthe largest (%)")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return made


def draw_similarity(found: TokenSimilarity) -> Figure:
    """Cosine similarity of the two class tokens by layer, the learned tokens' at 0."""
    names, means, stds = zip(*found.layers, strict=True)
    place = np.arange(1, len(names) + 1)
    mean, std = np.array(means), np.array(stds)
    with styled():
        made = figure(4.6, 2.6)
        axes = made.subplots()
        axes.fill_between(place, mean - std, np.minimum(mean + std, 1.0), color=COLOURS[0], alpha=0.18, lw=0)
        axes.plot(place, mean, "o-", color=COLOURS[0], label="embeddings, mean ± std over images")
        axes.plot([0], [found.learned], "D", color=COLOURS[1], label="learned tokens")
        ticks = [0, *place]
        labels = ["learned", *(str(number) for number in place[:-1]), names[-1]]
        kept = sorted({0, len(ticks) - 1, *range(1, len(ticks) - 1, max(1, len(ticks) // 10))})
        axes.set_xticks([ticks[k] for k in kept], [labels[k] for k in kept])
        low = min(0.0, float((mean - std).min()), found.learned) - 0.05
        axes.set(xlabel="after layer", ylabel="cosine similarity", ylim=(low, 1.05))
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)
    return made


def draw_energy(energy: NDArray[np.float64]) -> Figure:
    """Cumulative share of the variance by number of principal directions (thesis S2.2)."""
    total = 100 * np.cumsum(energy)
    with styled():
        made = figure(4.2, 2.6)
        axes = made.subplots()
        axes.plot(np.arange(1, len(total) + 1), total, color=COLOURS[0])
        for share in (90, 99):
            count = int(np.searchsorted(total, share)) + 1
            axes.plot([count], [total[count - 1]], "o", color=COLOURS[1])
            axes.annotate(
                f"{share} % in {count}", (count, total[count - 1]), (6, -10), textcoords="offset points", color=INK
            )
        axes.set(xscale="log", xlabel="principal directions", ylabel="variance (%)", ylim=(0, 103))
    return made


def draw_neighbours(places: Values, found: Embeddings, classes: Sequence[str]) -> Figure:
    """A map of the embeddings, coloured by true class."""
    labels = np.unique(found.labels)
    few = len(labels) <= 20
    with styled():
        made = figure(4.9 if few else 4.0, 3.8)
        axes = made.subplots()
        colours = colormaps["tab10" if len(labels) <= 10 else "tab20" if few else "nipy_spectral"]
        for number, label in enumerate(labels):
            rows = found.labels == label
            colour = colours(number if few else number / (len(labels) - 1))
            x, y = places[rows].T
            axes.scatter(x, y, s=7, color=colour, lw=0, alpha=0.85, label=classes[label])
        axes.set(xticks=[], yticks=[], aspect="equal")
        axes.grid(False)
        axes.set_title(f"t-SNE of {len(places)} embeddings, {found.split} split")
        if few:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), markerscale=2.0)
    return made


def _over_depth(axes: Axes, layers: Sequence[int], title: str = "") -> None:
    """The axis of layers, numbered from 1, with few enough ticks."""
    kept = [layers[number] for number in evenly(len(layers), 9)]
    axes.set_xticks(kept)
    axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
    axes.set_title(title)
    axes.set_xlabel("layer")


def _share_limits(axes: Axes, values: Sequence[float]) -> None:
    """An axis from 0, or a logarithmic one if the values differ widely."""
    if values and max(values) > _WIDE * min(values):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0.0, 1.12 * max(values, default=1.0))


def _epoch_bar(made: Figure, places: Any, epochs: Sequence[int], shades: Sequence[tuple[float, ...]]) -> None:
    """Which shade is which epoch."""
    edges = np.arange(len(epochs) + 1) - 0.5
    shown = ScalarMappable(BoundaryNorm(edges, len(epochs)), ListedColormap(shades))
    bar = made.colorbar(shown, ax=list(places.flat), aspect=25, pad=0.02)
    bar.minorticks_off()
    kept = evenly(len(epochs), 6)
    bar.set_ticks(kept, labels=[str(epochs[k]) for k in kept])
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.set_label("epoch")
