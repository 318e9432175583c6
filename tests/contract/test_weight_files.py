"""Where files keep a state dict, and files that are no checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from interplay.errors import InterplayError
from interplay.models.pretrained import load_pretrained
from tests.contract.weights import TINY, assert_untouched, ours, state_of


def under(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    ("contents", "key"),
    [
        (lambda s, other: {"model_ema": other, "model": s}, "model"),
        (lambda s, _: {"state_dict": s, "best": np.float64(0.5), "history": np.arange(3.0)}, "state_dict"),
        (lambda s, _: {"model_state": s, "args": argparse.Namespace(seed=np.int64(0))}, "model_state"),
        (lambda s, _: {"module": under("module.", s)}, "module"),
        (lambda s, _: {"state_dict_ema": under("module._orig_mod.", s), "optimizer": {}}, "state_dict_ema"),
        (lambda s, _: {"model": under("_orig_mod.module.", s)}, "model"),
        (lambda s, _: {"model_ema": s, "model": None}, "model_ema"),
        (lambda s, _: s, ""),
    ],
    ids=["model", "numbers", "arguments", "module", "ema", "compiled", "empty model", "itself"],
)
def test_where_the_state_dict_stands(contents: Any, key: str, tmp_path: Path) -> None:
    trained, other = ours(TINY, seed=1), ours(TINY, seed=2)
    torch.save(contents(trained.state_dict(), other.state_dict()), tmp_path / "weights.bin")
    model = ours(TINY)
    assert load_pretrained(model, tmp_path / "weights.bin").key == key
    assert_untouched(model, state_of(trained))


def test_another_of_the_files_state_dicts_can_be_asked_for(tmp_path: Path) -> None:
    first, second, path = ours(TINY, seed=1), ours(TINY, seed=2), tmp_path / "weights.pth"
    torch.save({"model": first.state_dict(), "model_ema": second.state_dict()}, path)
    model = ours(TINY)
    assert load_pretrained(model, path, key="model_ema").key == "model_ema"
    assert_untouched(model, state_of(second))
    with pytest.raises(InterplayError, match="holds no state dict under ema; it has model, model_ema"):
        load_pretrained(model, path, key="ema")


def test_numpys_older_names_are_known(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(
        {"model": ours(TINY).state_dict(), "best": np.float32(0.5)}, path, _use_new_zipfile_serialization=False
    )
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert load_pretrained(ours(TINY), path).key == "model"


# --------------------------------------------------------------------------------------------- errors
def no_file(path: Path) -> None:
    path.unlink(missing_ok=True)


def a_folder(path: Path) -> None:
    path.mkdir()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_page(path: Path) -> None:
    path.write_text("\n<!DOCTYPE html><html><body>404</body></html>")


def a_pointer(path: Path) -> None:
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def half(path: Path) -> None:
    torch.save(ours(TINY).state_dict(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def half_of_an_older_one(path: Path) -> None:
    torch.save(ours(TINY).state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def a_tensor(path: Path) -> None:
    torch.save(torch.zeros(2), path)


def no_tensors(path: Path) -> None:
    torch.save({"epoch": 3, "lr": 0.1}, path)


def a_whole_model(path: Path) -> None:
    torch.save(nn.Linear(2, 2), path)


def another_kind(path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(2), "fc.weight": torch.zeros(2)}, path)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (no_file, "there is no file .*weights.pth"),
        (a_folder, "is a folder; name the file of weights in it"),
        (empty, r"is not a whole checkpoint \(.+\); download it again"),
        (a_page, "is a web page, not a checkpoint; download it again"),
        (a_pointer, "is a pointer of Git LFS"),
        (half, r"is not a whole checkpoint \(.+\); download it again"),
        (half_of_an_older_one, r"is not a whole checkpoint \(.+\); download it again"),
        (a_tensor, "holds a Tensor, not a state dict"),
        (no_tensors, "holds no state dict under average or model or .*; it has epoch, lr"),
        (a_whole_model, r"objects besides tensors \(torch.nn.modules.linear.Linear\).*save its state dict alone"),
        (another_kind, "weights.pth (does not fit this model|has nothing that fits this model)"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_file_that_is_no_checkpoint(write: Any, sentence: str, strict: bool, tmp_path: Path) -> None:
    model = ours(TINY)
    before = state_of(model)
    write(tmp_path / "weights.pth")
    with pytest.raises(InterplayError, match=sentence) as error:
        load_pretrained(model, tmp_path / "weights.pth", strict=strict)
    assert "\n" not in str(error.value)
    assert_untouched(model, before)


def test_half_a_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(ours(TINY).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InterplayError, match="is not a whole checkpoint"):
        load_pretrained(ours(TINY), path)
