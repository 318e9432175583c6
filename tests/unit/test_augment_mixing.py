"""Mixup and CutMix against timm's, and what they draw."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import timm.data.mixup as timm_mixup
import torch
from scipy import stats

from interplay.augment import Keys, Mixing, MixingEach, draw_mixing, draw_mixing_each, mix
from interplay.counter_rng import beta
from interplay.data.order import shard
from interplay.errors import InterplayError
from interplay.recipe import Augment, Recipe
from tests.unit.augment_images import keys, photos

LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 0, 3])


@pytest.mark.parametrize(
    "mixing",
    [
        None,
        Mixing(0.3, None),
        Mixing(1.0 - 35 / 256, (4, 9, 2, 9)),
        Mixing(1.0 - 48 / 256, (13, 16, 0, 16)),
        Mixing(0.0, (0, 16, 0, 16)),
    ],
)
def test_mixing_a_batch_is_timms(monkeypatch: pytest.MonkeyPatch, mixing: Mixing | None) -> None:
    box = mixing.box if mixing else None
    drawn = (0.123 if box else mixing.share, box is not None) if mixing else (1.0, False)
    timms = timm_mixup.Mixup(mixup_alpha=1.0, cutmix_alpha=1.0, num_classes=5, label_smoothing=0.0)
    monkeypatch.setattr(timms, "_params_per_batch", lambda: drawn)
    monkeypatch.setattr(timm_mixup, "rand_bbox", lambda *_, **__: box)
    images = photos(8, 16).float()
    expected_images, expected_targets = timms(images.clone(), LABELS)
    mixed, targets = mix(images, LABELS, 5, mixing)
    torch.testing.assert_close(mixed, expected_images)
    torch.testing.assert_close(targets, expected_targets)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))


@pytest.mark.parametrize("mode", ["elem", "pair"])
@pytest.mark.parametrize("minmax", [None, (0.2, 0.8)])
@pytest.mark.parametrize("seed", range(4))
def test_mixing_each_is_timms(
    monkeypatch: pytest.MonkeyPatch, mode: str, minmax: tuple[float, float] | None, seed: int
) -> None:
    """timm given our shares and boxes, in the order in which it asks for them."""
    augment = Augment(mixup=0.8, cutmix=0.0 if minmax else 1.0, cutmix_minmax=minmax, mix_prob=0.8, mix_mode=mode)
    mixing = draw_mixing_each(augment, keys(8, seed=seed), 16)
    asked = 4 if mode == "pair" else 8
    shares, cut = mixing.share[:asked].astype(np.float32), mixing.cut[:asked]
    # timm wants a share for a cut image too, and replaces it by what the box leaves
    wanted = np.where(cut, np.float32(0.5), shares)
    boxes = iter(mixing.box[:asked][cut])
    timms = timm_mixup.Mixup(
        mixup_alpha=1.0, cutmix_alpha=1.0, cutmix_minmax=minmax, mode=mode, num_classes=5, label_smoothing=0.0
    )
    monkeypatch.setattr(timms, "_params_per_elem", lambda _: (wanted.copy(), cut))
    monkeypatch.setattr(timm_mixup, "rand_bbox", lambda *_, **__: tuple(next(boxes)))
    monkeypatch.setattr(timm_mixup, "rand_bbox_minmax", lambda *_, **__: tuple(next(boxes)))
    images = photos(8, 16).float()
    expected_images, expected_targets = timms(images.clone(), LABELS)
    mixed, targets = mix(images, LABELS, 5, mixing)
    torch.testing.assert_close(mixed, expected_images)
    torch.testing.assert_close(targets, expected_targets)
    assert next(boxes, None) is None


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_mix_leaves_its_arguments_alone(mode: Literal["batch", "pair", "elem"]) -> None:
    images = photos(8, 16).float()
    before = images.clone()
    for augment in (Augment(mixup=0.8, mix_mode=mode), Augment(cutmix=1.0, mix_mode=mode)):
        drawn: Mixing | MixingEach | None = draw_mixing(augment, 0, 0, 0, 16)
        if mode != "batch":
            drawn = draw_mixing_each(augment, keys(8), 16)
        mixed, _ = mix(images, LABELS, 5, drawn)
        assert not torch.equal(mixed, before)
        assert torch.equal(images, before)


HOW_OFTEN = pytest.mark.parametrize(
    ("mixup", "cutmix", "mix_prob", "switch_prob", "mixed", "cut"),
    [
        (0.8, 1.0, 1.0, 0.5, 1.0, 0.5),
        (0.8, 1.0, 0.7, 0.2, 0.7, 0.14),
        (0.8, 0.0, 0.4, 0.5, 0.4, 0.0),
        (0.0, 1.0, 0.4, 0.1, 0.4, 0.4),
        (0.0, 0.0, 1.0, 0.5, 0.0, 0.0),
    ],
)


@HOW_OFTEN
@pytest.mark.parametrize("minmax", [False, True])
@pytest.mark.parametrize("mode", ["batch", "elem"])
def test_how_often_images_are_mixed(
    mode: Literal["batch", "elem"],
    minmax: bool,
    mixup: float,
    cutmix: float,
    mix_prob: float,
    switch_prob: float,
    mixed: float,
    cut: float,
) -> None:
    how: dict[str, Any] = {"cutmix_minmax": (0.2, 0.8)} if minmax and cutmix else {"cutmix": cutmix}
    augment = Augment(mixup=mixup, mix_prob=mix_prob, mix_switch_prob=switch_prob, mix_mode=mode, **how)
    if mode == "batch":
        draws = [draw_mixing(augment, 0, epoch, step, 32) for epoch in range(10) for step in range(100)]
        found = [[d is not None, d is not None and d.box is not None] for d in draws]
    else:
        each = draw_mixing_each(augment, keys(1000), 32)
        found = np.stack([(each.share < 1.0) | each.cut, each.cut], axis=1)
    tolerance = 4 * 0.5 / len(found) ** 0.5
    shares = np.mean(found, axis=0)
    assert abs(shares[0] - mixed) <= (tolerance if 0 < mixed < 1 else 0)
    assert abs(shares[1] - cut) <= (tolerance if 0 < cut < 1 else 0)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8, 1.0, 3.0])
def test_shares_are_beta(alpha: float) -> None:
    batch = np.array([draw_mixing(Augment(mixup=alpha), 0, 0, step, 32).share for step in range(1000)])
    each = draw_mixing_each(Augment(mixup=alpha, mix_mode="elem"), keys(20000), 32).share
    for share in (batch, each):
        small = share < 0.5
        assert stats.binomtest(int(small.sum()), len(share)).pvalue > 1e-3
        # the smaller half: near 1 floats are too coarse for a small alpha
        assert stats.kstest(share[small], lambda x: 2.0 * stats.beta(alpha, alpha).cdf(x)).pvalue > 1e-3


def test_a_tiny_alpha_mixes_next_to_nothing() -> None:
    share = keys(500).beta("mixup", 1e-4)
    assert np.isfinite(share).all()
    assert (np.minimum(share, 1.0 - share) < 1e-6).mean() > 0.99


def test_cutmix_boxes_lie_in_the_image_and_correct_the_share() -> None:
    side, augment = 33, Augment(cutmix=1.0)
    uncut = 0
    for step in range(500):
        mixing = draw_mixing(augment, 3, 1, step, side)
        top, bottom, left, right = mixing.box
        assert 0 <= top <= bottom <= side
        assert 0 <= left <= right <= side
        assert mixing.share == 1.0 - (bottom - top) * (right - left) / side**2
        wanted = int(side * (1.0 - beta("cutmix", 1.0, 3, 1, step)) ** 0.5) // 2 * 2
        assert max(bottom - top, right - left) <= wanted
        if min(top, left) > 0 and max(bottom, right) < side:
            assert bottom - top == right - left == wanted
            uncut += 1
    assert uncut > 50


def test_boxes_of_each_image_are_distributed_as_those_of_batches() -> None:
    augment = Augment(cutmix=1.0)
    batch = np.array([draw_mixing(augment, 0, 0, step, 64).box for step in range(1000)])
    each = draw_mixing_each(augment, keys(4000), 64)
    for column in range(4):
        assert stats.ks_2samp(batch[:, column], each.box[:, column]).pvalue > 1e-3


def test_minmax_boxes_are_distributed_as_timms() -> None:
    state = np.random.get_state()
    np.random.seed(0)
    timms = np.array([timm_mixup.rand_bbox_minmax((3, 50, 50), (0.2, 0.7)) for _ in range(3000)])
    np.random.set_state(state)
    augment = Augment(cutmix_minmax=(0.2, 0.7))
    each = draw_mixing_each(augment, keys(3000), 50)
    batch = np.array([draw_mixing(augment, 0, 0, step, 50).box for step in range(1000)])
    for boxes in (each.box, batch):
        size = boxes[:, 1] - boxes[:, 0]
        assert (size.min(), size.max()) == (10, 34)
        assert boxes.min() >= 0
        assert boxes.max() <= 50
        for column in range(4):
            assert stats.ks_2samp(boxes[:, column], timms[:, column]).pvalue > 1e-3
    area = (each.box[:, 1] - each.box[:, 0]) * (each.box[:, 3] - each.box[:, 2])
    np.testing.assert_allclose(each.share, 1.0 - area / 2500)


def test_a_draw_depends_on_seed_epoch_and_step() -> None:
    augment = Augment(mixup=0.8)
    shares = {draw_mixing(augment, s, e, t, 32).share for s in range(3) for e in range(3) for t in range(3)}
    assert len(shares) == 27
    assert draw_mixing(augment, 1, 2, 3, 32) == draw_mixing(augment, 1, 2, 3, 32)


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("mode", ["pair", "elem"])
def test_ranks_mix_as_one_rank_does(mode: Literal["pair", "elem"], world: int) -> None:
    """Draws belong to images and partners stay together, so the global batch does not know how it was split."""
    batch, side = 16, 20
    augment = Augment(mixup=0.8, cutmix=1.0, mix_prob=0.9, mix_mode=mode)
    rng = np.random.default_rng(0)
    sample, view = rng.permutation(1000)[:batch], rng.integers(0, 3, batch)
    images, labels = photos(batch, side).float(), torch.from_numpy(rng.integers(0, 5, batch))

    def run(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        mixing = draw_mixing_each(augment, Keys(1, 2, sample[rows], view[rows]), side)
        return mix(images[rows], labels[rows], 5, mixing)

    whole = run(np.arange(batch))
    assert not torch.equal(whole[0], images)
    seen = []
    for rank in range(world):
        rows = shard(np.arange(batch), batch_size=batch, rank=rank, world=world)
        for part, expected in zip(run(rows), whole, strict=True):
            assert torch.equal(part, expected[rows])
        seen.extend(rows.tolist())
    assert sorted(seen) == list(range(batch))


def test_pairs_exchange_content() -> None:
    augment = Augment(mixup=0.8, cutmix=1.0, mix_mode="pair")
    images = photos(8, 16).float()
    mixed, targets = mix(images, LABELS, 5, draw_mixing_each(augment, keys(8), 16))
    torch.testing.assert_close(mixed + mixed.flip(0), images + images.flip(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(targets.sum(dim=0), torch.bincount(LABELS, minlength=5).float())


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"augment.cutmix_minmax": [0.2, 0.8], "augment.cutmix": 1.0}, "set augment.cutmix=0"),
        ({"augment.cutmix_minmax": [0.8, 0.2]}, "must rise"),
        ({"augment.mix_mode": "pairs"}, "did you mean 'pair'"),
        ({"augment.cutmix_minmax": [0.2, 0.8], "data.batch_size": 31}, "must be even"),
    ],
)
def test_mistakes_name_the_fix(changes: dict[str, Any], fix: str) -> None:
    with pytest.raises(InterplayError, match=fix):
        Recipe().with_(changes)
