"""Weights that others have trained, under the names they gave them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interplay.errors import InterplayError
from interplay.models.backbone import Backbone
from interplay.models.parts.head import PerClassHead
from interplay.models.weight_files import State, few, read_weights


@dataclass(frozen=True)
class Loaded:
    """What became of a file's weights.

    Attributes:
        path: the file.
        key: where in it the state dict stood, such as `model`; empty if it is the file itself.
        missing: the model's names that the file lacks, or has in another shape; they are as they were.
        unexpected: the file's names that the model has no place for, or in another shape.
        replaced: the model's names of which the file has another number of classes; they are as they were.
        image_size_from: side of the images that the file's weights are for; None if none belong to places.
    """

    path: Path
    key: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    replaced: tuple[str, ...]
    image_size_from: int | None


@dataclass(frozen=True)
class Fit:
    """A state dict of others as one that a model takes.

    Attributes:
        state: what the model takes, under its names and in its shapes.
        missing: its names that were not found.
        unexpected: what it has no place for: a name like the model's, and the names it was made of.
        misshapen: what it has in another shape, under its names.
        replaced: its names that were found for another number of classes.
        origins: the model's names, and the names they were made of.
        image_size_from: side of the images the weights are for.
    """

    state: State
    missing: tuple[str, ...]
    unexpected: Mapping[str, tuple[str, ...]]
    misshapen: State
    replaced: tuple[str, ...]
    origins: Mapping[str, tuple[str, ...]]
    image_size_from: int | None


def load_pretrained(model: Backbone, path: Path | str, *, strict: bool = True, key: str | None = None) -> Loaded:
    """Puts the weights at `path` into `model`: a checkpoint of ours, of timm or of a paper's authors.

    A classifier of another number of classes, or none, leaves the model's own as it is. What belongs to places
    of another image size is interpolated. A load that fails leaves the model as it was.

    Args:
        model: takes the weights.
        path: `.safetensors`, or a file of `torch.save`.
        strict: refuse a file that lacks some of the model's names or has others; False takes what fits.
        key: which of the file's state dicts, such as `model_ema`; None looks in the order of `weight_files.KEYS`.

    Raises:
        InterplayError: if the file is no checkpoint, or does not fit, or the model is not one of ours.
    """
    path = Path(path)
    if not isinstance(model, Backbone):
        raise InterplayError(
            f"{path} cannot be loaded into a {type(model).__name__}, which is no Backbone of interplay"
        )
    weights, found_under = read_weights(path, key)
    fitted = fit(weights, model)
    if strict:
        _check(fitted, weights, model, path)
    if not fitted.state:
        raise InterplayError(f"{path} has nothing that fits this model ({few(weights)}); load another file")
    model.load_state_dict(fitted.state, strict=False)
    return Loaded(
        path=path,
        key=found_under,
        missing=fitted.missing + tuple(fitted.misshapen),
        unexpected=_flat(fitted.unexpected.values()) + _flat(fitted.origins[name] for name in fitted.misshapen),
        replaced=fitted.replaced,
        image_size_from=fitted.image_size_from,
    )


def translate(state: Mapping[str, Tensor], model: Backbone) -> State:
    """A state dict of timm or of the authors under `model`'s names; names that nothing is known of are kept.

    Pieces of one parameter of ours (`name@0`, `name@1`) are put together; position embeddings of tokens are
    parted from those of patches; entries in another shape with the same numbers are reshaped. A state dict
    under our names is kept as it is.
    """
    return _translate(state, model)[0]


def fit(state: Mapping[str, Tensor], model: Backbone) -> Fit:
    """`state` as `model` takes it. The model is not changed."""
    ours = model.state_dict()
    found, origins = _translate(state, model)
    image_size = _interpolate(found, model)
    if isinstance(model.head, PerClassHead):
        _spread_token(found, ours)
    heads = [value for name, value in found.items() if name.startswith("head.") and name.endswith("weight")]
    classes = (len(heads[0]) if heads and heads[0].ndim else 0, model.num_classes)
    fitting: State = {}
    misshapen: State = {}
    replaced = []
    for name in found.keys() & ours.keys():
        if found[name].shape == ours[name].shape:
            fitting[name] = found[name]
        elif _differ_in_classes(found[name], ours[name], classes):
            replaced.append(name)
        else:
            misshapen[name] = found[name]
    return Fit(
        state=fitting,
        missing=tuple(name for name in ours if name not in found),
        unexpected={name: origins[name] for name in found if name not in ours},
        misshapen={name: misshapen[name] for name in ours if name in misshapen},
        replaced=tuple(name for name in ours if name in replaced),
        origins=origins,
        image_size_from=image_size,
    )


def _spread_token(found: State, ours: Mapping[str, Tensor]) -> None:
    """One learned token, [1, 1, D], becomes all of the model's, [1, T, D]: where tokens of each class start from."""
    for name in found.keys() & ours.keys():
        theirs, mine = found[name], ours[name]
        if name.endswith(".token") and theirs.ndim == 3 and theirs.shape[1] == 1 < mine.shape[1]:
            found[name] = theirs.expand_as(mine).clone()


