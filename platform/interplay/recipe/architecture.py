"""The recipe's model: which family, composed of which parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from interplay.errors import InterplayError
from interplay.recipe.part import ByName, Part, Positive, Rate, Real, Whole, file_content, of_this_content


# ------------------------------------------------------------------------------------ residual scaling
class NoScale(Part):
    """Residual branches are added as they are."""

    kind: Literal["none"] = "none"


class LayerScale(Part):
    """Each residual branch is multiplied by a learned diagonal (thesis S3.5.1).

    Its entries start at `init`, which may be 0, or with `spread: uniform` anywhere in [0, 2 init].
    """

    kind: Literal["layer_scale"] = "layer_scale"
    init: Real = Field(1e-4, ge=0.0)
    spread: Literal["constant", "uniform"] = "constant"

    @model_validator(mode="after")
    def _has_a_spread(self) -> LayerScale:
        if self.spread == "uniform" and not self.init:
            raise ValueError("model.scale.spread=uniform needs a model.scale.init above 0")
        return self


class FixedScale(Part):
    """LayerScale with the values of a trained model, not trained again (thesis S3.5.3).

    `checkpoint` is of a model with the same blocks and LayerScale. `digest` is of its content and filled in.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"checkpoint"})
    kind: Literal["fixed"] = "fixed"
    checkpoint: str = Field(min_length=1)
    digest: str = ""

    _of_this_content = file_content("checkpoint", "model.scale.checkpoint")


class ScalarScale(Part):
    """Each residual branch is multiplied by one learned number; 0 is the adapted ReZero (thesis S3.5.2)."""

    kind: Literal["scalar"] = "scalar"
    init: Real = Field(0.0, ge=0.0)


class Fixup(Part):
    """Fixup's initialisation with a learned number and biases at both ends of each branch (thesis S3.5.2).

    Adapted when the model keeps its norms; `norm_position: none` is the original, which diverges.
    """

    kind: Literal["fixup"] = "fixup"


class TFixup(Part):
    """T-Fixup's initialisation with a learned number on each branch; see `Fixup` on norms."""

    kind: Literal["t_fixup"] = "t_fixup"


Scale = Annotated[
    NoScale | LayerScale | FixedScale | ScalarScale | Fixup | TFixup, Field(discriminator="kind"), ByName
]
NormPosition = Literal["pre", "post", "none"]
DropPathRule = Literal["linear", "uniform"]


# -------------------------------------------------------------------------------------------- pooling
class AveragePool(Part):
    """The mean of the patches."""

    kind: Literal["average"] = "average"


class ClassToken(Part):
    """A learned token among the patches, which joins them before block `at` (thesis S3.6)."""

    kind: Literal["class_token"] = "class_token"
    at: Whole = Field(0, ge=0)


class ClassAttention(Part):
    """Class-attention layers after the blocks: a token looks at patches, which stay as they are (thesis S3.6).

    `token_in_keys`: the token sees itself as well. `scaled`: these layers have the model's residual scaling.
    """

    kind: Literal["class_attention"] = "class_attention"
    depth: Positive = 2
    token_in_keys: bool = True
    scaled: bool = True


class ClassMlp(Part):
    """Class-attention's counterpart for ResMLP: patches reach the token through one linear map (thesis S4.3)."""

    kind: Literal["class_mlp"] = "class_mlp"
    depth: Positive = 2


class AttentionPool(Part):
    """One class-attention layer whose weights are a map of where the model looks (thesis S5.2).

    `tokens: per_class` has one token and one output for each class; they do not see each other.
    """

    kind: Literal["attention"] = "attention"
    heads: Positive = 1
    mlp_ratio: Real = Field(3.0, gt=0.0)
    tokens: Literal["single", "per_class"] = "single"


# ------------------------------------------------------------------------------------------- families
class ViT(Part):
    """Vision transformer: DeiT, DeiT III and, with class-attention and talking heads, CaiT.

    `parallel`: branches summed in each half of a block. `position`: which tokens have a position embedding,
    `all_tokens` (DeiT) or `patches` (DeiT III, CaiT). `second_token`: another token with its own classifier,
    trained on the teacher's label (`distillation`) or on the same one (`class`, a control); `fusion` is how the
    two answers become one. `drop_path_rule`: `linear` grows from 0 at the first block to `drop_path` at the
    last (DeiT), `uniform` uses `drop_path` in every block (CaiT, DeiT III). `init_std`: of the truncated normal
    that linear weights, tokens and position embeddings start from.
    """

    family: Literal["vit"] = "vit"
    patch_size: Positive = 16
    width: Positive = 384
    depth: Positive = 12
    heads: Positive = 6
    mlp_ratio: Real = Field(4.0, gt=0.0)
    qkv_bias: bool = True
    talking_heads: bool = False
    parallel: Positive = 1
    norm_position: NormPosition = "pre"
    pool: Annotated[ClassToken | AveragePool | ClassAttention, Field(discriminator="kind"), ByName] = ClassToken()
    position: Literal["all_tokens", "patches"] = "all_tokens"
    second_token: Literal["none", "distillation", "class"] = "none"
    fusion: Literal["mean_of_logits", "sum_of_softmaxes", "first", "second"] = "mean_of_logits"
    scale: Scale = NoScale()
    drop_path: Rate = 0.0
    drop_path_rule: DropPathRule = "linear"
    dropout: Rate = 0.0
    init_std: Real = Field(0.02, gt=0.0)

    @model_validator(mode="after")
    def _fits(self) -> ViT:
        _check_heads("model.heads", self.heads, self.width)
        if isinstance(self.pool, ClassToken) and self.pool.at >= self.depth:
            raise ValueError(
                f"model.pool.at={self.pool.at} is behind the last of model.depth={self.depth} blocks; "
                f"use 0 to {self.depth - 1}"
            )
        if self.second_token != "none" and isinstance(self.pool, AveragePool):
            raise ValueError("model.second_token needs tokens: set model.pool=class_token or class_attention")
        if self.second_token == "none" and self.fusion != "mean_of_logits":
            raise ValueError(f"model.fusion={self.fusion} needs two answers; set model.second_token=distillation")
        return self


