"""Attention pooling on timm's convnets (thesis S5.3)."""

# B batch, D width, h w sides of the map
from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.models.attention_pool import attention_pool
from interplay.models.backbone import Backbone
from interplay.models.compose import initialise
from interplay.models.timm_bridge import check_name
from interplay.recipe.architecture import PooledConvNet


class Trunk(nn.Module):
    """A timm model up to its pooling: [B, 3, H, W] -> [B, D, h, w]."""

    def __init__(self, name: str, *, image_size: int, drop_path: float) -> None:
        super().__init__()
        self.name, self.drop_path = name, drop_path
        check_name(name)
        config = timm.get_pretrained_cfg(name)
        self.one_size = config is not None and config.fixed_input_size
        options: dict[str, Any] = {"img_size": image_size} if self.one_size else {}
        if drop_path:  # not every model has the option
            options["drop_path_rate"] = drop_path
        try:
            # not `features_only`: its last map may come before layers that belong to the trunk (EfficientNet)
            self.trunk: Any = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **options)
        except (TypeError, AssertionError, ValueError) as error:
            raise InterplayError(f"timm cannot build {name} without its pooling: {error}") from None
        self.channels_are_last = getattr(self.trunk, "output_fmt", "NCHW") == "NHWC"

    def forward(self, x_BCHW: Tensor) -> Tensor:
        out: Tensor = self.trunk(x_BCHW)
        return out.permute(0, 3, 1, 2) if self.channels_are_last else out

    @torch.no_grad()
    def map_shape(self, image_size: int) -> tuple[int, int, int]:
        """D, h and w of the map of one image, found by trying: timm's description of a model may differ.

        Raises:
            InterplayError: if it gives no map, as a vision transformer does.
        """
        self.eval()
        try:
            found = self(torch.zeros(1, 3, image_size, image_size, device=next(self.parameters()).device))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise InterplayError(f"timm's {self.name} takes no images of side {image_size}: {error}") from None
        self.train()
        if found.ndim != 4:
            raise InterplayError(
                f"timm's {self.name} gives {tuple(found.shape[1:])} for an image, not a map of channels and two "
                "sides; set model.trunk to a convnet such as resnet50"
            )
        return found.shape[1], found.shape[2], found.shape[3]

    def extra_repr(self) -> str:
        return f"name={self.name}, drop_path={self.drop_path:g}, channels_are_last={self.channels_are_last}"


class PooledTrunk(Backbone):
    """A backbone whose only block is a timm model, which knows best how to save memory and change its size."""

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trades time for memory, where timm's model can.

        Raises:
            InterplayError: if it cannot.
        """
        trunk = self._trunk
        try:
            trunk.trunk.set_grad_checkpointing(enable)
        except (AssertionError, AttributeError):
            raise InterplayError(
                f"timm's {trunk.name} cannot compute its blocks again in the backward pass"
            ) from None

    def set_image_size(self, image_size: int) -> None:
        """Takes images of another side.

        Raises:
            ValueError: if timm's model takes only those it was built for, or this is no multiple of the patch size.
        """
        trunk = self._trunk
        change = getattr(trunk.trunk, "set_input_size", None)
        if trunk.one_size and change is None:
            raise ValueError(f"timm's {trunk.name} takes images of side {self.image_size} alone")
        super().set_image_size(image_size)
        if change is not None:
            change(img_size=image_size)

    @property
    def _trunk(self) -> Trunk:
        trunk = self.blocks["0"]
        assert isinstance(trunk, Trunk)
        return trunk


def pooled(recipe: PooledConvNet, *, classes: int, image_size: int) -> Backbone:
    """The timm model that `recipe` names, with attention in place of its pooling, initial weights of its own.

    Raises:
        InterplayError: if timm has no such model, it gives no map, or the pooling's heads do not divide its width.
    """
    trunk = Trunk(recipe.trunk, image_size=image_size, drop_path=recipe.drop_path)
    width, side, _ = trunk.map_shape(image_size)
    if width % recipe.pool.heads:
        raise InterplayError(
            f"model.pool.heads={recipe.pool.heads} does not divide the {width} channels of {recipe.trunk}"
        )
    neck, pool, head = attention_pool(recipe.pool, width=width, classes=classes, scale=recipe.scale)
    # the trunk keeps timm's initial weights: only what follows it is told of `init_std` and `scale`
    new = nn.ModuleDict({"blocks": nn.ModuleDict(), "neck": neck, "head": head})
    initialise(new, std=recipe.init_std, scale=recipe.scale, depth=1)
    return PooledTrunk(
        stem=nn.Identity(),
        blocks={"0": trunk},
        neck=neck,
        pool=pool,
        head=head,
        width=width,
        patch_size=max(1, round(image_size / side)),
        image_size=image_size,
        classes=classes,
        init_std=recipe.init_std,
        # timm's names of the trunk, whatever they are
        foreign_names=[(r"^(?!blocks\.0\.trunk\.|neck\.|head\.(?:weight|bias)$)", "blocks.0.trunk.")],
    )
