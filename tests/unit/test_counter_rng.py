"""Counter-based random numbers: uniform, unrelated between purposes, and a function of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from interplay.counter_rng import beta, normal, permutation, torch_seed, uniform

SAMPLES = np.arange(20_000)


def draws(operation: str = "crop", seed: int = 0, epoch: int = 0, view: int = 0) -> NDArray[np.float64]:
    return uniform(operation, seed, epoch, SAMPLES, view, count=2)


BASE = draws()


@pytest.mark.parametrize(
    "numbers",
    [
        BASE[:, 0],
        BASE[:, 1],
        uniform("crop", 0, 0, 5, count=20_000)[0],
        np.array([uniform("crop", 0, epoch, 5)[0, 0] for epoch in range(2_000)]),
        np.array([uniform("crop", seed, 0, 5)[0, 0] for seed in range(2_000)]),
        uniform("crop", 0, 0, 5, SAMPLES)[:, 0],
        uniform("crop", 0, 0, SAMPLES + 2**39)[:, 0],
    ],
    ids=["sample", "second", "count", "epoch", "seed", "view", "large index"],
)
def test_numbers_are_uniform_along_every_word(numbers: NDArray[np.float64]) -> None:
    assert numbers.min() >= 0.0
    assert numbers.max() < 1.0
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / np.sqrt(len(numbers))


@pytest.mark.parametrize(
    "other",
    [
        draws(seed=1),
        draws(seed=2**62),
        draws(epoch=1),
        draws(view=1),
        draws(operation="flip"),
        BASE[:, ::-1],
        uniform("crop", 0, 0, SAMPLES + len(SAMPLES)),
    ],
    ids=["seed", "large seed", "epoch", "view", "operation", "count", "sample"],
)
def test_numbers_for_another_purpose_are_unrelated(other: NDArray[np.float64]) -> None:
    assert abs(np.corrcoef(BASE[:, 0], other[:, 0])[0, 1]) < 4 / np.sqrt(len(SAMPLES))
    assert not np.isin(BASE[:, 0], other[:, 0]).any()
    # the joint distribution too: counts on an 8 x 8 grid
    grid = np.histogram2d(BASE[:, 0], other[:, 0], bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(grid.ravel()).pvalue > 1e-3


def test_words_are_not_interchangeable() -> None:
    """Seed 1 of epoch 0 is not seed 0 of epoch 1, and so on."""
    words = [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert len({uniform("crop", *w)[0, 0] for w in words}) == 4


def test_a_number_does_not_depend_on_its_batch() -> None:
    rng = np.random.default_rng(0)
    batch = rng.permutation(SAMPLES)[:97]
    np.testing.assert_array_equal(uniform("crop", 0, 0, batch, count=2), BASE[batch])
    for sample in batch[:5]:
        np.testing.assert_array_equal(uniform("crop", 0, 0, sample, count=2)[0], BASE[sample])
        np.testing.assert_array_equal(uniform("crop", 0, 0, sample, count=9)[0, :2], BASE[sample])


def test_values_are_stable() -> None:
    """Stored results rest on these bits: a change needs a new `RESULTS_VERSION`."""
    assert uniform("crop", 3, 5, [0, 7], [0, 1]).ravel().tolist() == [0.7370440283058166, 0.6470357733851198]
    assert permutation("order", 0, 0, 8).tolist() == [2, 5, 3, 7, 6, 4, 1, 0]


@pytest.mark.parametrize("length", [0, 1, 2, 1797])
@pytest.mark.parametrize("epoch", [0, 1])
def test_a_permutation_holds_every_number_once(length: int, epoch: int) -> None:
    assert sorted(permutation("order", 0, epoch, length)) == list(range(length))


def test_permutations_differ_between_seeds_and_epochs() -> None:
    orders = {tuple(permutation("order", seed, epoch, 100)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_every_permutation_is_as_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(3_000):
        order = tuple(int(i) for i in permutation("order", 0, epoch, 3))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


def test_normals_are_normal() -> None:
    numbers = normal("noise", 0, 0, SAMPLES, count=2)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(numbers.T)[0, 1]) < 4 / np.sqrt(len(SAMPLES))


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0])
def test_betas_are_beta(alpha: float) -> None:
    numbers = [beta("mixup", alpha, 0, 0, step) for step in range(1_000)]
    assert stats.kstest(numbers, stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_torch_seeds_fit_torch_and_differ() -> None:
    seeds = {torch_seed(op, seed, 0, stream) for op in ("init", "drop") for seed in range(3) for stream in range(3)}
    assert len(seeds) == 18
    assert all(0 <= s < 2**63 for s in seeds)
