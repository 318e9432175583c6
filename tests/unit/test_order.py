"""In which order samples are visited, and how a batch is shared by ranks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from timm.data.distributed_sampler import RepeatAugSampler

from interplay.data.order import epoch_draws, evaluation_draws, part_of_batch, shard, training_draws, unpack
from interplay.errors import InterplayError
from interplay.recipe import ClassBalanced, LearntEmbedding, NoInstance, QuasiRandom, Recipe, Sequential, Shuffle
from interplay.recipe.tree import Order


def draws_of(samples: int, **settings: Any) -> NDArray[np.int64]:
    return training_draws(np.zeros(samples, dtype=np.int64), order=settings.pop("order", Shuffle()), **settings)


@pytest.mark.parametrize("repeats", [1, 2, 3, 4])
def test_repeated_augmentation_gives_each_visited_sample_all_views(repeats: int) -> None:
    sample, view = unpack(draws_of(103, seed=0, epoch=0, repeats=repeats, batch_size=12))
    assert len(sample) == 96
    whole = Counter(sample.tolist())
    assert set(list(whole.values())[:-1]) == {repeats}  # the last visited sample may be cut by the epoch's end
    assert len(whole) == -(-96 // repeats)
    assert len(set(zip(sample.tolist(), view.tolist(), strict=True))) == 96
    np.testing.assert_array_equal(view, np.arange(96) % repeats)


def test_epochs_and_seeds_have_other_orders_and_the_same_samples() -> None:
    orders = [draws_of(64, seed=s, epoch=e, repeats=1, batch_size=16) for s in (0, 1) for e in (0, 1)]
    assert len({tuple(o) for o in orders}) == 4
    assert all(sorted(o) == list(range(64)) for o in orders)


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize("world", [1, 2, 4, 5, 7])
def test_shards_are_the_global_batch_and_keep_mixing_pairs_together(world: int, repeats: int) -> None:
    draws = draws_of(100, seed=0, epoch=0, repeats=repeats, batch_size=24)
    sizes = [part_of_batch(24, rank=rank, world=world) for rank in range(world)]
    assert sum(sizes) == 24
    assert max(sizes) - min(sizes) <= 2
    shards = [
        shard(draws, batch_size=24, rank=rank, world=world).reshape(-1, size) for rank, size in enumerate(sizes)
    ]
    for number, batch in enumerate(draws.reshape(-1, 24)):
        assert sorted(np.concatenate([s[number] for s in shards])) == sorted(batch)
        partner = dict(zip(batch.tolist(), batch[::-1].tolist(), strict=True))
        for s in shards:
            assert [partner[d] for d in s[number].tolist()] == s[number][::-1].tolist()


def test_views_of_a_sample_go_to_different_ranks() -> None:
    draws = draws_of(64, seed=0, epoch=0, repeats=2, batch_size=16)
    for rank in (0, 1):
        for batch in shard(draws, batch_size=16, rank=rank, world=2).reshape(-1, 8):
            assert len(set(unpack(batch)[0].tolist())) == 8


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("samples", [0, 1, 5, 33])
def test_evaluation_visits_every_sample_once(samples: int, world: int) -> None:
    shards = [evaluation_draws(samples, rank=rank, world=world) for rank in range(world)]
    assert sorted(np.concatenate(shards)) == list(range(samples))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_fewer_samples_than_a_batch_are_refused() -> None:
    with pytest.raises(InterplayError, match=r"data.batch_size=64 is more than the 63 training samples; lower"):
        draws_of(63, seed=0, epoch=0, repeats=1, batch_size=64)


@pytest.mark.parametrize(
    ("changes", "world", "message"),
    [
        ({"data.batch_size": 31}, 4, "use an even one"),
        ({"data.batch_size": 6}, 4, "has 3 pairs of images for 4 workers; use 3 or fewer"),
        (
            {
                "data.batch_size": 30,
                "embedding": LearntEmbedding(instance=NoInstance()),
                "evaluation.retrieval": "nearest",
            },
            4,
            "gives 4 workers different parts, .*; use a multiple of 8",
        ),
    ],
)
def test_a_batch_that_ranks_cannot_share_is_refused(
    tiny: Recipe, changes: dict[str, Any], world: int, message: str
) -> None:
    with pytest.raises(InterplayError, match=message):
        epoch_draws(tiny.with_(changes), np.zeros(64, np.int64), training=True, rank=0, world=world)


@pytest.mark.parametrize("world", [1, 4])
@pytest.mark.parametrize("repeats", [1, 3])
def test_repeated_augmentation_is_the_official_samplers(
    repeats: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same shuffle gives the same multiset, also on one process; the sampler cuts the epoch at 256 samples."""
    samples = 5_000
    shuffled = torch.randperm(samples, generator=torch.Generator().manual_seed(7)).numpy()
    monkeypatch.setattr("interplay.data.order.permutation", lambda *_: shuffled)
    ours, _ = unpack(draws_of(samples, seed=0, epoch=7, repeats=repeats, batch_size=256))
    theirs: Counter[int] = Counter()
    for rank in range(world):
        sampler = RepeatAugSampler(range(samples), num_replicas=world, rank=rank, num_repeats=repeats)
        sampler.set_epoch(7)
        theirs.update(sampler)
    assert Counter(ours.tolist()) == theirs


ORDERS = [Shuffle(), Sequential(), QuasiRandom(block=7, window=3), ClassBalanced()]


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: o.kind)
def test_an_order_depends_on_seed_and_epoch_alone(order: Order) -> None:
    labels = np.arange(200) % 5
    one, other = (
        [
            training_draws(labels, order=order, seed=s, epoch=e, repeats=1, batch_size=20)
            for s in (0, 1)
            for e in (0, 1)
        ]
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, other)
    assert len({tuple(draws) for draws in one}) == (1 if order.kind == "sequential" else 4)
    assert all(sorted(draws) == list(range(200)) for draws in one)  # balanced classes: each sample once


def test_the_sequential_order_is_as_stored() -> None:
    draws = draws_of(50, order=Sequential(), seed=0, epoch=3, repeats=1, batch_size=10)
    np.testing.assert_array_equal(draws, np.arange(50))


def test_the_quasi_random_order_reads_few_blocks_at_a_time() -> None:
    draws = draws_of(1_000, order=QuasiRandom(block=10, window=5), seed=0, epoch=0, repeats=1, batch_size=100)
    assert sorted(draws) == list(range(1_000))
    for window in draws.reshape(-1, 50):
        assert len(set(window // 10)) == 5
        assert np.abs(np.diff(window)).min() != np.abs(np.diff(window)).max()
    windows = [tuple(sorted(set(window // 10))) for window in draws.reshape(-1, 50)]
    assert any(blocks[-1] - blocks[0] > 4 for blocks in windows)  # not neighbours


@pytest.mark.parametrize("epoch", [0, 1])
def test_balanced_classes_repeat_the_rare_ones_as_other_views(epoch: int) -> None:
    labels = np.repeat([0, 1, 2], [300, 80, 20])
    draws = training_draws(labels, order=ClassBalanced(), seed=0, epoch=epoch, repeats=1, batch_size=40)
    sample, view = unpack(draws)
    assert len(draws) == len(np.unique(draws)) == 400
    assert set(np.bincount(labels[sample])) <= {133, 134}
    assert view[labels[sample] == 0].max() == 0
    assert view[labels[sample] == 2].max() == 6  # 133 visits to 20 samples
    assert len(np.unique(sample[labels[sample] == 2])) == 20
