"""Blocks composed from what a recipe says: the same residual branches, scaling and norms in every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from interplay.errors import InterplayError
from interplay.models.backbone import Backbone, Blocks, Names
from interplay.models.parts import scale as scales
from interplay.models.parts.affine import Affine
from interplay.models.parts.drop_path import DropPath
from interplay.models.parts.mlp import Mlp
from interplay.models.parts.residual import PostNormResidual, Residual
from interplay.models.parts.start import embeddings_for_t_fixup, fixup, t_fixup, truncated_normal
from interplay.models.parts.tokens import TokenLayer, TokenResidual
from interplay.models.weight_files import read_weights
from interplay.recipe.architecture import (
    FixedScale,
    Fixup,
    NormPosition,
    NoScale,
    PatchConvNet,
    ResMLP,
    ScalarScale,
    Scale,
    TFixup,
    ViT,
)

MakeNorm = Callable[[], nn.Module]
NORM_EPS = 1e-6


def assemble(
    recipe: ViT | ResMLP | PatchConvNet,
    *,
    stem: nn.Module,
    blocks: Blocks,
    neck: nn.Module,
    pool: nn.Module,
    head: nn.Module,
    image_size: int,
    classes: int,
    foreign_names: Names,
) -> Backbone:
    """The model of these parts, with the initial weights that `recipe` describes."""
    model = Backbone(
        stem=stem,
        blocks=blocks,
        neck=neck,
        pool=pool,
        head=head,
        width=recipe.width,
        patch_size=recipe.patch_size,
        image_size=image_size,
        classes=classes,
        init_std=recipe.init_std,
        foreign_names=foreign_names,
    )
    initialise(model, std=recipe.init_std, scale=recipe.scale, depth=recipe.depth)
    return model


def residual(
    mix: nn.Module,
    norm: MakeNorm,
    *,
    width: int,
    scale: Scale,
    position: NormPosition = "pre",
    drop_path: float = 0.0,
    layer_scale: type[scales.LayerScale] = scales.LayerScale,
) -> Residual:
    """A residual branch around `mix`.

    Args:
        mix: what the branch does.
        norm: makes its norm.
        width: of what flows through.
        scale: the recipe's residual scaling.
        position: where the norm stands.
        drop_path: chance of dropping the branch for a sample.
        layer_scale: LayerScale for tokens or for maps.
    """
    first = nn.Identity() if position == "none" else norm()
    kind = PostNormResidual if position == "post" else Residual
    if isinstance(scale, Fixup):
        mix = nn.Sequential(scales.ScalarBias(), mix)
    drop = DropPath(drop_path) if drop_path else nn.Identity()
    normed = not isinstance(first, nn.Identity | Affine)
    return kind(first, mix, make_scale(scale, width, layer_scale, normed=normed), drop)


def token_layer(
    mix: nn.Module,
    norm: MakeNorm,
    *,
    width: int,
    scale: Scale,
    mlp_ratio: float,
    activation: str = "gelu",
    see_themselves: bool,
) -> TokenLayer:
    """Tokens look at the patches through `mix`, then each goes through an MLP. Norms first, nothing dropped."""
    first = norm()
    look_scale = make_scale(scale, width, normed=not isinstance(first, Affine))
    look = TokenResidual(first, mix, look_scale, see_themselves=see_themselves)
    return TokenLayer(look, residual(Mlp(width, mlp_ratio, activation=activation), norm, width=width, scale=scale))


def token_layer_names(stage: str) -> Names:
    """How timm and the authors name the attention layers of the `TokenStage` called `stage`."""
    theirs, ours = r"^blocks_token_only\.(\d+)\.", rf"{stage}.layers.\1."
    return [
        (rf"{theirs}norm1\.", f"{ours}look.norm."),
        (rf"{theirs}norm2\.", f"{ours}mlp.norm."),
        (rf"{theirs}attn\.k\.(\w+)$", rf"{ours}look.mix.kv.\2@0"),
        (rf"{theirs}attn\.v\.(\w+)$", rf"{ours}look.mix.kv.\2@1"),
        (rf"{theirs}attn\.", f"{ours}look.mix."),
        (rf"{theirs}mlp\.", f"{ours}mlp.mix."),
        (rf"{theirs}gamma_1$", f"{ours}look.scale.gamma"),
        (rf"{theirs}gamma_2$", f"{ours}mlp.scale.gamma"),
    ]


def make_scale(
    scale: Scale, width: int, layer_scale: type[scales.LayerScale] = scales.LayerScale, *, normed: bool = True
) -> scales.NoScale:
    """What multiplies a branch of this width. `normed`: what is added passes a norm with statistics later."""
    if isinstance(scale, NoScale):
        return scales.NoScale()
    if isinstance(scale, FixedScale):
        return layer_scale(width, 1.0, learned=False)
    if isinstance(scale, ScalarScale):
        return scales.ScalarScale(scale.init)
    if isinstance(scale, Fixup | TFixup):
        # the same number on all channels is taken out again by a norm: Fixup's bias behind the branch needs none
        return scales.ScalarScale(1.0, bias=isinstance(scale, Fixup) and not normed, start=scale.kind)
    return layer_scale(width, scale.init, uniform=scale.spread == "uniform")


def initialise(model: nn.Module, *, std: float, scale: Scale, depth: int) -> None:
    """Initial weights of a model whose blocks are `model.blocks`; some residual scalings have their own."""
    truncated_normal(model, std)
    blocks = model.get_submodule("blocks")
    if isinstance(scale, Fixup):
        fixup(blocks)
    elif isinstance(scale, TFixup):
        t_fixup(blocks, depth)
        embeddings_for_t_fixup(model)
    elif isinstance(scale, FixedScale) and next(model.parameters()).device.type != "meta":
        _copy_scales(model, Path(scale.checkpoint))


def _copy_scales(model: nn.Module, path: Path) -> None:
    """Every `gamma` of a trained model with the same blocks."""
    trained, _ = read_weights(path)
    for name, parameter in model.named_parameters():
        if not name.endswith(".gamma"):
            continue
        values = trained.get(name)
        if values is None or values.shape != parameter.shape:
            raise InterplayError(
                f"{path} has no LayerScale that fits {name} of width {parameter.numel()}; "
                "it must be a checkpoint of the same blocks, trained with model.scale=layer_scale"
            )
        with torch.no_grad():
            parameter.copy_(values)