class ResMLP(Part):
    """Residual MLPs: patches talk through a linear map, channels through an MLP (thesis chapter 4).

    `communication`: how patches talk. `position: patches` adds an embedding of their place.
    """

    family: Literal["resmlp"] = "resmlp"
    patch_size: Positive = 16
    width: Positive = 384
    depth: Positive = 12
    mlp_ratio: Real = Field(4.0, gt=0.0)
    communication: Literal["linear", "none", "mlp", "conv3x3", "depthwise3x3", "separable3x3"] = "linear"
    norm: Literal["affine", "layer_norm"] = "affine"
    norm_position: NormPosition = "pre"
    activation: Literal["gelu", "relu", "silu", "hardswish"] = "gelu"
    position: Literal["none", "patches"] = "none"
    pool: Annotated[AveragePool | ClassMlp, Field(discriminator="kind"), ByName] = AveragePool()
    scale: Scale = LayerScale(init=0.1)
    drop_path: Rate = 0.0
    drop_path_rule: DropPathRule = "uniform"
    init_std: Real = Field(0.02, gt=0.0)


class PatchConvNet(Part):
    """A column of convolutional blocks at one resolution, pooled by attention (thesis chapter 5).

    `stem: conv` is four 3x3 convolutions of stride 2, `linear` one map for each 16x16 patch.
    `sync_batch_norm` takes a batch's statistics over all workers.
    """

    family: Literal["patchconvnet"] = "patchconvnet"
    width: Positive = 384
    depth: Positive = 60
    stem: Literal["conv", "linear"] = "conv"
    norm: Literal["layer_norm", "batch_norm", "sync_batch_norm"] = "layer_norm"
    norm_position: NormPosition = "pre"
    se_ratio: Real = Field(0.25, gt=0.0)
    pool: Annotated[AttentionPool | AveragePool, Field(discriminator="kind"), ByName] = AttentionPool()
    scale: Scale = LayerScale(init=1e-6)
    drop_path: Rate = 0.0
    drop_path_rule: DropPathRule = "uniform"
    init_std: Real = Field(0.02, gt=0.0)

    @property
    def patch_size(self) -> int:
        return 16

    @model_validator(mode="after")
    def _fits(self) -> PatchConvNet:
        if isinstance(self.pool, AttentionPool):
            _check_heads("model.pool.heads", self.pool.heads, self.width)
        if self.stem == "conv" and self.width % 8:
            raise ValueError(f"model.width={self.width} is not a multiple of 8, which the conv stem needs")
        return self


Options = Annotated[
    tuple[tuple[str, bool | int | float | str], ...],
    BeforeValidator(lambda value: tuple(sorted(value.items())) if isinstance(value, Mapping) else value),
    PlainSerializer(dict),
]
"""A mapping that can be hashed."""


class TimmModel(Part):
    """Any model timm can build, by its name. Weights are never downloaded.

    `heads: null` is the model's own number; another works where timm has the option. `options` are other
    options of timm's model, such as `{base_width: 8}`.
    """

    family: Literal["timm"] = "timm"
    name: str
    drop_path: Rate = 0.0
    heads: Positive | None = None
    options: Options = ()


class PooledConvNet(Part):
    """Attention pooling on the last feature map of any timm model, such as `resnet50` (thesis S5.3)."""

    family: Literal["pooled"] = "pooled"
    trunk: str = "resnet50"
    pool: AttentionPool = AttentionPool()
    scale: Scale = LayerScale(init=1e-4)
    drop_path: Rate = 0.0
    init_std: Real = Field(0.02, gt=0.0)


class OwnModel(Part):
    """Your own model: `source` is `file.py:function`, called with `classes` and `image_size`, gives a module.

    `digest` is of the file's content and is filled in. It is what the fingerprint holds, not the path: an
    edited file is another recipe, and a stored recipe is refused when its file has changed since.
    """

    not_identity: ClassVar[frozenset[str]] = frozenset({"source"})
    family: Literal["own"] = "own"
    source: str
    digest: str = ""

    @model_validator(mode="before")
    @classmethod
    def _of_this_content(cls, tree: Any) -> Any:
        source = tree.get("source") if isinstance(tree, dict) else None
        if not isinstance(source, str):
            return tree
        path, colon, function = source.partition(":")
        if not colon or not Path(path).is_file():
            raise ValueError(f"model.source={source!r} must be file.py:function, of a file that exists")
        resolved = {**tree, "source": f"{Path(path).resolve()}:{function}"}
        return of_this_content(resolved, Path(path), field="model.source")


def _of_the_catalogue(value: Any) -> Any:
    """A name is an architecture of the thesis."""
    if not isinstance(value, str):
        return value
    from interplay.recipe.catalogue import architecture  # it is made of what is defined here

    try:
        return architecture(value)
    except InterplayError as error:
        raise ValueError(str(error)) from None


Model = Annotated[
    ViT | ResMLP | PatchConvNet | PooledConvNet | TimmModel | OwnModel,
    Field(discriminator="family"),
    BeforeValidator(_of_the_catalogue),
]


def _check_heads(path: str, heads: int, width: int) -> None:
    if width % heads:
        choices = ", ".join(str(h) for h in range(1, width + 1) if width % h == 0)
        raise ValueError(f"{path}={heads} does not divide model.width={width}; use one of {choices}")
