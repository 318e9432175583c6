"""What Grafit adds to a recipe (thesis S2.3): weights, temperature, projector, views and the slow copy.

For recipes with an embedding, such as `grafit.grafit_cifar100`; the objective is `val/knn_top1` or `val/map`.
"""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.errors import InterplayError
from interplay.recipe import ByNeighbours, LearntEmbedding, Likeness, MlpProjector, NoInstance, NoProjector, Recipe
from interplay.study.search.spaces import published

_PUBLISHED: dict[str, dict[str, Any]] = {
    "Grafit (T2.11, S2.4.3)": {"embedding.instance.weight": 1.0, "embedding.labels.sigma": 0.05},
    "SNCA+ (T2.11)": {"embedding.instance.weight": 0.0, "embedding.labels.sigma": 0.05},
}


@published(_PUBLISHED)
def default(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Everything below that the recipe's embedding has."""
    embedding = _embedding(recipe)
    found: dict[str, Any] = {}
    if not isinstance(embedding.instance, NoInstance):
        found |= weight(trial, recipe) | views(trial, recipe)
    if isinstance(embedding.instance, Likeness):
        found |= target_decay(trial, recipe)
    if isinstance(embedding.labels, ByNeighbours):
        found |= sigma(trial, recipe)
    if not isinstance(embedding.projector, NoProjector):
        found |= width(trial, recipe)
    return found


@published(_PUBLISHED)
def weight(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Lambda, the weight of the instance loss: T2.11's range."""
    if isinstance(_embedding(recipe).instance, NoInstance):
        raise InterplayError(f"{recipe.name} has no instance loss to weigh; set embedding.instance=likeness")
    return {"embedding.instance.weight": trial.suggest_float("embedding.instance.weight", 0.0, 1.4, step=0.2)}


@published(_PUBLISHED)
def sigma(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The temperature of the kNN loss about the thesis's 0.05."""
    if not isinstance(_embedding(recipe).labels, ByNeighbours):
        raise InterplayError(f"{recipe.name} has no kNN loss; set embedding.labels=neighbours")
    return {"embedding.labels.sigma": trial.suggest_float("embedding.labels.sigma", 0.02, 0.5, log=True)}


def width(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """The width of the embedding, a quarter to four times the recipe's; of an MLP also what lies between."""
    projector = _embedding(recipe).projector
    if isinstance(projector, NoProjector):
        raise InterplayError(f"{recipe.name} has no projector; set embedding.projector=mlp")
    scales = [0.25, 0.5, 1.0, 2.0, 4.0]
    found: dict[str, Any] = {
        "embedding.projector.width": trial.suggest_categorical(
            "embedding.projector.width", sorted({max(1, round(scale * projector.width)) for scale in scales})
        )
    }
    if isinstance(projector, MlpProjector):
        found["embedding.projector.hidden"] = trial.suggest_categorical(
            "embedding.projector.hidden", sorted({max(1, round(scale * projector.hidden)) for scale in scales})
        )
    return found


def views(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """T, the views of an image: the thesis has 4 for ImageNet and 8 for CIFAR-100."""
    if isinstance(_embedding(recipe).instance, NoInstance):
        raise InterplayError(f"{recipe.name} compares no views; set embedding.instance=likeness")
    return {"augment.views": trial.suggest_categorical("augment.views", [2, 3, 4, 6, 8])}


def target_decay(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Tau, what the slow copy keeps of itself in a step; the thesis states none."""
    if not isinstance(_embedding(recipe).instance, Likeness):
        raise InterplayError(f"{recipe.name} has no slow copy; set embedding.instance=likeness")
    kept = trial.suggest_categorical("embedding.instance.target_decay", [0.0, 0.9, 0.97, 0.99, 0.996, 0.999])
    return {"embedding.instance.target_decay": kept}


def _embedding(recipe: Recipe) -> LearntEmbedding:
    if not isinstance(recipe.embedding, LearntEmbedding):
        raise InterplayError(
            f"{recipe.name} learns no embedding; search around grafit.grafit, or set embedding=learnt"
        )
    return recipe.embedding
