"""Files with weights: ours, timm's, those of papers' authors."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from interplay.errors import InterplayError

State = dict[str, Tensor]

KEYS = ("average", "model", "state_dict", "model_state", "module", "model_ema", "state_dict_ema")
"""Where checkpoints keep a state dict, in the order in which they are looked at; else it is the file itself.

`average` is ours: the weights that were evaluated, where they were averaged."""


def read_weights(path: Path, key: str | None = None) -> tuple[State, str]:
    """The state dict in a `.safetensors` file or one of `torch.save`, on the CPU, and the key it stood under.

    Args:
        path: the file.
        key: which of its state dicts, such as `model_ema`; None is the first of `KEYS` that it has.

    Raises:
        InterplayError: if there is no such file, it is not whole, or it holds no state dict.
    """
    content = _read(path)
    if not isinstance(content, Mapping):
        raise InterplayError(f"{path} holds a {type(content).__name__}, not a state dict; save model.state_dict()")
    for name in KEYS if key is None else (key,):
        if state := _tensors(content.get(name)):
            return state, name
    if key is None and (state := _tensors(content)):
        return state, ""
    looked = " or ".join(KEYS) if key is None else key
    raise InterplayError(f"{path} holds no state dict under {looked}; it has {few(content) or 'nothing'}")


def few(names: Iterable[object], count: int = 3) -> str:
    """The first few, and how many more there are."""
    first = [str(name) for name in names]
    more = f" and {len(first) - count} more" if len(first) > count else ""
    return ", ".join(first[:count]) + more


def _tensors(content: object) -> State:
    if not isinstance(content, Mapping):
        return {}
    return {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _read(path: Path) -> Any:
    if not path.exists():
        raise InterplayError(f"there is no file {path}")
    if not path.is_file():
        raise InterplayError(f"{path} is a folder; name the file of weights in it")
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise InterplayError(f"{path} is a web page, not a checkpoint; download it again from a direct link")
    if start.startswith(b"version https://git-lfs"):
        raise InterplayError(f"{path} is a pointer of Git LFS, not the checkpoint; fetch it with `git lfs pull`")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        with torch.serialization.safe_globals(_harmless()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format and each kind of damage has its own
        if objects := _refused(path):
            raise InterplayError(
                f"{path} holds objects besides tensors ({few(objects)}), which may run code when they are read; "
                "save its state dict alone"
            ) from None
        reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
        raise InterplayError(
            f"{path} is not a whole checkpoint ({reason}); download it again, or save it as .safetensors "
            "or by torch.save"
        ) from None


def _harmless() -> list[Any]:
    """What official checkpoints hold besides tensors: the command line's arguments and numpy's numbers."""
    kinds = [np.dtype(kind) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    made_by: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]]
    return [
        argparse.Namespace,
        np.ndarray,
        np.dtype,
        *map(type, kinds),
        # under numpy 2's names and numpy 1's
        *((function, f"numpy._core.multiarray.{function.__name__}") for function in made_by),
        *((function, f"numpy.core.multiarray.{function.__name__}") for function in made_by),
    ]


def _refused(path: Path) -> list[str]:
    """Names of the Python objects in a file that `torch.load` refuses, as far as it can tell."""
    try:
        with torch.serialization.safe_globals(_harmless()):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a file of torch.save's present format
        return []
