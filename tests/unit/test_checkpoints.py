"""When a cell's checkpoints are taken, which are kept, and that training does not touch one being written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interplay.cluster.checkpoints import Checkpoints
from interplay.cluster.job import Job
from interplay.data import array_loaders
from interplay.recipe import Recipe
from interplay.training import Ranks, Writer, fit, load

Splits = dict[str, tuple[np.ndarray, np.ndarray]]


def checkpoints(folder: Path, ranks: Ranks | None = None, **settings: Any) -> Checkpoints:
    return Checkpoints(folder, Job("f", {}, "d", str(folder), "inline", **settings), 4, ranks or Ranks())


def train(recipe: Recipe, splits: Splits, kept: Checkpoints) -> None:
    def after_step(state: Any) -> None:
        if kept.due():
            kept.within_epoch(state)

    with kept:
        fit(
            recipe,
            array_loaders(splits, recipe),
            report=kept.after_epoch,
            after_step=after_step,
            latest_checkpoint=kept.latest,
        )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*"))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"checkpoint_every_s": 1e9}, ["last.pt"]),
        ({"checkpoint_every_s": 1e9, "keep_best": True}, ["best.pt", "last.pt"]),
        ({"checkpoint_every_s": 1e9, "keep_last": 2}, ["epoch-0003.pt", "epoch-0004.pt", "last.pt"]),
    ],
)
def test_what_is_kept(
    tiny: Recipe, random_splits: Splits, tmp_path: Path, settings: dict[str, Any], expected: list[str]
) -> None:
    recipe = tiny.with_({"schedule.epochs": 4})
    train(recipe, random_splits, checkpoints(tmp_path, **settings))
    assert names(tmp_path) == expected
    assert load(tmp_path / "last.pt")["epoch"] == 4
    for path in tmp_path.glob("epoch-*"):
        assert load(path)["epoch"] == int(path.stem[-4:])


def test_the_best_is_the_epoch_with_the_best_validation(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, keep_best=True, checkpoint_every_s=1e9)
    seen: list[float] = []

    def report(metrics: dict[str, float], state: Any) -> None:
        seen.append(metrics["val/top1"])
        kept.after_epoch(metrics, state)

    recipe = tiny.with_({"schedule.epochs": 4})
    with kept:
        fit(recipe, array_loaders(random_splits, recipe), report=report)
    best = load(tmp_path / "best.pt")
    assert best["metrics"]["val/top1"] == max(seen)
    assert best["epoch"] == seen.index(max(seen)) + 1


def test_a_restart_goes_on_within_an_epoch_and_remembers_the_best(
    tiny: Recipe, random_splits: Splits, tmp_path: Path
) -> None:
    recipe = tiny.with_({"schedule.epochs": 4})
    train(recipe, random_splits, checkpoints(tmp_path / "whole", checkpoint_every_s=1e9))

    class Stop(Exception):
        pass

    kept, steps = checkpoints(tmp_path / "cut", checkpoint_every_s=0.0, keep_best=True), 0

    def after_step(state: Any) -> None:
        nonlocal steps
        steps += 1
        kept.within_epoch(state)
        if steps == 8:  # three steps are an epoch
            raise Stop

    with pytest.raises(Stop), kept:
        fit(recipe, array_loaders(random_splits, recipe), report=kept.after_epoch, after_step=after_step)
    last = load(tmp_path / "cut" / "last.pt")
    assert (last["epoch"], last["step"]) == (2, 2)
    again = checkpoints(tmp_path / "cut", checkpoint_every_s=0.0, keep_best=True)
    train(recipe, random_splits, again)
    one, other = (load(tmp_path / run / "last.pt")["model"] for run in ("whole", "cut"))
    assert all(torch.equal(a, b) for a, b in zip(one.values(), other.values(), strict=True))


def test_other_ranks_write_nothing(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    train(tiny, random_splits, checkpoints(tmp_path, Ranks(1, 2), checkpoint_every_s=0.0, keep_best=True))
    assert names(tmp_path) == []


def test_a_checkpoint_is_of_the_moment_it_was_taken(tmp_path: Path) -> None:
    weight = torch.zeros(1_000_000)
    state = {"model": {"w": weight}, "optimiser": {}, "epoch": 0, "metrics": {}, "recipe": {}}
    writer = Writer()
    writer.save(state, tmp_path / "a.pt")
    weight += 1  # training goes on
    writer.close()
    assert load(tmp_path / "a.pt")["model"]["w"].sum() == 0


def test_a_failed_write_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    writer = Writer()
    writer.save({"model": {}}, tmp_path / "file" / "a.pt")
    with pytest.raises(OSError, match="file"):
        writer.close()
