"""ResMLP: patches talk through a linear map and channels through an MLP (thesis chapter 4)."""

from __future__ import annotations

from functools import partial

from torch import nn

from interplay.models.backbone import Backbone, Blocks, Names
from interplay.models.compose import NORM_EPS, MakeNorm, assemble, residual, token_layer
from interplay.models.parts.affine import Affine
from interplay.models.parts.communication import (
    Grid,
    LinearOverPatches,
    MlpOverPatches,
    PatchesToToken,
    conv3x3,
    depthwise3x3,
    separable3x3,
)
from interplay.models.parts.drop_path import drop_path_rates
from interplay.models.parts.head import LinearHead
from interplay.models.parts.mlp import Mlp
from interplay.models.parts.patch_embed import PatchEmbed
from interplay.models.parts.tokens import (
    FirstTokens,
    Mean,
    PositionEmbedding,
    TokenLayer,
    TokenStage,
)
from interplay.recipe.architecture import AveragePool, ResMLP


def resmlp(recipe: ResMLP, *, classes: int, image_size: int, channels: int = 3) -> Backbone:
    """The ResMLP that `recipe` describes, for images of side `image_size`."""
    width, grid = recipe.width, (image_size // recipe.patch_size,) * 2
    norm = _norm(recipe)
    stem = nn.Sequential()
    stem.add_module("patch", PatchEmbed(width, recipe.patch_size, channels))
    if recipe.position == "patches":
        stem.add_module("position", PositionEmbedding(grid, width))
    neck, pool = _neck_and_pool(recipe, norm, grid)
    return assemble(
        recipe,
        stem=stem,
        blocks=_blocks(recipe, norm, grid),
        neck=neck,
        pool=pool,
        head=LinearHead(width, classes),
        image_size=image_size,
        classes=classes,
        foreign_names=_foreign_names(recipe),
    )


def _norm(recipe: ResMLP) -> MakeNorm:
    if recipe.norm == "affine":
        return partial(Affine, recipe.width)
    return partial(nn.LayerNorm, recipe.width, eps=NORM_EPS)


def _blocks(recipe: ResMLP, norm: MakeNorm, grid: Grid) -> Blocks:
    rates = drop_path_rates(recipe.drop_path, recipe.depth, recipe.drop_path_rule)
    return {str(i): _block(recipe, norm, grid, rate) for i, rate in enumerate(rates)}


def _block(recipe: ResMLP, norm: MakeNorm, grid: Grid, drop_path: float) -> nn.Module:
    mixes = {"patches": _communication(recipe, grid), "channels": _mlp(recipe)}
    block = nn.Sequential()
    for name, mix in mixes.items():
        if mix is not None:
            branch = residual(
                mix,
                norm,
                width=recipe.width,
                scale=recipe.scale,
                position=recipe.norm_position,
                drop_path=drop_path,
            )
            block.add_module(name, branch)
    return block


def _communication(recipe: ResMLP, grid: Grid) -> nn.Module | None:
    """How patches talk, None if they do not."""
    match recipe.communication:
        case "none":
            return None
        case "linear":
            return LinearOverPatches(grid)
        case "mlp":
            return MlpOverPatches(grid, recipe.activation)
        case "conv3x3":
            return conv3x3(recipe.width, grid)
        case "depthwise3x3":
            return depthwise3x3(recipe.width, grid)
        case "separable3x3":
            return separable3x3(recipe.width, grid)


def _mlp(recipe: ResMLP) -> Mlp:
    return Mlp(recipe.width, recipe.mlp_ratio, activation=recipe.activation)


def _neck_and_pool(recipe: ResMLP, norm: MakeNorm, grid: Grid) -> tuple[nn.Module, nn.Module]:
    last = norm if recipe.norm_position != "none" else nn.Identity
    if isinstance(recipe.pool, AveragePool):
        return last(), Mean()
    layers = [_token_layer(recipe, norm, grid) for _ in range(recipe.pool.depth)]
    return nn.Sequential(TokenStage(1, recipe.width, layers), last()), FirstTokens(1)


def _token_layer(recipe: ResMLP, norm: MakeNorm, grid: Grid) -> TokenLayer:
    """A layer of class-MLP: a linear map from the patches to the token, then an MLP on the token."""
    return token_layer(
        PatchesToToken(grid),
        norm,
        width=recipe.width,
        scale=recipe.scale,
        mlp_ratio=recipe.mlp_ratio,
        activation=recipe.activation,
        see_themselves=False,
    )


def _foreign_names(recipe: ResMLP) -> Names:
    """timm's names of the parameters (also those of its MLP-Mixer), and those of the authors' checkpoints."""
    block = r"^(blocks\.\d+)\."
    return [
        (r"^(?:stem|patch_embed)\.proj\.", "stem.patch.proj."),
        (rf"{block}norm1\.", r"\1.patches.norm."),
        (rf"{block}norm2\.", r"\1.channels.norm."),
        (rf"{block}(?:linear_tokens|mlp_tokens|attn)\.", r"\1.patches.mix."),
        (rf"{block}(?:mlp_channels|mlp)\.", r"\1.channels.mix."),
        (rf"{block}(?:ls1|gamma_1)$", r"\1.patches.scale.gamma"),
        (rf"{block}(?:ls2|gamma_2)$", r"\1.channels.scale.gamma"),
        (r"^norm\.", "neck." if isinstance(recipe.pool, AveragePool) else "neck.1."),
    ]
