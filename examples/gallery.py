"""The pictures of the documentation: trains small models on the digits, looks into them, and writes to docs/.

    make gallery

What is trained is kept in runs/gallery and not trained again.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from interplay.data import locate
from interplay.data.loader import beton_loaders
from interplay.explain import Explained, explain_augmentation, explain_checkpoint
from interplay.recipe import Recipe, ResMLP, find_recipe
from interplay.training import State, fit
from interplay.training.checkpoint import save

CLASS_ATTENTION = {
    "model.pool": "class_attention",
    "model.position": "patches",
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.policy": "none",
    "augment.repeats": 1,
    "optimiser.lr": 3e-3,
    "schedule.epochs": 30,
}
CHANGES: dict[str, dict[str, Any]] = {
    "class-attention": CLASS_ATTENTION,
    "resmlp": {"model": ResMLP(patch_size=3, width=48, depth=6, init_std=0.1)},
}


def main(root: Path, docs: Path) -> None:
    cell = trained("class-attention", root)
    put(explain_checkpoint(cell, root=root, dataset="digits"), ["attention-2", "saliency", "branches"], docs)
    put(explain_checkpoint(cell, root=root, dataset="digits", with_embeddings=True), ["embeddings-tsne"], docs)
    put(explain_checkpoint(trained("resmlp", root), root=root), ["rows", "sparsity"], docs)
    put(augmentation(), ["augmentation-1", "crops-1"], docs)


def trained(name: str, root: Path) -> Path:
    """The folder of a cell that is trained on the digits, with the checkpoints of some epochs."""
    cell = root / name
    last = cell / "checkpoint" / "last.pt"
    if last.is_file():
        return cell
    changes = {"name": f"digits.{name}", "data.resolution": 24, **CHANGES[name]}
    recipe: Recipe = find_recipe("digits.deit_small_patch4").with_(changes)
    every = recipe.evaluation.every

    def keep(metrics: dict[str, float], state: Any) -> None:
        epoch = int(metrics["epoch"])
        if epoch % every == 0 or epoch == 1:
            made: State = state()
            save(made, cell / "checkpoint" / f"epoch-{epoch:04d}.pt")

    outcome = fit(recipe, beton_loaders(locate("digits", root / "datasets"), recipe), report=keep)
    save(outcome.state, last)
    print(f"{name}: test top-1 {outcome.metrics['test/top1']:.2f}", file=sys.stderr)
    return cell


def augmentation() -> Explained:
    """DeiT's augmentation of two photographs in the public domain, which scikit-image carries."""
    names = ("chelsea.png", "coffee.png")
    paths = [Path(str(files("skimage.data").joinpath(name))) for name in names]
    return explain_augmentation(find_recipe("deit.small"), paths, epochs=7)


def put(found: Explained, pictures: list[str], docs: Path) -> None:
    """Those of the pictures that the documentation shows."""
    with TemporaryDirectory() as folder:
        found.write(Path(folder))
        for picture in pictures:
            path = docs / f"explain-{picture}.png"
            path.write_bytes((Path(folder) / f"{picture}.png").read_bytes())
            print(path)


if __name__ == "__main__":
    main(Path("runs/gallery").resolve(), Path(__file__).resolve().parents[1] / "docs")
