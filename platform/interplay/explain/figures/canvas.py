"""How all figures look, and turning one into a PNG file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Values = NDArray[np.float64]

DPI = 150
INK, FAINT = "#1b1b1f", "#74747c"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of Okabe and Ito: told apart by colour-blind readers too."""

_STYLE: Any = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6ea",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 3.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def styled() -> Iterator[None]:
    """The look, and no complaints about letters that the font does not have."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, whose parts make room for each other."""
    made = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    made.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)  # type: ignore[union-attr, call-arg]
    return made


def to_png(made: Figure) -> bytes:
    """The figure as a PNG file."""
    file = io.BytesIO()
    with styled():
        made.savefig(file, format="png", metadata={"Software": "interplay"})
    return file.getvalue()


def as_image(pixels: Tensor) -> Values:
    """[3, R, R] levels 0..255, or shares of 1 if they are fractions, -> [R, R, 3] shares."""
    values = pixels.permute(1, 2, 0).cpu()
    return np.asarray(values.double() / (1.0 if values.is_floating_point() else 255.0))


def bare(axes: Axes) -> None:
    """No ticks, frame or grid: for images and maps."""
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_image(axes: Axes, pixels: Tensor, title: str = "") -> None:
    """[3, R, R] pixels."""
    axes.imshow(as_image(pixels), interpolation="nearest")
    axes.set_title(title, pad=3)
    bare(axes)


def show_map(axes: Axes, values: Values, scale: Normalize, title: str = "", colours: str = "viridis") -> Any:
    """[h, w] values; what is returned can be given a colour bar."""
    shown = axes.imshow(values, cmap=colours, norm=scale, interpolation="nearest")
    axes.set_title(title, pad=3)
    bare(axes)
    return shown


def colour_bar(made: Figure, shown: Any, axes: Sequence[Axes], label: str) -> None:
    """One bar at the right of `axes`."""
    bar = made.colorbar(shown, ax=list(axes), shrink=0.9, aspect=18, pad=0.015)
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)
    bar.formatter.set_powerlimits((-3, 4))  # type: ignore[attr-defined]
    bar.locator = MaxNLocator(4)
    bar.update_ticks()


def enlarged(map_hw: Tensor, side: int) -> Values:
    """A [h, w] map at the image's size, bilinear: [side, side]."""
    big = F.interpolate(map_hw[None, None].float(), size=(side, side), mode="bilinear", align_corners=False)
    return np.asarray(big[0, 0].double().cpu())


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, the first and last among them."""
    return sorted({round(float(number)) for number in np.linspace(0, count - 1, min(count, most))})