# ---------------------------------------------------------------------------------------------- names
_POSITIONS = {"stem.position.pos_embed": "blocks.tokens.pos_embed"}

Origins = dict[str, tuple[str, ...]]
"""A name of ours -> the names it was made of."""


def _translate(state: Mapping[str, Tensor], model: Backbone) -> tuple[State, Origins]:
    ours = model.state_dict()
    found: State = {}
    origins: Origins = {}
    pieces: dict[str, dict[str, str]] = {}
    for name, target in _targets(state, model).items():
        whole, at, place = target.partition("@")
        if at and whole in ours and state[name].ndim == 3 and int(place) >= ours[whole].shape[1]:
            found[name], origins[name] = state[name], (name,)  # a second token, and the model has one
        elif at:
            pieces.setdefault(whole, {})[place] = name
        else:
            found[target], origins[target] = state[name], (name,)
    for whole, names in pieces.items():
        origins[whole] = tuple(names[place] for place in sorted(names, key=int))
        values = [state[name] for name in origins[whole]]
        found[whole] = torch.cat(values, dim=1 if values[0].ndim == 3 else 0)  # tokens are [1, T, D]
    _part_positions(found, origins, ours)
    for name, value in found.items():
        if name in ours and value.shape != ours[name].shape and value.numel() == ours[name].numel():
            found[name] = value.reshape(ours[name].shape)
    return found, origins


def _targets(names: Iterable[str], model: Backbone) -> dict[str, str]:
    """Each name, without what wrappers put before it, and what it is in the model, or a piece of that (`name@0`).

    Checkpoints of ours have the model's names already: some of them look like others' names.
    """
    ours = model.state_dict().keys()
    plain = {name: name.replace("_orig_mod.", "").removeprefix("module.") for name in names}
    renamed = dict(plain)
    for name in renamed:
        for pattern, replacement in model.foreign_names:
            renamed[name] = re.sub(pattern, replacement, renamed[name])
    known = sum(target in ours for target in plain.values())
    return plain if known >= sum(target.partition("@")[0] in ours for target in renamed.values()) else renamed


def _part_positions(found: State, origins: Origins, ours: Mapping[str, Tensor]) -> None:
    """[1, T + N, D] -> [1, T, D] and [1, N, D]. N is a square, so T, which is at most 2, follows."""
    for patches, tokens in _POSITIONS.items():
        if patches not in found or tokens in found or found[patches].ndim != 3:
            continue
        value, names = found[patches], origins[patches]
        count = next((count for count in (1, 2) if _side(value.shape[1] - count)), 0)
        room = min(count, ours[tokens].shape[1] if tokens in ours else 0)
        found[patches] = value[:, count:]
        if room:
            found[tokens], origins[tokens] = value[:, :room], names
        if count > room:
            left = f"{names[0]}[:, {room}:{count}]"
            found[left], origins[left] = value[:, room:count], (left,)


