"""Sizes of models without memory for their weights, next to the published ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from interplay.models import Backbone, build, parameter_count
from interplay.recipe.architecture import LayerScale, Model, OwnModel, TimmModel
from interplay.recipe.catalogue import ARCHITECTURES, ablated, architecture


@dataclass(frozen=True)
class Size:
    """Trainable parameters, and multiply-adds for one image."""

    parameters: int
    macs: int


@dataclass(frozen=True)
class Published:
    """What the thesis prints of an architecture, and what others' code gives.

    Attributes:
        params: millions, as printed; None if they are not.
        macs: image side -> multiply-adds in 1e9, as printed.
        reference_params: millions, counted with timm or the authors' code.
        reference_macs: the same of multiply-adds.
        tables: where it stands.
        timm: timm's name of the architecture.
        base: a variant's architecture.
        changes: a variant's changes of it, in the thesis's terms.
    """

    params: float | None
    macs: Mapping[int, float]
    reference_params: float | None
    reference_macs: Mapping[int, float]
    tables: tuple[str, ...]
    timm: str = ""
    base: str = ""
    changes: Mapping[str, Any] | None = None


def size_of(model: Model, image_size: int = 224, classes: int = 1000) -> Size:
    """Counts a model on the meta device. A multiply-add is one; the thesis calls them FLOPs."""
    return _size(_sized(model), image_size, classes)


def parameters_of(model: Model, image_size: int = 224, classes: int = 1000) -> int:
    """Trainable parameters. Quicker than `size_of`: nothing is computed."""
    return _parameters(_sized(model), image_size, classes)


def _sized(model: Model) -> Model:
    """One description of all models of one size, so that it is counted once."""
    if isinstance(model, OwnModel | TimmModel):
        return model  # what others' code makes of its options is not known
    same: dict[str, Any] = {name: 0.0 for name in ("drop_path", "dropout") if hasattr(model, name)}
    if hasattr(model, "init_std"):
        same["init_std"] = 0.02
    if isinstance(model.scale, LayerScale):
        same["scale"] = LayerScale()
    return model.model_copy(update=same)


@lru_cache(maxsize=1024)
def _parameters(model: Model, image_size: int, classes: int) -> int:
    with torch.device("meta"):
        return parameter_count(build(model, classes=classes, image_size=image_size))


@lru_cache(maxsize=1024)
def _size(model: Model, image_size: int, classes: int) -> Size:
    with torch.device("meta"):
        built = build(model, classes=classes, image_size=image_size).eval()
        parameters = parameter_count(built)
        built.requires_grad_(False)  # nothing is remembered for gradients
        images = torch.empty(1, 3, image_size, image_size)
        counter = FlopCounterMode(display=False)
        kinds = _kinds_of_blocks(built, counter)
        with counter:
            built(images)
    flops = counter.get_total_flops() + sum(kind.flops * kind.again for kind in kinds.values())
    return Size(parameters, flops // 2)


@dataclass
class _Kind:
    """Blocks of one model that compute alike: what the first of them gave and took, and how many came again."""

    given: Tensor
    flops: int
    again: int = 0


def _kinds_of_blocks(model: nn.Module, counter: FlopCounterMode) -> dict[Any, _Kind]:
    """Lets one block of each kind compute in the next forward pass of `model`, which fills what is returned."""
    kinds: dict[Any, _Kind] = {}

    def once(block: nn.Module) -> Callable[[Tensor], Tensor]:
        compute, parts = block.forward, tuple((name, p.shape) for name, p in block.named_parameters())

        def forward(x: Tensor) -> Tensor:
            key = (parts, x.shape)
            if key in kinds:
                kinds[key].again += 1
            else:
                before = counter.get_total_flops()
                given = compute(x)
                kinds[key] = _Kind(given, counter.get_total_flops() - before)
            return kinds[key].given

        return forward

    for block in model.blocks.values() if isinstance(model, Backbone) else ():
        block.forward = once(block)
    return kinds


@cache
def published() -> dict[str, Published]:
    """Every architecture and variant of the thesis with its numbers."""
    data = yaml.safe_load(files("interplay.models").joinpath("published.yaml").read_text(encoding="utf-8"))
    found = {}
    for name, entry in {**data["architectures"], **_without(data["variants"], data["architectures"])}.items():
        reference = entry.pop("reference", {"params": None, "macs": {}})
        found[name] = Published(
            **{**entry, "tables": tuple(entry["tables"])},
            reference_params=reference["params"],
            reference_macs=reference["macs"],
        )
    return found


def _without(variants: Mapping[str, Any], architectures: Mapping[str, Any]) -> dict[str, Any]:
    """Some variants of the tables are architectures too."""
    return {name: entry for name, entry in variants.items() if name not in architectures}


def node(name: str, checkpoint: str | None = None) -> Model:
    """The model of an architecture or a variant by the thesis's name; see `ablated` on `checkpoint`."""
    known = published().get(name)
    if name in ARCHITECTURES or known is None:
        return architecture(name)
    return ablated(architecture(known.base), known.changes or {}, checkpoint)


def write_scales(base: str, depth: int, path: Path) -> None:
    """A checkpoint with nothing but LayerScale, which is not trained: enough to count a model that copies it."""
    model = ablated(architecture(base), {"depth": depth, "residual_scale": "layerscale"})
    with torch.device("meta"):
        state = build(model, classes=1, image_size=16).state_dict()
    torch.save({name: torch.ones(scale.shape) for name, scale in state.items() if name.endswith(".gamma")}, path)
