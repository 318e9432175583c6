"""In which order samples are visited: pure functions of (seed, epoch, rank)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from interplay.counter_rng import permutation, uniform
from interplay.errors import InterplayError
from interplay.recipe.embedding import LearntEmbedding
from interplay.recipe.tree import Order, QuasiRandom, Recipe, Sequential, Shuffle

Indices = NDArray[np.int64]

_VIEW_SHIFT = 40  # samples in the low bits, the view above: one integer names a draw


def epoch_draws(
    recipe: Recipe, labels: Indices, *, training: bool, rank: int, world: int, gallery: bool = False
) -> Callable[[int], Indices]:
    """epoch -> one rank's draws of a split whose samples have `labels` [N]; see `training_draws` and `shard`.

    A `gallery` is what is trained on, read as an evaluated split is.
    """
    batch_size = recipe.data.batch_size
    if training:
        check_split(recipe, world)
    kept = share_of(labels, recipe.data.share if training or gallery else 1.0)
    if not training:
        return lambda epoch: kept[evaluation_draws(len(kept), rank=rank, world=world)]

    def draws(epoch: int) -> Indices:
        everyone = training_draws(
            labels[kept],
            order=recipe.data.order,
            seed=recipe.seeds.order,
            epoch=epoch,
            repeats=recipe.augment.repeats,
            batch_size=batch_size,
        )
        sample, view = unpack(everyone)
        mine = shard(kept[sample] | (view << _VIEW_SHIFT), batch_size=batch_size, rank=rank, world=world)
        return with_views(mine, recipe.augment.views)

    return draws


def share_of(labels: Indices, share: float) -> Indices:
    """Rising positions of `share` of each class, rounded, at least one; the same ones for all seeds."""
    if share == 1.0:
        return np.arange(len(labels), dtype=np.int64)
    chance = uniform("order.share", 0, 0, np.arange(len(labels)))[:, 0]
    kept = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        kept.append(members[np.argsort(chance[members], kind="stable")][: max(1, round(share * len(members)))])
    return np.sort(np.concatenate(kept)).astype(np.int64)


def with_views(draws: Indices, views: int) -> Indices:
    """Each draw `views` times in a row: the views of an image stay together, on one rank."""
    if views == 1:
        return draws
    sample, view = unpack(np.repeat(draws, views))
    return sample | ((view * views + np.tile(np.arange(views), len(draws))) << _VIEW_SHIFT)


def training_draws(labels: Indices, *, order: Order, seed: int, epoch: int, repeats: int, batch_size: int) -> Indices:
    """The epoch's draws in global order, whole batches only; `unpack` gives (sample, view).

    With `repeats` = r each visited sample appears r times in a row, as different views, and the epoch keeps
    its length, so about one r-th of the samples is visited (repeated augmentation, thesis S3.4.5).

    Args:
        labels: [N] labels of the samples.
        order: in which they are visited.
        seed: the recipe's seed of the order.
        epoch: number of the epoch.
        repeats: views of each visited sample.
        batch_size: of the global batch.

    Raises:
        InterplayError: if there are fewer samples than one batch needs.
    """
    samples = len(labels)
    if samples < batch_size:
        raise InterplayError(
            f"data.batch_size={batch_size} is more than the {samples} training samples; lower data.batch_size"
        )
    length = samples // batch_size * batch_size
    visited, earlier = _visits(order, labels, seed, epoch)
    sample = np.repeat(visited, repeats)[:length]
    view = (earlier[:, None] * repeats + np.arange(repeats)).reshape(-1)[:length]
    return sample | (view << _VIEW_SHIFT)


def _visits(order: Order, labels: Indices, seed: int, epoch: int) -> tuple[Indices, Indices]:
    """[N] samples in the epoch's order, and how often each was visited earlier in it."""
    samples = len(labels)
    once = np.zeros(samples, dtype=np.int64)
    if isinstance(order, Sequential):
        return np.arange(samples, dtype=np.int64), once
    shuffled = permutation("order", seed, epoch, samples)
    if isinstance(order, Shuffle):
        return shuffled, once
    if isinstance(order, QuasiRandom):
        blocks = -(-samples // order.block)
        place = np.empty(blocks, dtype=np.int64)
        place[permutation("order.blocks", seed, epoch, blocks)] = np.arange(blocks)
        group = place[shuffled // order.block] // order.window
        return shuffled[np.argsort(group, kind="stable")], once
    return _balanced(shuffled, labels, seed, epoch)


def _balanced(shuffled: Indices, labels: Indices, seed: int, epoch: int) -> tuple[Indices, Indices]:
    """As `_visits`: every class gets its equal share of N visits, one more for some of them."""
    classes = np.unique(labels)
    share = np.full(len(classes), len(labels) // len(classes))
    share[permutation("order.classes", seed, epoch, len(classes))[: len(labels) % len(classes)]] += 1
    visited, earlier = [], []
    for label, visits in zip(classes, share, strict=True):
        members = shuffled[labels[shuffled] == label]
        turn = np.arange(visits)
        visited.append(members[turn % len(members)])
        earlier.append(turn // len(members))
    mixed = permutation("order.balanced", seed, epoch, len(labels))
    return np.concatenate(visited)[mixed], np.concatenate(earlier)[mixed]


def unpack(draws: Indices) -> tuple[Indices, Indices]:
    """(sample, view) of each draw."""
    return draws & ((1 << _VIEW_SHIFT) - 1), draws >> _VIEW_SHIFT


def shard(draws: Indices, *, batch_size: int, rank: int, world: int) -> Indices:
    """The draws of one rank: its part of every global batch, see `part_of_batch`.

    Image i of a global batch is mixed with image B-1-i (mixup, CutMix), so a rank gets both: reversing its
    part of the batch finds every partner, and the pairs are the same for any number of ranks. Repeated views
    of a sample are neighbours and so go to different ranks.
    """
    if world == 1:
        return draws
    first_half = np.arange(batch_size // 2)[rank::world]
    positions = np.concatenate([first_half, batch_size - 1 - first_half[::-1]])
    return draws.reshape(-1, batch_size)[:, positions].reshape(-1)


def part_of_batch(batch_size: int, *, rank: int, world: int) -> int:
    """Images of a global batch that one rank has: pairs are dealt out, so that ranks differ by at most one pair."""
    return batch_size if world == 1 else 2 * len(range(rank, batch_size // 2, world))


def check_split(recipe: Recipe, world: int) -> None:
    """Refuses a number of workers among which the batch cannot be shared out.

    Raises:
        InterplayError: saying which batches or workers can be.
    """
    batch_size, pairs = recipe.data.batch_size, recipe.data.batch_size // 2
    if world == 1:
        return
    if batch_size % 2:
        raise InterplayError(
            f"data.batch_size={batch_size} cannot be split into pairs over {world} workers; use an even one"
        )
    if pairs < world:
        raise InterplayError(
            f"data.batch_size={batch_size} has {pairs} pairs of images for {world} workers; use {pairs} or fewer"
        )
    if pairs % world and isinstance(recipe.embedding, LearntEmbedding):
        raise InterplayError(
            f"data.batch_size={batch_size} gives {world} workers different parts, and an embedding is learnt from "
            f"equal ones; use a multiple of {2 * world}"
        )


def evaluation_draws(samples: int, *, rank: int, world: int) -> Indices:
    """Every sample exactly once over all ranks; ranks differ by at most one sample."""
    return np.arange(rank, samples, world, dtype=np.int64)