# --------------------------------------------------------------------------------------------- shapes
@torch.no_grad()
def _interpolate(found: State, model: Backbone) -> int | None:
    """Takes what belongs to places to the model's image size; gives the side of the images that it was for.

    It is loaded into copies of the parts it belongs to, at the size where it fits, and these are resized.
    """
    grid = model.image_size // model.patch_size
    parts: dict[str, Any] = {
        name: module for name, module in model.named_modules() if callable(getattr(module, "set_grid", None))
    }
    bound = {
        f"{name}.{inner}": (name, inner)
        for name, module in parts.items()
        for inner, value in module.named_parameters()
        if f"{name}.{inner}" in found and grid * grid in value.shape
    }
    if not bound:
        return None
    parts = deepcopy(parts)
    sides = {side for name in bound for places in found[name].shape if (side := _side(places))}
    for side in [grid, *sorted(sides - {grid})]:
        if side != grid:
            _set_grid(parts.values(), side)
        targets = {name: parts[part].get_parameter(inner) for name, (part, inner) in bound.items()}
        if all(_bare(found[name]) == _bare(target) for name, target in targets.items()):
            break
    else:
        return None
    if side != grid:
        for name, target in targets.items():
            target.copy_(found[name].reshape(target.shape))
        _set_grid(parts.values(), grid)
        found.update({name: parts[part].get_parameter(inner).detach() for name, (part, inner) in bound.items()})
    return side * model.patch_size


def _set_grid(parts: Iterable[Any], side: int) -> None:
    for part in parts:
        part.set_grid((side, side))


def _side(places: int) -> int:
    """Side of the square grid of so many places, or 0 if there is none."""
    side = math.isqrt(max(places, 0))
    return side if side * side == places else 0


def _bare(value: Tensor) -> list[int]:
    """Its shape without axes of length 1, which a convolution has and a linear map has not."""
    return [length for length in value.shape if length != 1]


def _differ_in_classes(theirs: Tensor, mine: Tensor, classes: tuple[int, int]) -> bool:
    """Whether the number of classes is the one axis in which the two differ."""
    axes = zip(theirs.shape, mine.shape, strict=False)
    return theirs.ndim == mine.ndim and [pair for pair in axes if pair[0] != pair[1]] == [classes]


# --------------------------------------------------------------------------------------------- errors
_DISTILLED = re.compile(r"^(?:dist_token$|head_dist\.|head\.second\.)")


def _check(fitted: Fit, weights: State, model: Backbone, path: Path) -> None:
    """Raises InterplayError if names or shapes other than the head's are left over on either side."""
    missing = [name for name in fitted.missing if not name.startswith("head.")]
    no_head = not any(True for _ in model.head.parameters())
    unexpected = _flat(
        names for name, names in fitted.unexpected.items() if not (no_head and name.startswith("head."))
    )
    if not (missing or unexpected or fitted.misshapen):
        return
    second = [name for name in _targets(weights, model) if _DISTILLED.match(name)]
    if second and "head.second.weight" not in model.state_dict():
        raise InterplayError(
            f"{path} is of a distilled model ({few(second)}) and this model has no second token; "
            "build it with model.second_token=distillation, or pass strict=False to leave the second token out"
        )
    ours, said = model.state_dict(), []
    if missing:
        said.append(f"it lacks {few(missing)}")
    if unexpected:
        said.append(f"the model has no place for its {few(unexpected)}")
    if fitted.misshapen:
        shapes = [f"{name} ({_shape(v)} for {_shape(ours[name])})" for name, v in fitted.misshapen.items()]
        said.append(f"of another shape is {few(shapes)}")
    raise InterplayError(
        f"{path} does not fit this model: {', '.join(said)}; "
        "load it into the model it was trained for, or pass strict=False to take what fits"
    )


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"


def _flat(names: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """All of them once, in order."""
    return tuple(dict.fromkeys(name for some in names for name in some))
