"""The one shape all our models have: stem, blocks, neck, pool, head. Families differ in the parts they put in."""

# B batch, C channels, H W sides, N tokens or patches, T tokens before them, D width, K classes
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.utils.checkpoint
from torch import Tensor, nn

from interplay.models.parts.head import MakeHead, NoHead
from interplay.models.parts.start import embeddings, truncated_normal

Blocks = dict[str, nn.Module]
"""Name -> block, in order. A name that is a number is a block; others join tokens."""

Names = Sequence[tuple[str, str]]
"""Regular expressions for parameter names and what a match becomes."""

PREPARATION: Mapping[str, Any] = {
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
"""How ImageNet's images are prepared, in timm's terms."""


class Backbone(nn.Module):
    """[B, C, H, W] images -> [B, K] logits: `head(pool(neck(blocks(stem(images)))))`.

    Args:
        stem: images to patches, [B, N, D] tokens or a [B, D, h, w] map.
        blocks: what is applied in turn.
        neck: norms and token stages after the blocks.
        pool: to the tokens that are classified, [B, T, D].
        head: to logits.
        width: D.
        patch_size: side of a patch in pixels.
        image_size: side of the images in pixels.
        classes: K.
        init_std: of the initial weights, kept for `repr` and for new heads.
        foreign_names: how others name the parameters: patterns and what they become here, all applied in turn.
    """

    def __init__(
        self,
        *,
        stem: nn.Module,
        blocks: Blocks,
        neck: nn.Module,
        pool: nn.Module,
        head: nn.Module,
        width: int,
        patch_size: int,
        image_size: int,
        classes: int,
        init_std: float,
        foreign_names: Names = (),
    ) -> None:
        super().__init__()
        self.stem, self.neck, self.pool, self.head = stem, neck, pool, head
        self.blocks = nn.ModuleDict(blocks)
        self.num_features = self.embed_dim = width
        self.num_classes, self.patch_size, self.image_size = classes, patch_size, image_size
        self.init_std, self.foreign_names = init_std, foreign_names
        self.grad_checkpointing = False
        self.preparation = dict(PREPARATION)
        maker = getattr(head, "maker", None)  # a head with a token for each class has none
        self._make_head: MakeHead | None = maker() if maker is not None else None

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x_BCHW))

    def forward_features(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, T + N, D] tokens or [B, D, h, w] map after the neck."""
        x = self.stem(x_BCHW)
        for block in self.blocks.values():
            x = self._apply_block(block, x)
        out: Tensor = self.neck(x)
        return out

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """What `forward_features` gives -> [B, K] logits, or [B, D] before the classifier."""
        pooled_BTD: Tensor = self.pool(x)
        if pre_logits:
            return pooled_BTD.mean(dim=1)
        out: Tensor = self.head(pooled_BTD)
        return out

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        *,
        output_fmt: Literal["NCHW", "NLC"] = "NCHW",
        intermediates_only: bool = False,
        stop_early: bool = False,
        norm: bool = False,
        return_prefix_tokens: bool = False,
    ) -> Any:
        """Patches after some blocks, with timm's signature.

        Args:
            x: [B, C, H, W] images.
            indices: which blocks, counted from 0 or from the end; a number is the last so many; None is all.
            output_fmt: maps [B, D, h, w], or tokens [B, N, D].
            intermediates_only: give the list alone.
            stop_early: leave out the blocks after the last one asked for.
            norm: not offered; what the blocks give is given.
            return_prefix_tokens: not offered.

        Returns:
            The list, or what `forward_features` gives and the list.
        """
        if norm or return_prefix_tokens:
            raise ValueError("norm and return_prefix_tokens are not offered")
        side = (x.shape[-2] // self.patch_size, x.shape[-1] // self.patch_size)
        take = self._indices(indices)
        found: list[Tensor] = []
        x = self.stem(x)
        for name, block in self.blocks.items():
            x = self._apply_block(block, x)
            if name.isdigit() and int(name) in take:
                found.append(_as(output_fmt, x, side))
                if stop_early and intermediates_only and int(name) == max(take):
                    break
        return found if intermediates_only else (self.neck(x), found)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return sum(name.isdigit() for name in self.blocks)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """timm's description of the intermediate maps."""
        return [
            {"module": f"blocks.{i}", "num_chs": self.num_features, "reduction": self.patch_size}
            for i in range(self.depth)
        ]

    def no_weight_decay(self) -> set[str]:
        """Parameters that weight decay skips besides the 1-D ones."""
        return set(embeddings(self))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades time for memory: in training, blocks are computed again in the backward pass."""
        self.grad_checkpointing = enable

    def set_image_size(self, image_size: int) -> None:
        """Takes images of another side: what belongs to places is interpolated.

        Raises:
            ValueError: if the side is not a multiple of the patch size.
        """
        if image_size % self.patch_size:
            raise ValueError(f"image size {image_size} is not a multiple of the patch size {self.patch_size}")
        grid = (image_size // self.patch_size,) * 2
        for module in self.modules():
            if callable(change := getattr(module, "set_grid", None)):
                change(grid)
        self.image_size = image_size

    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Exchanges the head for a new one; 0 classes leave what comes before it, [B, D].

        Raises:
            ValueError: if each class has a token of its own: these cannot be exchanged with the head.
        """
        if self._make_head is None:
            raise ValueError("each class has a token of its own; build the model for the new number of classes")
        like = next(self.parameters())
        self.head = self._make_head(num_classes) if num_classes else NoHead()
        truncated_normal(self.head, self.init_std)
        self.head.to(device=like.device, dtype=like.dtype).train(self.training)
        self.num_classes = num_classes

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] | None = None, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Takes away what `forward_intermediates` does not need for these blocks, with timm's signature.

        Args:
            indices: as `forward_intermediates` has them.
            prune_norm: take away all that follows the blocks but the head.
            prune_head: take away the head.

        Returns:
            The blocks' indices, counted from 0.
        """
        take = sorted(self._indices(indices))
        for name in reversed(list(self.blocks)):
            if name == str(take[-1]):
                break
            del self.blocks[name]
        if prune_norm:
            self.neck, self.pool = nn.Identity(), nn.Identity()
        if prune_head:
            self.head, self.num_classes = NoHead(), 0
        return take

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """timm's description of a model: which images it takes, prepared as `preparation` has it."""
        return {
            "input_size": (3, self.image_size, self.image_size),
            "fixed_input_size": True,
            "num_classes": self.num_classes,
            "pool_size": None,
            "first_conv": None,
            "classifier": "head",
            **self.preparation,
        }

    @property
    def default_cfg(self) -> dict[str, Any]:
        """timm's older name of `pretrained_cfg`."""
        return self.pretrained_cfg

    def extra_repr(self) -> str:
        return f"init_std={self.init_std:g}"

    def _apply_block(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            again: Tensor = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)
            return again
        out: Tensor = block(x)
        return out

    def _indices(self, indices: int | Sequence[int] | None) -> set[int]:
        depth = self.depth
        if indices is None:
            return set(range(depth))
        asked = range(-indices, 0) if isinstance(indices, int) else indices
        if not asked or not all(-depth <= i < depth for i in asked):
            raise ValueError(f"blocks {list(asked)} are not all among the model's {depth}")
        return {i % depth for i in asked}


def _as(output_fmt: str, x: Tensor, side: tuple[int, int]) -> Tensor:
    """Patches alone, as a map or as tokens."""
    if x.ndim == 4:
        return x if output_fmt == "NCHW" else x.flatten(2).transpose(1, 2)
    patches_BND = x[:, x.shape[1] - side[0] * side[1] :]
    return patches_BND.transpose(1, 2).reshape(len(x), -1, *side) if output_fmt == "NCHW" else patches_BND
