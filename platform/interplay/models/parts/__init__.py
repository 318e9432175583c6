"""Parts that models are composed of, one per file."""

from interplay.models.parts.attention import Attention
from interplay.models.parts.block import Block
from interplay.models.parts.drop_path import DropPath, drop_path_rates
from interplay.models.parts.layer_scale import LayerScale
from interplay.models.parts.mlp import Mlp
from interplay.models.parts.patch_embed import PatchEmbed

__all__ = ["Attention", "Block", "DropPath", "LayerScale", "Mlp", "PatchEmbed", "drop_path_rates"]
