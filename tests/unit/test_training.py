"""The training loop and its parts: against timm, against direct computation, and against itself when resumed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm.loss
import torch
from timm.optim import param_groups_weight_decay
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.augment import Normalise
from interplay.data import ArrayLoader, Batch, array_loaders
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe import (
    AdamW,
    BinaryCrossEntropy,
    Cosine,
    CrossEntropy,
    Lamb,
    RandAugment,
    Recipe,
    TimmModel,
)
from interplay.training import Diverged, Outcome, Ranks, State, evaluate, fit, load, save
from interplay.training.loss import make_loss
from interplay.training.optimiser import clip_gradients, make_optimiser, parameter_groups
from interplay.training.precision import autocast_dtype
from interplay.training.schedule import learning_rate, set_learning_rate

CPU = torch.device("cpu")
Splits = dict[str, tuple[np.ndarray, np.ndarray]]

EVERYTHING_RANDOM = {
    "model.drop_path": 0.2,
    "model.dropout": 0.1,
    "augment.policy": RandAugment(),
    "augment.color_jitter": 0.3,
    "augment.flip": 0.5,
    "augment.erasing": 0.3,
    "augment.mixup": 0.8,
    "augment.cutmix": 1.0,
    "augment.repeats": 2,
    "schedule.epochs": 3,
}


@pytest.fixture
def noisy(tiny: Recipe) -> Recipe:
    return tiny.with_(EVERYTHING_RANDOM)


def results(metrics: dict[str, float]) -> dict[str, float]:
    """What must not change from run to run: everything but time and memory."""
    return {k: v for k, v in metrics.items() if not k.startswith(("throughput/", "memory/"))}


def run(recipe: Recipe, splits: Splits, checkpoint: State | None = None, folder: Path | None = None) -> Run:
    reported: list[dict[str, float]] = []

    def report(metrics: dict[str, float], state: Any) -> None:
        reported.append(results(metrics))
        if folder is not None:
            save(state(), folder / f"{int(metrics['epoch'])}.pt")

    outcome = fit(recipe, array_loaders(splits, recipe), report=report, latest_checkpoint=lambda: checkpoint)
    return Run(outcome, reported)


class Run:
    """A finished job and what it reported."""

    def __init__(self, outcome: Outcome, reported: list[dict[str, float]]) -> None:
        self.outcome, self.reported = outcome, reported
        self.metrics, self.weights = results(outcome.metrics), outcome.state["model"]


def same_weights(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# --------------------------------------------------------------------------------------------- losses
@pytest.fixture
def logits() -> Tensor:
    return 3.0 * torch.randn(12, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(12) % 7


@pytest.fixture
def soft() -> Tensor:
    return torch.rand(12, 7, generator=torch.Generator().manual_seed(1)).softmax(dim=1)


def test_cross_entropy_is_timms_on_soft_targets(logits: Tensor, soft: Tensor) -> None:
    torch.testing.assert_close(
        make_loss(CrossEntropy())(logits, soft), timm.loss.SoftTargetCrossEntropy()(logits, soft)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_smoothing_is_timms(logits: Tensor, labels: Tensor, smoothing: float) -> None:
    ours = make_loss(CrossEntropy(smoothing=smoothing))(logits, F.one_hot(labels, 7).float())
    torch.testing.assert_close(ours, timm.loss.LabelSmoothingCrossEntropy(smoothing)(logits, labels))


@pytest.mark.parametrize("threshold", [None, 0.0, 0.15])
def test_binary_is_timms_on_soft_targets(logits: Tensor, soft: Tensor, threshold: float | None) -> None:
    timms = timm.loss.BinaryCrossEntropy(smoothing=0.0, target_threshold=threshold)
    torch.testing.assert_close(make_loss(BinaryCrossEntropy(threshold=threshold))(logits, soft), timms(logits, soft))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_binary_is_timms_on_labels(logits: Tensor, labels: Tensor, smoothing: float) -> None:
    ours = make_loss(BinaryCrossEntropy(smoothing=smoothing, threshold=None))(logits, F.one_hot(labels, 7).float())
    torch.testing.assert_close(ours, timm.loss.BinaryCrossEntropy(smoothing=smoothing)(logits, labels))


def test_every_class_in_a_mixed_image_counts_fully() -> None:
    targets = torch.tensor([[0.0, 0.01, 0.99]])
    ours = make_loss(BinaryCrossEntropy())(torch.zeros(1, 3), targets)
    torch.testing.assert_close(ours, torch.tensor(math.log(2.0)))
    pushed = make_loss(BinaryCrossEntropy())(torch.tensor([[-20.0, 20.0, 20.0]]), targets)
    assert float(pushed) < 1e-6


# ------------------------------------------------------------------------------------- learning rates
def timm_schedule(**settings: Any) -> CosineLRScheduler:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=3e-3)
    return CosineLRScheduler(optimiser, lr_min=1e-5, warmup_lr_init=1e-6, **settings)


@pytest.mark.parametrize(("epochs", "warmup"), [(6, 5), (20, 5), (300, 5), (10, 0)])
def test_learning_rate_is_timms_in_every_epoch(epochs: int, warmup: int) -> None:
    schedule = Cosine(epochs=epochs, warmup_epochs=warmup, warmup_lr=1e-6, min_lr=1e-5)
    timms = timm_schedule(t_initial=epochs, warmup_t=warmup)
    for epoch in range(epochs):
        for within in (0.0, 0.99):  # constant within an epoch
            assert learning_rate(schedule, 3e-3, epoch + within) == pytest.approx(timms._get_lr(epoch)[0], rel=1e-12)


def test_learning_rate_per_step_is_timms_per_update() -> None:
    epochs, steps = 8, 7
    schedule = Cosine(epochs=epochs, warmup_epochs=2, per="step")
    timms = timm_schedule(t_initial=epochs * steps, warmup_t=2 * steps, t_in_epochs=False)
    for update in range(epochs * steps):
        assert learning_rate(schedule, 3e-3, update / steps) == pytest.approx(timms._get_lr(update)[0], rel=1e-9)


def test_set_learning_rate_reaches_every_group(tiny: Recipe) -> None:
    optimiser = make_optimiser(tiny.optimiser, build(tiny.model, classes=5, image_size=16))
    set_learning_rate(optimiser, 0.125)
    assert [group["lr"] for group in optimiser.param_groups] == [0.125, 0.125]


# ----------------------------------------------------------------------------------------- optimisers
def names_in(group: dict[str, Any], model: nn.Module) -> set[str]:
    inside = {id(parameter) for parameter in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in inside}


def test_weight_decay_skips_vectors_and_positions(tiny: Recipe) -> None:
    model = build(tiny.model, classes=5, image_size=16)
    decayed, kept = parameter_groups(model, 0.05)
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.05, 0.0)
    vectors = {name for name, parameter in model.named_parameters() if parameter.ndim == 1}
    assert {"blocks.0.attn.scale.gamma", "head.bias", "neck.weight"} <= vectors
    places = {"stem.position.pos_embed", "blocks.tokens.pos_embed", "blocks.tokens.token"}
    assert names_in(kept, model) == vectors | places
    assert names_in(decayed, model) | names_in(kept, model) == {name for name, _ in model.named_parameters()}
    assert not names_in(decayed, model) & names_in(kept, model)


def test_parameter_groups_are_timms_for_a_timm_model() -> None:
    model = build(TimmModel(name="test_vit"), classes=5, image_size=160)
    ours = parameter_groups(model, 0.05)
    timms = param_groups_weight_decay(model, 0.05, no_weight_decay_list=model.no_weight_decay())
    by_decay = {group["weight_decay"]: names_in(group, model) for group in timms}
    assert {group["weight_decay"]: names_in(group, model) for group in ours} == by_decay


def test_models_may_name_a_pattern(tiny: Recipe) -> None:
    model = build(tiny.model, classes=5, image_size=16)
    model.no_weight_decay = lambda: {"blocks.1.*"}  # as timm's XCiT does
    decayed = names_in(parameter_groups(model, 0.05)[0], model)
    assert "blocks.0.attn.mix.qkv.weight" in decayed
    assert not [name for name in decayed if name.startswith("blocks.1.")]


def test_frozen_parameters_are_left_out(tiny: Recipe) -> None:
    model = build(tiny.model, classes=5, image_size=16)
    model.head.requires_grad_(False)
    assert not {"head.weight", "head.bias"} & set().union(*(names_in(g, model) for g in parameter_groups(model, 0.1)))


def after_two_steps(recipe: AdamW | Lamb, scale: float) -> Tensor:
    """A weight after a step with a small gradient and one with a gradient of norm `scale`."""
    model = nn.Linear(4, 4, bias=False)
    nn.init.constant_(model.weight, 0.5)
    optimiser = make_optimiser(recipe, model)
    direction = torch.linspace(-1.0, 2.0, 16).view(4, 4)
    for norm, pattern in ((0.3, direction.flip(0)), (scale, direction)):
        model.weight.grad = norm * pattern / pattern.norm()
        clip_gradients(recipe, model)
        optimiser.step()
    return model.weight.detach()


@pytest.mark.parametrize("make", [AdamW, Lamb])
def test_the_gradients_norm_is_clipped(make: type[AdamW] | type[Lamb]) -> None:
    clipped, free = make(lr=0.1, clip_grad=1.0), make(lr=0.1, clip_grad=None)
    torch.testing.assert_close(after_two_steps(clipped, 500.0), after_two_steps(free, 1.0))
    torch.testing.assert_close(after_two_steps(clipped, 0.7), after_two_steps(free, 0.7))
    assert not torch.allclose(after_two_steps(free, 500.0), after_two_steps(free, 1.0))


# ----------------------------------------------------------------------------------------- evaluation
@pytest.fixture
def judged(tiny: Recipe, random_splits: Splits) -> tuple[nn.Module, ArrayLoader, Normalise]:
    """A model of 12 classes, so that the top 5 are not all of them, and 33 samples in batches of 32 and 1."""
    recipe = tiny.with_({"model.dropout": 0.5, "model.drop_path": 0.5})
    model = build(recipe.model, classes=12, image_size=16)
    loader = ArrayLoader(*random_splits["val"], recipe, training=False)
    return model, loader, Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), CPU)


@torch.inference_mode()
def test_evaluation_is_exact(judged: tuple[nn.Module, ArrayLoader, Normalise]) -> None:
    model, loader, normalise = judged
    batches = list(loader.epoch(0))
    assert [len(batch.labels) for batch in batches] == [32, 1]
    labels = torch.cat([batch.labels for batch in batches])
    logits = torch.cat([model.eval()(normalise(batch.images)) for batch in batches])
    ranks = (logits > logits.gather(1, labels[:, None])).sum(dim=1)
    model.train()
    scores = evaluate(model, loader, normalise, device=CPU, ranks=Ranks())
    assert scores["top1"] == 100.0 * int((ranks < 1).sum()) / 33
    assert scores["top5"] == 100.0 * int((ranks < 5).sum()) / 33
    assert scores["top1"] < scores["top5"] < 100.0
    assert scores["loss"] == pytest.approx(float(F.cross_entropy(logits.double(), labels)), rel=1e-6)
    assert model.training


class LosesOne:
    """A loader whose last batch never comes."""

    def __init__(self, loader: ArrayLoader) -> None:
        self._loader, self.samples = loader, loader.samples

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        yield from list(self._loader.epoch(epoch))[:-1]


def test_a_lost_sample_is_noticed(judged: tuple[nn.Module, ArrayLoader, Normalise]) -> None:
    model, loader, normalise = judged
    with pytest.raises(RuntimeError, match="32 of 33"):
        evaluate(model, LosesOne(loader), normalise, device=CPU, ranks=Ranks())


# ------------------------------------------------------------------------------------------------ fit
def test_a_resumed_run_is_bit_exact(noisy: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    whole = run(noisy, random_splits, folder=tmp_path)
    assert [metrics["epoch"] for metrics in whole.reported] == [1, 2, 3]
    for epoch in (1, 2, 3):
        resumed = run(noisy, random_splits, load(tmp_path / f"{epoch}.pt"))
        assert resumed.reported == whole.reported[epoch:]
        assert resumed.metrics == whole.metrics
        assert same_weights(resumed.weights, whole.weights)
        assert resumed.outcome.samples_seen == 96 * (3 - epoch)
        assert (resumed.outcome.first_step_at is None) == (epoch == 3)


def test_a_resumed_lamb_run_is_bit_exact(noisy: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    recipe = noisy.with_({"optimiser": Lamb(), "loss": BinaryCrossEntropy()})
    whole = run(recipe, random_splits, folder=tmp_path)
    resumed = run(recipe, random_splits, load(tmp_path / "2.pt"))
    assert resumed.metrics == whole.metrics
    assert same_weights(resumed.weights, whole.weights)


def test_the_same_recipe_twice_is_the_same(noisy: Recipe, random_splits: Splits) -> None:
    first = run(noisy, random_splits)
    torch.rand(7)  # what happened before in this process does not matter
    second = run(noisy, random_splits)
    assert first.reported == second.reported
    assert first.metrics == second.metrics
    assert same_weights(first.weights, second.weights)


@pytest.mark.parametrize("path", ["seeds.init", "seeds.order", "seeds.augment"])
def test_every_seed_matters(noisy: Recipe, random_splits: Splits, path: str) -> None:
    short = noisy.with_({"schedule.epochs": 2})
    assert run(short, random_splits).metrics != run(short.with_({path: 1}), random_splits).metrics


def test_what_is_reported(tiny: Recipe, random_splits: Splits) -> None:
    recipe = tiny.with_({"schedule.epochs": 3, "evaluation.every": 2})
    finished = run(recipe, random_splits)
    evaluated = {"val/top1", "val/top5", "val/loss"}
    assert [evaluated <= metrics.keys() for metrics in finished.reported] == [False, True, True]
    assert not any(name.startswith("test/") for metrics in finished.reported for name in metrics)
    assert {"train/loss", "train/lr", "test/top1"} | evaluated <= finished.metrics.keys()
    assert finished.outcome.metrics["throughput/images_per_s"] > 0
    assert finished.outcome.state["epoch"] == 3


def test_training_learns(tiny: Recipe, random_splits: Splits) -> None:
    finished = run(tiny.with_({"schedule.epochs": 16}), random_splits)
    assert finished.reported[-1]["train/loss"] < 0.7 * finished.reported[0]["train/loss"]
    assert finished.metrics["test/top1"] > 40.0  # chance is 20


def test_an_absurd_learning_rate_diverges(tiny: Recipe, random_splits: Splits) -> None:
    recipe = tiny.with_({"optimiser.lr": 1e30, "schedule.warmup_epochs": 0})
    reported: list[dict[str, float]] = []
    with pytest.raises(Diverged, match="in epoch 0") as raised:
        fit(recipe, array_loaders(random_splits, recipe), report=lambda metrics, _: reported.append(metrics))
    assert raised.value.epoch == 0
    assert not reported


def test_bf16_runs_on_cpu(tiny: Recipe, random_splits: Splits) -> None:
    full, half = (run(tiny.with_({"precision": precision}), random_splits) for precision in ("fp32", "bf16"))
    assert half.metrics["train/loss"] == pytest.approx(full.metrics["train/loss"], rel=0.05)
    assert half.metrics["train/loss"] != full.metrics["train/loss"]
    assert all(weight.dtype == torch.float32 for weight in half.weights.values())
    assert autocast_dtype(tiny, CPU) is None


# ---------------------------------------------------------------------------------------- checkpoints
@pytest.fixture
def checkpoint(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> Path:
    run(tiny.with_({"schedule.epochs": 2}), random_splits, folder=tmp_path)
    return tmp_path / "1.pt"


@pytest.mark.parametrize("change", [{"optimiser.lr": 1e-4}, {"seeds.augment": 3}, {"schedule.epochs": 5}])
def test_a_checkpoint_of_another_recipe_is_refused(
    tiny: Recipe, random_splits: Splits, checkpoint: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(InterplayError, match="another recipe"):
        run(tiny.with_(change), random_splits, load(checkpoint))


def test_names_do_not_make_another_recipe(tiny: Recipe, random_splits: Splits, checkpoint: Path) -> None:
    renamed = tiny.with_({"name": "row of another study", "data.dataset": "/elsewhere/digits.beton"})
    assert run(renamed, random_splits, load(checkpoint)).metrics == run(tiny, random_splits).metrics


def test_saving_is_atomic(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(checkpoint)

    def breaks(state: State, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", breaks)
        with pytest.raises(OSError, match="no space"):
            save(before | {"epoch": 2}, checkpoint)
    assert load(checkpoint)["epoch"] == 1
    save(before | {"epoch": 2}, checkpoint)
    assert load(checkpoint)["epoch"] == 2
    assert not list(checkpoint.parent.glob("*.tmp"))


def test_saving_makes_the_folder(checkpoint: Path, tmp_path: Path) -> None:
    state = load(checkpoint)
    save(state, tmp_path / "new" / "folder" / "last.pt")
    assert same_weights(load(tmp_path / "new" / "folder" / "last.pt")["model"], state["model"])


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match=r"there is no checkpoint .*nowhere\.pt"):
        load(tmp_path / "nowhere.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 cut short", b"\x80\x02}q\x00."])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.pt"
    path.write_bytes(content)
    with pytest.raises(InterplayError, match=r"damaged\.pt is not a checkpoint") as raised:
        load(path)
    assert "\n" not in str(raised.value)


def test_a_truncated_checkpoint_is_refused(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-500])
    with pytest.raises(InterplayError, match="is not a checkpoint"):
        load(checkpoint)


@pytest.mark.parametrize("foreign", [[1, 2], {"model": {}}, {"state_dict": {"w": torch.zeros(2)}}, Path("code")])
def test_a_foreign_file_is_refused(tmp_path: Path, foreign: Any) -> None:
    path = tmp_path / "foreign.pt"
    torch.save(foreign, path)
    with pytest.raises(InterplayError, match=r"foreign\.pt is not a checkpoint"):
        load(path)
