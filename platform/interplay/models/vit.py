"""The vision transformer of DeiT and DeiT III (thesis S3.1, S6.2).

Parameters have timm's names and shapes, so a timm `deit_*` or `deit3_*` state dict loads as it is.
"""

# B batch, C channels, H W image sides, N tokens, D width
from __future__ import annotations

import torch
from torch import Tensor, nn

from interplay.models.parts import Attention, Block, DropPath, LayerScale, Mlp, PatchEmbed, drop_path_rates
from interplay.recipe.tree import LayerScale as LayerScaleRecipe
from interplay.recipe.tree import Scale, ViT

NORM_EPS = 1e-6


class VisionTransformer(nn.Module):
    """[B, C, H, W] images of side `image_size` -> [B, classes] logits."""

    def __init__(self, recipe: ViT, classes: int, image_size: int, channels: int = 3) -> None:
        super().__init__()
        width, patches = recipe.width, (image_size // recipe.patch_size) ** 2
        has_token = recipe.pool == "class_token"
        self.tokens_have_position = recipe.position == "all_tokens"
        self.patch_embed = PatchEmbed(width, recipe.patch_size, channels)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width)) if has_token else None
        positions = patches + int(has_token and self.tokens_have_position)
        self.pos_embed = nn.Parameter(torch.zeros(1, positions, width))
        self.pos_drop = nn.Dropout(recipe.dropout)
        rates = drop_path_rates(recipe.drop_path, recipe.depth, recipe.drop_path_rule)
        self.blocks = nn.Sequential(*(_block(recipe, rate) for rate in rates))
        # timm normalises tokens before the class token is read, and after patches are averaged
        self.norm = nn.LayerNorm(width, eps=NORM_EPS) if has_token else nn.Identity()
        self.fc_norm = nn.Identity() if has_token else nn.LayerNorm(width, eps=NORM_EPS)
        self.head = nn.Linear(width, classes)
        self.init_std = recipe.init_std
        self._initialise(recipe.init_std)

    def _initialise(self, std: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=std)
        if self.cls_token is not None:
            nn.init.trunc_normal_(self.cls_token, std=std)

    def extra_repr(self) -> str:
        return f"init_std={self.init_std:g}, tokens_have_position={self.tokens_have_position}"

    def no_weight_decay(self) -> set[str]:
        """Parameters that weight decay skips besides the 1-D ones."""
        return {"pos_embed", "cls_token"}

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, N, D] tokens after the last block and norm."""
        x_BND = self.patch_embed(x_BCHW)
        if self.cls_token is None:
            x_BND = x_BND + self.pos_embed
        else:
            token = self.cls_token.expand(x_BND.shape[0], -1, -1)
            if self.tokens_have_position:
                x_BND = torch.cat([token, x_BND], dim=1) + self.pos_embed
            else:
                x_BND = torch.cat([token, x_BND + self.pos_embed], dim=1)
        out: Tensor = self.norm(self.blocks(self.pos_drop(x_BND)))
        return out

    def forward_head(self, x_BND: Tensor) -> Tensor:
        """[B, N, D] tokens -> [B, classes] logits."""
        pooled = x_BND.mean(dim=1) if self.cls_token is None else x_BND[:, 0]
        out: Tensor = self.head(self.fc_norm(pooled))
        return out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x_BCHW))


def _block(recipe: ViT, drop_path: float) -> Block:
    width = recipe.width
    return Block(
        norm1=nn.LayerNorm(width, eps=NORM_EPS),
        attn=Attention(width, recipe.heads, recipe.qkv_bias, recipe.dropout),
        ls1=_scale(recipe.scale, width),
        norm2=nn.LayerNorm(width, eps=NORM_EPS),
        mlp=Mlp(width, recipe.mlp_ratio, recipe.dropout),
        ls2=_scale(recipe.scale, width),
        drop_path=DropPath(drop_path) if drop_path else nn.Identity(),
    )


def _scale(scale: Scale, width: int) -> nn.Module:
    return LayerScale(width, scale.init) if isinstance(scale, LayerScaleRecipe) else nn.Identity()
