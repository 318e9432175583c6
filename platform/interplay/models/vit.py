"""Vision transformers: DeiT (thesis S3.1), CaiT (S3.5, S3.6), DeiT III (S6.2), and what lies between."""

from __future__ import annotations

from functools import partial

from torch import nn

from interplay.models.backbone import Backbone, Blocks, Names
from interplay.models.compose import NORM_EPS, assemble, residual, token_layer, token_layer_names
from interplay.models.parts.attention import Attention, TalkingHeads, TokenAttention
from interplay.models.parts.drop_path import drop_path_rates
from interplay.models.parts.head import LinearHead, TwoHeads
from interplay.models.parts.mlp import Mlp
from interplay.models.parts.patch_embed import PatchEmbed
from interplay.models.parts.residual import Parallel, Residual
from interplay.models.parts.tokens import (
    FirstTokens,
    JoinTokens,
    Mean,
    PositionEmbedding,
    TokenLayer,
    TokenStage,
)
from interplay.recipe.architecture import AveragePool, ClassAttention, ClassToken, NoScale, ViT


def vit(recipe: ViT, *, classes: int, image_size: int, channels: int = 3) -> Backbone:
    """The vision transformer that `recipe` describes, for images of side `image_size`."""
    width, tokens = recipe.width, 1 if recipe.second_token == "none" else 2
    norm = partial(nn.LayerNorm, width, eps=NORM_EPS)
    grid = (image_size // recipe.patch_size,) * 2
    stem = nn.Sequential()
    stem.add_module("patch", PatchEmbed(width, recipe.patch_size, channels))
    stem.add_module("position", PositionEmbedding(grid, width))
    stem.add_module("drop", nn.Dropout(recipe.dropout))
    # the neck's norm comes before a token is read, the pool's after patches are averaged, as in timm
    neck, pool = _neck_and_pool(recipe, norm, tokens)
    head = (
        LinearHead(width, classes)
        if tokens == 1
        else TwoHeads(width, classes, recipe.fusion, trained_on=recipe.second_token)
    )
    return assemble(
        recipe,
        stem=stem,
        blocks=_blocks(recipe, norm, tokens),
        neck=neck,
        pool=pool,
        head=head,
        image_size=image_size,
        classes=classes,
        foreign_names=_foreign_names(recipe),
    )


def _blocks(recipe: ViT, norm: partial[nn.LayerNorm], tokens: int) -> Blocks:
    blocks: Blocks = {}
    rates = drop_path_rates(recipe.drop_path, recipe.depth, recipe.drop_path_rule)
    for i, rate in enumerate(rates):
        if isinstance(recipe.pool, ClassToken) and recipe.pool.at == i:
            with_position = recipe.position == "all_tokens"
            blocks["tokens"] = JoinTokens(tokens, recipe.width, with_position=with_position)
        blocks[str(i)] = _block(recipe, norm, rate)
    return blocks


def _block(recipe: ViT, norm: partial[nn.LayerNorm], drop_path: float) -> nn.Module:
    attention = TalkingHeads if recipe.talking_heads else Attention

    def branch(mix: nn.Module) -> Residual:
        return residual(
            mix,
            norm,
            width=recipe.width,
            scale=recipe.scale,
            position=recipe.norm_position,
            drop_path=drop_path,
        )

    count, block = recipe.parallel, nn.Sequential()
    attn = [branch(attention(recipe.width, recipe.heads, recipe.qkv_bias, recipe.dropout)) for _ in range(count)]
    mlp = [branch(Mlp(recipe.width, recipe.mlp_ratio, recipe.dropout)) for _ in range(count)]
    block.add_module("attn", attn[0] if count == 1 else Parallel(attn))
    block.add_module("mlp", mlp[0] if count == 1 else Parallel(mlp))
    return block


def _neck_and_pool(recipe: ViT, norm: partial[nn.LayerNorm], tokens: int) -> tuple[nn.Module, nn.Module]:
    last = norm if recipe.norm_position != "none" else nn.Identity
    if isinstance(recipe.pool, AveragePool):
        return nn.Identity(), nn.Sequential(Mean(), last())
    if isinstance(recipe.pool, ClassToken):
        return last(), FirstTokens(tokens)
    layers = [_token_layer(recipe, recipe.pool, norm) for _ in range(recipe.pool.depth)]
    return nn.Sequential(TokenStage(tokens, recipe.width, layers), last()), FirstTokens(tokens)


def _token_layer(recipe: ViT, pool: ClassAttention, norm: partial[nn.LayerNorm]) -> TokenLayer:
    return token_layer(
        TokenAttention(recipe.width, recipe.heads, recipe.qkv_bias),
        norm,
        width=recipe.width,
        scale=recipe.scale if pool.scaled else NoScale(),
        mlp_ratio=recipe.mlp_ratio,
        see_themselves=pool.token_in_keys,
    )


def _foreign_names(recipe: ViT) -> Names:
    """timm's names of the parameters, and those of the authors' checkpoints."""
    average, attends = isinstance(recipe.pool, AveragePool), isinstance(recipe.pool, ClassAttention)
    tokens, norm = ("neck.0.token", "neck.1.") if attends else ("blocks.tokens.token", "neck.")
    block = r"^(blocks\.\d+)\."
    return [
        (r"^patch_embed\.proj\.", "stem.patch.proj."),
        (r"^pos_embed$", "stem.position.pos_embed"),
        (r"^cls_token$", f"{tokens}@0"),
        (r"^dist_token$", f"{tokens}@1"),
        *token_layer_names("neck.0"),
        # parallel blocks: timm's names, then the authors'
        (rf"{block}attns\.(\d+)\.norm\.", r"\1.attn.branches.\2.norm."),
        (rf"{block}attns\.(\d+)\.ls\.", r"\1.attn.branches.\2.scale."),
        (rf"{block}attns\.(\d+)\.attn\.", r"\1.attn.branches.\2.mix."),
        (rf"{block}ffns\.(\d+)\.norm\.", r"\1.mlp.branches.\2.norm."),
        (rf"{block}ffns\.(\d+)\.ls\.", r"\1.mlp.branches.\2.scale."),
        (rf"{block}ffns\.(\d+)\.mlp\.", r"\1.mlp.branches.\2.mix."),
        (rf"{block}norm([12])1\.", r"\1.norm\2#1."),
        (rf"{block}(attn|mlp)1\.", r"\1.\2#1."),
        (rf"{block}gamma_([12])_1$", r"\1.gamma_\2#1"),
        # blocks
        (rf"{block}norm1(#1)?\.", r"\1.attn\2.norm."),
        (rf"{block}norm2(#1)?\.", r"\1.mlp\2.norm."),
        (rf"{block}(?:ls1\.gamma|gamma_1(#1)?)$", r"\1.attn\2.scale.gamma"),
        (rf"{block}(?:ls2\.gamma|gamma_2(#1)?)$", r"\1.mlp\2.scale.gamma"),
        (rf"{block}(attn|mlp)(#1)?\.(qkv|proj|fc)", r"\1.\2\3.mix.\4"),
        (rf"{block}attn\.mix\.proj_l\.", r"\1.attn.mix.before."),
        (rf"{block}attn\.mix\.proj_w\.", r"\1.attn.mix.after."),
        *(_parallel_halves(block) if recipe.parallel > 1 else ()),
        # the end
        (r"^(?:fc_)?norm\.", "pool.1." if average else norm),
        *(((r"^head\.", "head.first."), (r"^head_dist\.", "head.second.")) if recipe.second_token != "none" else ()),
    ]


def _parallel_halves(block: str) -> Names:
    """The first of parallel branches has a sequential block's name, the second is marked `#1`."""
    return [
        (rf"{block}(attn|mlp)#1\.", r"\1.\2.branches.1."),
        (rf"{block}(attn|mlp)\.(?!branches)", r"\1.\2.branches.0."),
    ]
