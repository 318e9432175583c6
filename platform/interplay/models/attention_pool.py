"""Attention pooling: tokens gather the image in one layer, whose weights show where the model looks (thesis S5.2)."""

# B batch, D width, H heads, T tokens, N = h w patches, K classes
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.models.backbone import Backbone, Names
from interplay.models.compose import NORM_EPS, token_layer, token_layer_names
from interplay.models.parts.attention import TokenAttention
from interplay.models.parts.head import LinearHead, PerClassHead
from interplay.models.parts.maps import MapToTokens
from interplay.models.parts.tokens import FirstTokens, TokenStage
from interplay.recipe.architecture import AttentionPool, Scale


def attention_pool(
    recipe: AttentionPool, *, width: int, classes: int, scale: Scale
) -> tuple[nn.Sequential, FirstTokens, nn.Module]:
    """Neck, pool and head of a backbone that ends in a [B, D, h, w] map.

    One token sees the patches and itself; with a token for each class, tokens see the patches alone.

    Args:
        recipe: the pooling layer.
        width: D, a multiple of its heads.
        classes: K.
        scale: the recipe's residual scaling, of this layer too.
    """
    single = recipe.tokens == "single"
    count = 1 if single else classes
    norm = partial(nn.LayerNorm, width, eps=NORM_EPS)
    attention = TokenAttention(width, recipe.heads)
    layer = token_layer(attention, norm, width=width, scale=scale, mlp_ratio=recipe.mlp_ratio, see_themselves=single)
    neck = nn.Sequential(
        OrderedDict[str, nn.Module](
            to_tokens=MapToTokens(),
            stage=TokenStage(count, width, [layer]),
            norm=norm(),
        )
    )
    return neck, FirstTokens(count), (LinearHead if single else PerClassHead)(width, classes)


# The names in the authors' published code of PatchConvNet. A classifier for each class is `head.0`, `head.1`, ...
AUTHORS_NAMES: Names = [
    (r"^cls_token$", "neck.stage.token"),
    *token_layer_names("neck.stage"),
    (r"^norm\.", "neck.norm."),
    (r"^head\.(\d+)\.(\w+)$", r"head.\2@\1"),
]


@torch.no_grad()
def attention_maps(model: Backbone, images: Tensor) -> Tensor:
    """Where each token of a model's last token layer looks, in evaluation: the model is left as it was.

    Args:
        model: one whose neck has a token layer: attention pooling or class attention.
        images: [B, C, H, W].

    Returns:
        [B, H, T, h, w], not negative. Over the map it sums to 1 where a token sees patches alone, and to less
        where it sees itself as well.

    Raises:
        InterplayError: if the model has no such layer.
    """
    stage = next((module for module in model.neck.modules() if isinstance(module, TokenStage)), None)
    if stage is None:
        raise InterplayError("the model has no attention map: its tokens are not pooled by attention")
    with _evaluating(model):
        last_BDhw: Tensor = model.forward_intermediates(images, indices=1, intermediates_only=True)[0]
        maps_BHTN = stage.attention_maps(last_BDhw.flatten(2).transpose(1, 2))
    return maps_BHTN.view(*maps_BHTN.shape[:-1], *last_BDhw.shape[2:])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation; afterwards each of its modules is in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
