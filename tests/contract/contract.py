"""What every model keeps to, and what parity with a reference means. Families subclass `ModelContract`."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.models import Backbone, build, parameter_count
from interplay.models.parts.drop_path import DropPath
from interplay.models.pretrained import translate
from interplay.recipe import Model

CLASSES, SIDE = 7, 32


def images(count: int = 4, side: int = SIDE) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


class ModelContract:
    """Subclass, and set `make` to a small model node of a recipe and `parameters` to its count.

    `resizes`: the model can be told of another image size. `independent`: in training too, an image does not
    see the others of its batch (false with batch norm). `traced`: changes of what is compiled; one block is all.
    """

    make: ClassVar[Model]
    parameters: ClassVar[int]
    resizes: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    traced: ClassVar[dict[str, Any]] = {"depth": 1}

    def model(self, seed: int = 0, side: int = SIDE, **changes: Any) -> nn.Module:
        return build(self.make.model_copy(update=changes), classes=CLASSES, image_size=side, seed=seed)

    def test_images_become_logits(self) -> None:
        logits = self.model()(images())
        assert logits.shape == (4, CLASSES)
        assert logits.isfinite().all()

    def test_one_image_is_a_batch(self) -> None:
        assert self.model().eval()(images(1)).shape == (1, CLASSES)

    def test_the_gradient_reaches_every_parameter(self) -> None:
        model = self.model()
        F.cross_entropy(model(images()), torch.arange(4)).backward()
        dead = [
            name
            for name, p in model.named_parameters()
            if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)
        ]
        assert not dead

    @torch.no_grad()
    def test_an_image_does_not_see_the_others_in_evaluation(self) -> None:
        model, x = self.model(drop_path=0.3).eval(), images()
        torch.testing.assert_close(model(x)[2:3], model(x[2:3]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(x.flip(0)).flip(0), model(x), rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_different_images_get_different_logits(self) -> None:
        logits = self.model().eval()(images())
        assert (logits[0] - logits[1]).abs().max() > 1e-4

    def test_the_seed_alone_decides_the_weights(self) -> None:
        first = self.model(seed=3).state_dict()
        torch.manual_seed(99)
        assert all(torch.equal(v, first[k]) for k, v in self.model(seed=3).state_dict().items())
        other = self.model(seed=4).state_dict()
        assert any(not torch.equal(v, first[k]) for k, v in other.items())

    def test_building_leaves_the_global_generator_alone(self) -> None:
        torch.manual_seed(0)
        expected = torch.rand(1)
        torch.manual_seed(0)
        self.model()
        assert torch.equal(torch.rand(1), expected)

    @torch.no_grad()
    def test_a_state_dict_brings_the_same_model_back(self) -> None:
        model, other = self.model(seed=0).eval(), self.model(seed=1).eval()
        other.load_state_dict(model.state_dict(), strict=True)
        assert torch.equal(model(images()), other(images()))

    @torch.no_grad()
    def test_drop_path_acts_in_training_only(self) -> None:
        dropping, plain, x = self.model(drop_path=0.9), self.model(drop_path=0.0), images(16)
        torch.testing.assert_close(dropping.eval()(x), plain.eval()(x))
        torch.manual_seed(0)
        assert not torch.equal(dropping.train()(x), plain.train()(x))

    def test_drop_path_of_one_leaves_no_branch_and_no_nan(self) -> None:
        model = self.model(drop_path=0.5)
        dropped = [module for module in model.modules() if isinstance(module, DropPath)]
        for module in dropped:
            module.rate = 1.0
        logits = model(images())
        assert logits.isfinite().all()
        logits.sum().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())

    def test_the_parameters_are_counted(self) -> None:
        assert parameter_count(self.model()) == self.parameters

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=["float64", "bfloat16"])
    def test_other_precisions(self, dtype: torch.dtype) -> None:
        model, x = self.model().eval(), images()
        expected = model(x)
        found = model.to(dtype)(x.to(dtype))
        assert found.dtype == dtype
        tolerance = 1e-4 if dtype == torch.float64 else 0.1
        assert (found.float() - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())

    @torch.no_grad()
    def test_channels_last_changes_nothing(self) -> None:
        model, x = self.model().eval(), images()
        expected = model(x)
        found = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)

    @torch.no_grad()
    def test_other_sizes(self) -> None:
        assert self.model(side=2 * SIDE).eval()(images(2, 2 * SIDE)).shape == (2, CLASSES)

    @torch.no_grad()
    def test_it_learns_of_another_size(self) -> None:
        if not self.resizes:
            pytest.skip("the model's size is not its own")
        model = self.model().eval()
        assert isinstance(model, Backbone)
        before = model(images())
        model.set_image_size(2 * SIDE)
        assert model(images(2, 2 * SIDE)).isfinite().all()
        model.load_state_dict(self.model(side=2 * SIDE).state_dict(), strict=True)  # the same shapes as built so
        model.set_image_size(2 * SIDE)  # again: nothing happens
        with pytest.raises(ValueError, match="not a multiple of the patch size"):
            model.set_image_size(2 * SIDE + 1)
        assert before.isfinite().all()

    def test_checkpointing_changes_no_gradient(self) -> None:
        plain, model = self.model(), self.model()
        if not isinstance(model, Backbone):
            pytest.skip("not one of our backbones")
        model.set_grad_checkpointing()
        for one in (plain, model):
            one(images()).square().sum().backward()
        for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True):
            if q.grad is not None:
                torch.testing.assert_close(p.grad, q.grad, msg=name)

    @torch.no_grad()
    def test_intermediate_maps(self) -> None:
        model = self.model().eval()
        if not isinstance(model, Backbone):
            pytest.skip("not one of our backbones")
        x, grid = images(2), SIDE // model.patch_size
        final, maps = model.forward_intermediates(x)
        assert len(maps) == model.depth
        assert {m.shape for m in maps} == {(2, model.num_features, grid, grid)}
        torch.testing.assert_close(model.forward_head(final), model(x))
        (last,) = model.forward_intermediates(x, indices=1, intermediates_only=True, stop_early=True)
        assert torch.equal(last, maps[-1])
        tokens = model.forward_intermediates(x, indices=[0], output_fmt="NLC", intermediates_only=True)[0]
        assert torch.equal(tokens.transpose(1, 2).reshape(maps[0].shape), maps[0])

    @torch.no_grad()
    def test_vectors_before_the_classifier(self) -> None:
        model = self.model().eval()
        if not isinstance(model, Backbone):
            pytest.skip("not one of our backbones")
        features = model.forward_features(images())
        assert model.forward_head(features, pre_logits=True).shape == (4, model.num_features)
        torch.testing.assert_close(model.forward_head(features), model(images()))

    def test_what_weight_decay_skips_exists(self) -> None:
        model = self.model()
        if isinstance(model, Backbone):
            assert model.no_weight_decay() <= {name for name, _ in model.named_parameters()}

    @pytest.mark.slow
    def test_compiled_equals_eager(self) -> None:
        """In one graph. The backend runs eager kernels: what is checked is that the model can be traced."""
        torch.compiler.reset()
        model, x = self.model(**self.traced), images()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compiled(x), model(x))
        model.eval()
        with torch.no_grad():
            torch.testing.assert_close(compiled(x), model(x))


# --------------------------------------------------------------------------------------------- parity
def check_parity(theirs: nn.Module, recipe: Model, *, side: int = SIDE, training: bool = True) -> None:
    """The reference's weights give the reference's outputs and gradients, to 1e-10 of the largest entry.

    `theirs` must have `CLASSES` outputs and no drop path; its weights are changed, because many start where a
    mistake would not show: biases at 0, LayerScale near it.
    """
    torch.manual_seed(0)
    theirs = theirs.double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * min(0.05, 1 / math.sqrt(max(parameter.shape, default=1))))
    ours = build(recipe, classes=CLASSES, image_size=side).double()
    assert isinstance(ours, Backbone)
    ours.load_state_dict(translate(theirs.state_dict(), ours), strict=True)
    x = images(2, side).double()
    with torch.no_grad():
        assert_equal(ours.eval()(x), theirs.eval()(x), "evaluation")
    if training:
        ours.train()
        theirs.train()
    expected, found = theirs(x), ours(x)
    assert_equal(found, expected, "training")
    expected.logsumexp(dim=1).sum().backward()
    found.logsumexp(dim=1).sum().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    translated = translate(gradients, ours)
    largest = max(gradient.abs().max().item() for gradient in gradients.values())
    for name, parameter in ours.named_parameters():
        assert_equal(parameter.grad, translated[name], name, floor=1e-4 * largest)


def two_blocks(theirs: Any) -> nn.Module:
    """Of a large model of timm, whose blocks are alike."""
    theirs.blocks = theirs.blocks[:2]
    model: nn.Module = theirs
    return model


def assert_equal(found: Tensor | None, expected: Tensor | None, what: str, floor: float = 0.0) -> None:
    """`floor`: what counts as large; a gradient that is 0 but for rounding is compared with it."""
    assert found is not None, what
    assert expected is not None, what
    assert (found - expected).abs().max() <= 1e-10 * max(expected.abs().max().item(), floor), what
