"""The architectures of the thesis: what they count here, next to what is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from interplay.models.counts import Published, node, published, size_of, write_scales
from interplay.recipe import Model
from interplay.report.draw import DASH, Table, to_markdown

SIDE = 224


def architectures_table(progress: Callable[[int], None] = lambda done: None) -> Table:
    """Every architecture and variant with the sizes counted here and those published.

    `progress` is called with the number of models counted since the last call.
    """
    headers = ["model", "family", "side", "M params", "published", "G multiply-adds", "published", "tables"]
    rows = []
    with TemporaryDirectory() as folder:
        for name, known in published().items():
            if name.startswith("resmlp_nmt"):
                continue
            model = _node(name, known, Path(folder))
            for side in sorted({SIDE, *known.macs}):
                rows.append(_row(name, known, model, side))
            progress(1)
    return headers, rows


def architectures_markdown(table: Table) -> str:
    """The page `docs/models.md`."""
    return f"""# Architectures

Every architecture of the thesis and every variant it ablates, as built here, next to the numbers it prints.
`interplay check --models` counts them anew; a model is `model` with `interplay.models.counts.node("NAME")`, or
`timm.create_model("interplay_NAME")` after `interplay.models.register_with_timm()`.

Parameters are those that are trained, for 1,000 classes; a multiply-add counts once, for one image. The thesis
calls them FLOPs and prints one size for all image sides, though position embeddings grow with the side.
Published sizes in parentheses are not printed in the thesis: they were counted with timm 1.0.31 or with the
authors' code.

{to_markdown(table)}
"""


def _row(name: str, known: Published, model: Model, side: int) -> list[str]:
    size = size_of(model, side)
    return [
        name,
        model.family,
        str(side),
        f"{size.parameters / 1e6:.3f}",
        _published(known.params, known.reference_params if side == SIDE else None),
        f"{size.macs / 1e9:.3f}",
        _published(known.macs.get(side), known.reference_macs.get(side)),
        ", ".join(known.tables),
    ]


def _published(printed: float | None, counted: float | None) -> str:
    if printed is not None:
        return f"{printed:g}"
    return DASH if counted is None else f"({counted:g})"


def _node(name: str, known: Published, folder: Path) -> Model:
    """The model; one that copies trained LayerScale values is given a file of untrained ones."""
    changes = known.changes or {}
    if changes.get("residual_init") != "trained_values":
        return node(name)
    path = folder / f"{name}.pt"
    write_scales(known.base, changes["depth"], path)
    return node(name, str(path))


if __name__ == "__main__":
    print(architectures_markdown(architectures_table()), end="")
