"""Architecture and training at once: the best of one depends on the other, which is what this project is about."""

from __future__ import annotations

from typing import Any

from optuna import Trial

from interplay.recipe import Recipe
from interplay.study.search.spaces import combine, published, published_points
from search_spaces import augmentation, heads, layerscale, optimiser, regularisation

_VIT = combine(
    regularisation.drop_path,
    regularisation.weight_decay,
    layerscale.default,
    heads.fixed_width,
    augmentation.policy,
    augmentation.mixing,
    optimiser.rate,
)
_OTHERS = combine(
    regularisation.drop_path,
    regularisation.weight_decay,
    layerscale.default,
    augmentation.policy,
    augmentation.mixing,
    optimiser.rate,
)


@published(published_points(_VIT))
def default(trial: Trial, recipe: Recipe) -> dict[str, Any]:
    """Drop path, weight decay, LayerScale, heads where there are some, policy, mixing, learning rate.

    For families with residual scaling: ViT, ResMLP and PatchConvNet.
    """
    return dict((_VIT if hasattr(recipe.model, "heads") else _OTHERS)(trial, recipe))
