"""AugMix draws what timm's draws, and mixes chains with its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import timm.data.auto_augment as timm_ops
from PIL import Image
from scipy import stats

from interplay.augment import apply_policy, levels
from interplay.augment.aug_mix import Chains, draw_aug_mix
from interplay.augment.operations import Layer, apply_layer
from interplay.recipe import AugMix
from tests.unit.augment_images import from_pil, keys, photos, to_pil

pytestmark = pytest.mark.usefixtures("seeded")  # what timm draws

CONFIGS = {
    "augmix-m3-w3": AugMix(),
    "augmix-m5-w4-d2": AugMix(magnitude=5.0, width=4, depth=2),
    "augmix-m8-w2-mstd2-a0.5": AugMix(magnitude=8.0, std=2.0, width=2, alpha=0.5),
}
Drawn = list[list[tuple[str, float]]]
"""For each image, the operations of all chains in order, with their values."""


def ours(drawn: Chains, count: int) -> Drawn:
    images: Drawn = [[] for _ in range(count)]
    for chain in drawn.chains:
        for layer in chain:
            for image in np.flatnonzero(layer.choice >= 0):
                images[image].append((layer.names[layer.choice[image]], float(layer.value[image])))
    return images


def timms(config: str, count: int) -> tuple[Drawn, np.ndarray, np.ndarray]:
    """Its operations, the largest weight of a chain, and the share of the mixture."""
    seen: list[tuple[str, float]] = []
    transform = timm_ops.augment_and_mix_transform(config, {"translate_const": 100})

    def note(op: timm_ops.AugmentOp) -> None:
        def noted(image: Image.Image, *values: float, **_: Any) -> Image.Image:
            value = float(values[0]) if values else 0.0
            seen.append((levels.TIMM[op.name].name, max(1.0, value) if "Posterize" in op.name else value))
            return image

        op.aug_fn = noted

    for op in transform.ops:
        note(op)
    weights, shares, images = [], [], []
    basic = transform._apply_basic

    def applied(image: Image.Image, mixing_weights: np.ndarray, share: np.float32) -> Image.Image:
        weights.append(float(mixing_weights.max()))
        shares.append(float(share))
        return basic(image, mixing_weights, share)

    transform._apply_basic = applied
    for _ in range(count):
        seen.clear()
        transform(Image.new("RGB", (2, 2)))
        images.append(list(seen))
    return images, np.array(weights), np.array(shares)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_draws_are_distributed_as_timms(config: str) -> None:
    """Numbers of operations by chi-square, the rest by Kolmogorov-Smirnov; each at 1 in 10,000 per comparison."""
    count = 2500
    drawn = draw_aug_mix(CONFIGS[config], keys(count))
    one, (other, weights, shares) = ours(drawn, count), timms(config, count)
    np.testing.assert_allclose(drawn.weights.sum(axis=1), 1.0)
    assert stats.ks_2samp(drawn.weights.max(axis=1), weights).pvalue > 1e-4
    assert stats.ks_2samp(drawn.share, shares).pvalue > 1e-4
    lengths = [np.bincount([len(image) for image in images], minlength=13) for images in (one, other)]
    table = np.array(lengths)[:, np.sum(lengths, axis=0) > 20]
    assert table.shape[1] == 1 or stats.chi2_contingency(table).pvalue > 1e-4
    compared = 0
    for name in {levels.TIMM[n].name for n in levels.AUG_MIX}:
        values = [np.array([v for image in images for n, v in image if n == name]) for images in (one, other)]
        assert abs(len(values[0]) - len(values[1])) < 6.0 * (len(values[0]) + len(values[1])) ** 0.5
        if name not in ("autocontrast", "equalise"):  # they take no value
            compared += 1
            assert stats.ks_2samp(*(np.round(v, 9) for v in values)).pvalue > 1e-4, name
    assert compared == 11


def test_every_chain_has_draws_of_its_own() -> None:
    chains = draw_aug_mix(AugMix(), keys(2000)).chains
    choices = [layer.choice for chain in chains for layer in chain]
    for number, one in enumerate(choices):
        for other in choices[:number]:
            both = (one >= 0) & (other >= 0)
            assert 0.03 < (one == other)[both].mean() < 0.14  # 1 in 13


def single(layer: Layer, row: int) -> Layer:
    return Layer(layer.names, layer.choice[row : row + 1], layer.value[row : row + 1])


@pytest.mark.parametrize("policy", CONFIGS.values(), ids=CONFIGS)
def test_chains_are_mixed_with_timms_arithmetic(policy: AugMix, monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's own function, given our chains, weights and shares."""
    images = photos(12, 31)
    drawn, out = draw_aug_mix(policy, keys(12)), apply_policy(policy, images, keys(12))
    for row in range(12):
        chains = [[single(layer, row) for layer in chain if layer.choice[row] >= 0] for chain in drawn.chains]
        queue = iter(chains)

        def chosen(*_: Any, queue: Iterator[list[Layer]] = queue, **__: Any) -> list[Any]:
            def operation(layer: Layer) -> Any:
                return lambda image: to_pil(apply_layer(from_pil(image).byte()[None], layer)[0])

            return [operation(layer) for layer in next(queue)]

        with monkeypatch.context() as patch:
            patch.setattr(np.random, "choice", chosen)
            theirs = timm_ops.AugMixAugment([], width=policy.width)._apply_basic(
                to_pil(images[row]), drawn.weights[row].astype(np.float32), np.float32(drawn.share[row])
            )
        difference = (out[row].short() - from_pil(theirs)).abs()
        assert difference.max() <= 1  # a sum on the edge of a level
        assert (difference > 0).float().mean() < 1e-3
