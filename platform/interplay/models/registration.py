"""Our models under timm's roof: `timm.create_model("interplay_cait_s24")`, for scripts that know timm alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, register_model
from timm.models._features import FeatureGetterNet  # timm gives it no public name
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.models import build
from interplay.models.backbone import PREPARATION, Backbone
from interplay.models.pretrained import fit
from interplay.models.weight_files import few
from interplay.recipe.architecture import Model, OwnModel, TimmModel
from interplay.recipe.catalogue import ARCHITECTURES

PREFIX = "interplay_"

default_cfgs: dict[str, dict[str, Any]] = {}
"""timm looks here, by this name, for what it is to know of a model before it is made."""


def register_with_timm() -> list[str]:
    """Makes timm know the catalogue's architectures that it has not itself, and gives their names there.

    `timm.create_model` then takes `num_classes` (0: no classifier), `img_size`, `drop_path_rate`, `features_only`
    with `out_indices` (maps of these blocks) and `checkpoint_path`: others' names, another image size and, with a
    warning, another number of classes are as good as in `load_pretrained`. Doing it twice is harmless.
    """
    names = []
    for short, model in ARCHITECTURES.items():
        if isinstance(model, TimmModel | OwnModel):
            continue
        names.append(name := PREFIX + short)
        if not timm.is_model(name):
            default_cfgs[name] = {"input_size": (3, 224, 224), "fixed_input_size": True, **PREPARATION}
            register_model(_entry_point(name, model))
    return names


def _entry_point(name: str, recipe: Model) -> Callable[..., nn.Module]:
    """What timm calls to create a model; it finds the name in the function."""

    def create(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Any = None,
        cache_dir: str | Path | None = None,
        *,
        num_classes: int = 1000,
        img_size: int | Sequence[int] = 224,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        drop_path_rate: float | None = None,
        features_only: bool = False,
        out_indices: int | Sequence[int] | None = None,
    ) -> nn.Module:
        if pretrained:
            raise InterplayError(
                f"{name} has no weights to download; give create_model checkpoint_path=FILE, "
                "or call interplay.models.pretrained.load_pretrained"
            )
        if in_chans != 3 or drop_rate:
            raise InterplayError(f"{name} is for 3 channels and has no dropout; leave in_chans and drop_rate out")
        node = recipe
        if drop_path_rate is not None:
            node = type(recipe).model_validate({**dict(recipe), "drop_path": drop_path_rate})
        model = _build(name, node, num_classes, img_size)
        for told in (pretrained_cfg, pretrained_cfg_overlay):
            model.preparation |= _preparation(name, told)
        return _ready(model, num_classes, features_only, out_indices)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{name.removeprefix(PREFIX)} of the catalogue."
    return create


def _build(name: str, recipe: Model, classes: int, img_size: int | Sequence[int]) -> Backbone:
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    if height != width:
        raise InterplayError(f"{name} takes square images; img_size is {height}x{width}")
    # timm's users seed the global generator, so it decides
    seed = int(torch.randint(2**31, ()))
    model = build(recipe, classes=classes or 1, image_size=height, seed=seed)
    assert isinstance(model, Backbone)
    return model


def _preparation(name: str, described: PretrainedCfg | Mapping[str, Any] | str | None) -> dict[str, Any]:
    """What timm's description of a model says of how images are prepared."""
    if isinstance(described, str):
        raise InterplayError(f"{name} has no weights named {described!r}; leave the part behind the dot out")
    if described is None:
        return {}
    told: Mapping[str, Any] = described if isinstance(described, Mapping) else described.to_dict()
    return {key: told[key] for key in PREPARATION if key in told}


def _ready(model: Backbone, classes: int, features_only: bool, out_indices: int | Sequence[int] | None) -> nn.Module:
    """`model` without what was not asked for, and ready for the state dicts of others."""
    names = set(model.state_dict())
    created: Any = model
    if not classes:
        model.reset_classifier(0)
    if features_only:
        description = model.pretrained_cfg
        created = FeatureGetterNet(model, out_indices=min(4, model.depth) if out_indices is None else out_indices)
        created.pretrained_cfg = created.default_cfg = description
    pruned = frozenset(names - set(model.state_dict()))
    created.register_load_state_dict_pre_hook(partial(_take_others_names, pruned=pruned))
    built: nn.Module = created
    return built


def _take_others_names(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object, pruned: frozenset[str]
) -> None:
    """Makes of a state dict what the model takes: `create_model` loads `checkpoint_path` by `load_state_dict`.

    What does not fit is left in it, for torch to report.

    Args:
        module: the model, or timm's wrapper for its features.
        state: changed in place.
        prefix: before all of the module's names.
        pruned: names that the model would have, were it not for its features alone.
    """
    model = module if isinstance(module, Backbone) else module.get_submodule("model")
    assert isinstance(model, Backbone)
    inner = prefix if model is module else f"{prefix}model."
    theirs = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    wrapped = all(name.startswith(inner) for name in theirs)  # a state dict of the wrapper itself
    bare = {name.removeprefix(inner if wrapped else prefix): value for name, value in theirs.items()}
    fitted = fit(bare, model)
    if fitted.replaced:
        warnings.warn(
            f"{few(fitted.replaced)}: the weights are for another number of classes than {model.num_classes}, "
            "so these stay as they are",
            stacklevel=2,
        )
    own = model.state_dict()
    state.update({inner + name: value for name, value in (fitted.state | fitted.misshapen).items()})
    state.update({inner + name: own[name] for name in fitted.replaced})
    for name, origins in fitted.unexpected.items():
        if name not in pruned:
            state.update({inner + origin: bare.get(origin, torch.empty(0)) for origin in origins})
