"""From recipes to cells: their data sets and the stages they start from."""

from __future__ import annotations

from pathlib import Path

from interplay.data import locate
from interplay.data.labels import check_labels
from interplay.data.other_sets import check_other_sets
from interplay.errors import InterplayError
from interplay.recipe import NoDistillation, Recipe
from interplay.tracking.store import Cell


def earlier_cell(recipe: Recipe, root: Path) -> Cell | None:
    """The cell that a recipe of several stages starts from.

    Raises:
        InterplayError: if that stage's data set cannot work.
    """
    return None if recipe.after is None else cell_of(recipe.after, root)


def locate_checked(recipe: Recipe, root: Path) -> Path:
    """The recipe's data set, its structure checked and large enough for a batch.

    Raises:
        InterplayError: if it is missing, damaged, or lacks what the recipe needs.
    """
    from interplay.data.verify import open_checked

    if not isinstance(recipe.distillation, NoDistillation):
        from interplay.training.teacher import check_teacher

        check_teacher(recipe.distillation)
    path = locate(recipe.data.dataset, root / "datasets")
    manifest, _ = open_checked(path)
    if not manifest.counts["val"]:
        raise InterplayError(
            f"{path.name} has no validation split to select on; write it with interplay data write ... --val 0.1"
        )
    images = round(manifest.counts["train"] * recipe.data.share)
    if images < recipe.data.batch_size:
        of = f" ({recipe.data.share:g} of them)" if recipe.data.share < 1 else ""
        raise InterplayError(
            f"data.batch_size={recipe.data.batch_size} is more than the {images} training "
            f"samples of {path.name}{of}; lower data.batch_size"
        )
    check_other_sets(recipe, manifest)
    check_labels(path, recipe)
    return path


def cell_of(recipe: Recipe, root: Path) -> Cell:
    """The cell of a recipe on its data set, after its earlier stages; see `locate_checked`."""
    return Cell(recipe, locate_checked(recipe, root), earlier_cell(recipe, root))
