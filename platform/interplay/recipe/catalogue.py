"""The architectures of the thesis by name, and its ablations of them.

Names are those of the tables: `deit_s`, `cait_s24`, `resmlp_s12_p8`, `patchconvnet_b60`, `vit_h26x2`, and the
references they are compared with (`resnet50`, `regnety_16gf`). Training settings such as drop path belong to
recipes and are not here.

Source: thesis tables T3.1, T3.15, T4.1, T5.1, T6.1 and the sections around them. Not here: the two sequence
models of section 4.3.6, which are not vision models.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from interplay.errors import InterplayError, closest
from interplay.recipe.architecture import (
    AttentionPool,
    AveragePool,
    ClassAttention,
    ClassMlp,
    ClassToken,
    FixedScale,
    Fixup,
    LayerScale,
    Model,
    NoScale,
    PatchConvNet,
    PooledConvNet,
    ResMLP,
    ScalarScale,
    Scale,
    TFixup,
    TimmModel,
    ViT,
)


def _cait(width: int, depth: int) -> ViT:
    return ViT(
        width=width,
        depth=depth,
        heads=width // 48,
        talking_heads=True,
        pool=ClassAttention(depth=2),
        position="patches",
        scale=LayerScale(init={12: 1e-4, 24: 1e-5}.get(depth, 1e-6)),
        drop_path_rule="uniform",
    )


def _deit3(width: int, depth: int, heads: int, patch_size: int = 16, parallel: int = 1) -> ViT:
    return ViT(
        patch_size=patch_size,
        width=width,
        depth=depth,
        heads=heads,
        parallel=parallel,
        position="patches",
        scale=LayerScale(init=1e-4),
        drop_path_rule="uniform",
    )


def _resmlp(width: int, depth: int, init: float, patch_size: int = 16) -> ResMLP:
    return ResMLP(width=width, depth=depth, patch_size=patch_size, scale=LayerScale(init=init))


def _patchconvnet(width: int, depth: int, init: float = 1e-6) -> PatchConvNet:
    return PatchConvNet(width=width, depth=depth, scale=LayerScale(init=init))


_DISTILLED: dict[str, Any] = {"second_token": "distillation"}
_CAIT = {"xxs": (192, (24, 36)), "xs": (288, (24, 36)), "s": (384, (24, 36, 48)), "m": (768, (24, 36, 48))}
_WIDTHS = {"s": 384, "b": 768, "l": 1024}

ARCHITECTURES: Mapping[str, Model] = MappingProxyType(
    {
        "deit_ti": ViT(width=192, heads=3),
        "deit_s": ViT(width=384, heads=6),
        "deit_b": ViT(width=768, heads=12),
        "deit_ti_dist": ViT(width=192, heads=3, **_DISTILLED),
        "deit_s_dist": ViT(width=384, heads=6, **_DISTILLED),
        "deit_b_dist": ViT(width=768, heads=12, **_DISTILLED),
        **{f"cait_{size}{d}": _cait(width, d) for size, (width, depths) in _CAIT.items() for d in depths},
        "cait_b12": _cait(768, 12),
        "resmlp_s12": _resmlp(384, 12, 0.1),
        "resmlp_s24": _resmlp(384, 24, 1e-5),
        "resmlp_s36": _resmlp(384, 36, 1e-6),
        "resmlp_b24": _resmlp(768, 24, 1e-5),
        "resmlp_b24_p8": _resmlp(768, 24, 1e-6, patch_size=8),
        "resmlp_s12_p14": _resmlp(384, 12, 0.1, patch_size=14),
        "resmlp_s12_p8": _resmlp(384, 12, 0.1, patch_size=8),
        # LayerScale's start is not stated for S20, S36 and B36: as S60 and B60 have it
        **{f"patchconvnet_s{d}": _patchconvnet(384, d, 1e-4) for d in (20, 36, 60)},
        "patchconvnet_s120": _patchconvnet(384, 120),
        **{f"patchconvnet_b{d}": _patchconvnet(768, d) for d in (36, 60, 120)},
        **{f"patchconvnet_l{d}": _patchconvnet(1024, d) for d in (60, 120)},
        "patchconvnet_s60_multi": _patchconvnet(384, 60, 1e-4).model_copy(
            update={"pool": AttentionPool(tokens="per_class")}
        ),
        "vit_t": _deit3(192, 12, 3),
        "vit_s": _deit3(384, 12, 6),
        "vit_b": _deit3(768, 12, 12),
        "vit_l": _deit3(1024, 24, 16),
        "vit_h": _deit3(1280, 32, 16, patch_size=14),
        "vit_h52": _deit3(1280, 52, 16, patch_size=14),
        "vit_h26x2": _deit3(1280, 26, 16, patch_size=14, parallel=2),
        "resnet18": TimmModel(name="resnet18"),
        "resnet50": TimmModel(name="resnet50"),
        "resnext50_32x4": TimmModel(name="resnext50_32x4d"),
        "resnext50d_32x4": TimmModel(name="resnext50d_32x4d"),
        "resnext50d_32x8": TimmModel(name="resnext50d_32x4d", options=(("base_width", 8),)),
        "regnety_4gf": TimmModel(name="regnety_040"),
        "regnety_8gf": TimmModel(name="regnety_080"),
        "regnety_12gf": TimmModel(name="regnety_120"),
        "regnety_16gf": TimmModel(name="regnety_160"),
        "pit_s": TimmModel(name="pit_s_224"),
        "pit_b": TimmModel(name="pit_b_224"),
        "tnt_s": TimmModel(name="tnt_s_patch16_224"),
        "tnt_b": TimmModel(name="tnt_b_patch16_224"),
        "convit_s": TimmModel(name="convit_small"),
        "convit_b": TimmModel(name="convit_base"),
        "swin_s": TimmModel(name="swin_small_patch4_window7_224"),
        "swin_b": TimmModel(name="swin_base_patch4_window7_224"),
        "resnet50_attnpool": PooledConvNet(trunk="resnet50"),
    }
)


def architecture(name: str) -> Model:
    """The model node of an architecture of the thesis.

    Raises:
        InterplayError: if there is none of that name, naming the closest.
    """
    if name not in ARCHITECTURES:
        near = closest(name, ARCHITECTURES) or "; see docs/models.md"
        raise InterplayError(f"the thesis has no architecture {name!r}{near}")
    return ARCHITECTURES[name]


def ablated(base: Model, changes: Mapping[str, Any], checkpoint: str | None = None) -> Model:
    """`base` with changes in the thesis's terms, as its ablation tables give them.

    Args:
        base: an architecture.
        changes: such as `{"residual_scale": "scalar", "layerscale_init": 0.1}` or `{"pooling": "avg"}`.
        checkpoint: of the trained model, for `residual_init: trained_values`.

    Raises:
        InterplayError: for a change that is not known, or that needs a checkpoint that is not given.
    """
    left = dict(changes)
    if isinstance(base, TimmModel):
        pooling, heads = left.pop("pooling", "avg"), left.pop("agg_heads", 1)
        _nothing_left(left)
        return base if pooling == "avg" else PooledConvNet(trunk=base.name, pool=AttentionPool(heads=heads))
    fields: dict[str, Any] = {ours: left.pop(theirs) for theirs, ours in _FIELDS.items() if theirs in left}
    fields = {name: _VALUES.get(value, value) if isinstance(value, str) else value for name, value in fields.items()}
    if "pos_embed" in left:
        fields["position"] = {"none": "none", "learned": "patches"}[left.pop("pos_embed")]
    if left.pop("dist_token", False):
        fields["second_token"] = "distillation"
    if left.pop("two_class_tokens", False):
        fields["second_token"] = "class"
    fields["pool"] = _pool(base, left)
    fields["scale"] = _scale(base, left, fields.get("depth", base.depth), checkpoint)  # type: ignore[union-attr]
    _nothing_left(left)
    return type(base).model_validate({**dict(base), **fields})


_FIELDS = {
    "depth": "depth",
    "heads": "heads",
    "talking_heads": "talking_heads",
    "patch_size": "patch_size",
    "parallel_blocks": "parallel",
    "norm": "norm",
    "norm_position": "norm_position",
    "patch_comm": "communication",
    "act": "activation",
    "stem": "stem",
}
_VALUES = {
    "layernorm": "layer_norm",
    "batchnorm": "batch_norm",
    "dwconv3x3": "depthwise3x3",
    "sepconv3x3": "separable3x3",
}


def _pool(base: Any, left: dict[str, Any]) -> Any:
    """The pooling of `base` with what `left` says of it, which is taken out of `left`."""
    pool, inserted = base.pool, left.pop("cls_insert_layer", None)
    kinds = {
        "avg": AveragePool,
        "cls": ClassToken,
        "class_attention": ClassAttention,
        "class_mlp": ClassMlp,
        "attention": AttentionPool,
    }
    if (kind := left.pop("pooling", None)) is not None:
        pool = kinds[kind]()
    names = {"ca_depth": "depth", "cls_in_ca_keys": "token_in_keys", "ca_layerscale": "scaled"}
    names |= {"agg_heads": "heads", "cls_tokens": "tokens", "agg_ffn_ratio": "mlp_ratio"}
    settings = {ours: left.pop(theirs) for theirs, ours in names.items() if theirs in left}
    if inserted is not None:
        settings["at"] = inserted
    return type(pool).model_validate({**dict(pool), **settings})


def _scale(base: Any, left: dict[str, Any], depth: int, checkpoint: str | None) -> Scale:
    """The residual scaling of `base` with what `left` says of it, which is taken out of `left`."""
    kind, start = left.pop("residual_scale", None), left.pop("residual_init", "epsilon")
    epsilon, learned = left.pop("layerscale_init", None), left.pop("residual_trainable", True)
    if epsilon is None:
        own = isinstance(base.scale, LayerScale) and depth == base.depth
        epsilon = base.scale.init if own else layer_scale_start(depth)
    if kind is None:
        scale: Scale = base.scale
    elif kind == "none":
        scale = NoScale()
    elif kind in ("rezero_adapted", "rezero", "skipinit"):
        scale = ScalarScale(init=0.0)
    elif kind in ("fixup_adapted", "fixup"):
        scale = Fixup()
    elif kind in ("tfixup_adapted", "tfixup"):
        scale = TFixup()
    elif kind == "scalar":
        scale = ScalarScale(init=epsilon)
    elif start == "trained_values" or not learned:
        if checkpoint is None:
            raise InterplayError("trained LayerScale values need the checkpoint of the model they come from")
        scale = FixedScale(checkpoint=checkpoint)
    elif start == "zero":
        scale = LayerScale(init=0.0)
    else:
        scale = LayerScale(init=epsilon, spread="uniform" if start == "uniform_0_2eps" else "constant")
    return scale


def layer_scale_start(depth: int) -> float:
    """The thesis's rule for where LayerScale starts (S3.5.1): 0.1 up to depth 18, 1e-5 to 24, 1e-6 beyond."""
    return 0.1 if depth <= 18 else 1e-5 if depth <= 24 else 1e-6


def _nothing_left(left: Mapping[str, Any]) -> None:
    if left:
        raise InterplayError(f"{next(iter(left))!r} is not an architectural change that is known of this model")
