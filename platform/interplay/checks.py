"""`interplay check`: what a study needs, and what cannot work, said before anything is trained."""

from __future__ import annotations

from pathlib import Path

from interplay.data import read_manifest
from interplay.errors import InterplayError
from interplay.models import parameter_count
from interplay.recipe import Recipe
from interplay.study.ablation import BASELINE, Ablation
from interplay.study.cells import cell_of
from interplay.study.preflight import dead_dimensions, effects, meta_model
from interplay.study.proposals import Space
from interplay.tracking.store import CellStore


def check_recipe(recipe: Recipe, root: Path) -> list[str]:
    """Lines that say what training `recipe` means on its data set.

    Raises:
        InterplayError: if it cannot be trained.
    """
    cell = cell_of(recipe, root)
    path, manifest = cell.dataset, read_manifest(cell.dataset)
    steps = manifest.counts["train"] // recipe.data.batch_size
    parameters = parameter_count(meta_model(recipe, len(manifest.classes[0])))
    result = CellStore(root).result(cell.fingerprint)
    return [
        f"recipe      {recipe.name}",
        f"cell        {cell.fingerprint} ({result.status if result else 'not trained yet'})",
        f"model       {parameters / 1e6:.3f} M parameters, {recipe.model.family}",
        f"data        {path.name}: {', '.join(f'{n} {s}' for s, n in manifest.counts.items())}",
        f"training    {recipe.schedule.epochs} epochs of {steps} steps of {recipe.data.batch_size} images",
    ]


def check_space(recipe: Recipe, space: Space, name: str) -> str:
    """A line that says the space is sound.

    Raises:
        InterplayError: if a dimension changes neither the model, nor the batches, nor the optimiser.
    """
    dimensions, dead = dead_dimensions(space, recipe)
    if dead:
        raise InterplayError(
            f"{name}: {dead[0]!r} changes neither the model, nor the batches, nor the optimiser of {recipe.name}; "
            "remove the dimension or switch on what it belongs to"
        )
    return f"space       {name}: {len(dimensions)} dimensions, each changes the training: {', '.join(dimensions)}"


def check_ablation(recipe: Recipe, ablation: Ablation) -> str:
    """A line that says the ablation is sound.

    Raises:
        InterplayError: if a row trains exactly as the baseline does.
    """
    baseline, *rows = ablation.resolve(recipe)
    same = [row.label for row, changed in rows if effects(changed) == effects(baseline[1])]
    if same:
        raise InterplayError(
            f"row {same[0]!r} trains exactly as the {BASELINE} does; remove it or change the baseline"
        )
    return f"ablation    {len(rows)} rows, each differs from the {BASELINE}"
