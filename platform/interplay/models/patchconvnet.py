"""PatchConvNet: convolutional blocks at one resolution, pooled by attention (thesis S5.2)."""

# B batch, D width, h w sides of the map
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import nn

from interplay.models.attention_pool import AUTHORS_NAMES, attention_pool
from interplay.models.backbone import Backbone, Names
from interplay.models.compose import NORM_EPS, assemble, residual
from interplay.models.parts.drop_path import drop_path_rates
from interplay.models.parts.head import LinearHead
from interplay.models.parts.maps import MapNorm, MapToTokens, SqueezeExcite
from interplay.models.parts.residual import Residual
from interplay.models.parts.scale import MapScale
from interplay.models.parts.tokens import Mean
from interplay.recipe.architecture import AttentionPool, PatchConvNet

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer_norm": partial(MapNorm, eps=NORM_EPS),
    "batch_norm": nn.BatchNorm2d,
    "sync_batch_norm": nn.SyncBatchNorm,
}


def patchconvnet(recipe: PatchConvNet, *, classes: int, image_size: int, channels: int = 3) -> Backbone:
    """The PatchConvNet that `recipe` describes. It takes images of any size; `image_size` is what it reports."""
    width = recipe.width
    neck: nn.Module
    pool: nn.Module
    head: nn.Module
    if isinstance(recipe.pool, AttentionPool):
        neck, pool, head = attention_pool(recipe.pool, width=width, classes=classes, scale=recipe.scale)
    else:
        neck, head = MapToTokens(), LinearHead(width, classes)
        pool = nn.Sequential(Mean(), nn.LayerNorm(width, eps=NORM_EPS))
    rates = drop_path_rates(recipe.drop_path, recipe.depth, recipe.drop_path_rule)
    return assemble(
        recipe,
        stem=_conv_stem(width, channels) if recipe.stem == "conv" else _linear_stem(recipe, channels),
        blocks={str(i): _block(recipe, rate) for i, rate in enumerate(rates)},
        neck=neck,
        pool=pool,
        head=head,
        image_size=image_size,
        classes=classes,
        foreign_names=_foreign_names(recipe),
    )


def _conv_stem(width: int, channels: int) -> nn.Sequential:
    """[B, C, H, W] -> [B, D, H/16, W/16] in four steps that halve the sides."""
    stem, before = nn.Sequential(), channels
    for after in (width // 8, width // 4, width // 2, width):
        if len(stem):
            stem.append(nn.GELU())
        stem.append(nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False))
        before = after
    return stem


def _linear_stem(recipe: PatchConvNet, channels: int) -> nn.Conv2d:
    """[B, C, H, W] -> [B, D, H/16, W/16], one linear map of each patch."""
    return nn.Conv2d(channels, recipe.width, kernel_size=recipe.patch_size, stride=recipe.patch_size)


def _block(recipe: PatchConvNet, drop_path: float) -> Residual:
    width = recipe.width
    mix = nn.Sequential(
        OrderedDict[str, nn.Module](
            first=nn.Conv2d(width, width, kernel_size=1),
            first_act=nn.GELU(),
            spatial=nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width),
            spatial_act=nn.GELU(),
            gate=SqueezeExcite(width, recipe.se_ratio),
            last=nn.Conv2d(width, width, kernel_size=1),
        )
    )
    return residual(
        mix,
        partial(NORMS[recipe.norm], width),
        width=width,
        scale=recipe.scale,
        position=recipe.norm_position,
        drop_path=drop_path,
        layer_scale=MapScale,
    )


def _foreign_names(recipe: PatchConvNet) -> Names:
    """The names in the authors' published code; its squeeze-excite layer is timm's.

    They had no linear stem and no average pooling there: for these the names are timm's.
    """
    block = r"^(blocks\.\d+)\."
    average: Names = [] if isinstance(recipe.pool, AttentionPool) else [(r"^(?:fc_)?norm\.", "pool.1.")]
    return [
        (r"^patch_embed\.proj\.(\d)\.0\.", r"stem.\1."),
        (r"^patch_embed\.proj\.", "stem."),
        (rf"{block}norm1\.", r"\1.norm."),
        (rf"{block}gamma_1$", r"\1.scale.gamma"),
        (rf"{block}attn\.qkv_pos\.0\.", r"\1.mix.first."),
        (rf"{block}attn\.qkv_pos\.2\.", r"\1.mix.spatial."),
        (rf"{block}attn\.qkv_pos\.4\.conv_(reduce|expand)\.", r"\1.mix.gate.\2."),
        (rf"{block}attn\.qkv_pos\.5\.", r"\1.mix.last."),
        *average,
        *AUTHORS_NAMES,
    ]
