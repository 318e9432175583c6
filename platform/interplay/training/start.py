"""Weights that a training starts from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from interplay.errors import InterplayError
from interplay.models.backbone import Backbone
from interplay.recipe.part import checkpoint_file
from interplay.training.checkpoint import State, load
from interplay.training.optimiser import HEADS


def read_checkpoint(path: Path) -> State:
    """A checkpoint of ours: the file, or the folder of its cell."""
    return load(checkpoint_file(path))


def put_weights(model: nn.Module, path: Path, *, new_head: bool = True) -> None:
    """The weights at `path` into `model`: position embeddings fitted to its image size, its head its own if the
    number of classes is another and `new_head` allows it.

    Raises:
        InterplayError: if the weights do not belong to this model.
    """
    path = checkpoint_file(path)
    if isinstance(model, Backbone):
        from interplay.models.pretrained import load_pretrained

        loaded = load_pretrained(model, path)
        if loaded.replaced and not new_head:
            raise InterplayError(f"{path} is for another number of classes; give weights for {model.num_classes}")
        return
    from interplay.models.weight_files import read_weights

    state, _ = read_weights(path, None)
    own = model.state_dict()
    other = sorted(name for name in own.keys() | state.keys() if name not in own or name not in state)
    shapes = [name for name in own.keys() & state.keys() if own[name].shape != state[name].shape]
    head = {name for name in shapes if name.split(".")[0] in HEADS}
    if other or set(shapes) - head or (head and not new_head):
        names = ", ".join((other or sorted(shapes))[:3])
        raise InterplayError(f"{path} does not fit this model ({names}); give the weights of the same architecture")
    model.load_state_dict({name: value for name, value in state.items() if name not in head}, strict=False)
