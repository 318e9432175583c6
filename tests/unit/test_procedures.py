"""What training procedures are made of: schedules, losses of a teacher, averages, groups, starts and steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from timm.optim._param_groups import param_groups_layer_decay
from timm.scheduler import StepLRScheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from interplay.data import array_loaders
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe import Constant, Ema, InverseSquareRoot, Recipe, Steps
from interplay.recipe.procedure import HardDistillation, SoftDistillation, Weights
from interplay.training import State, fit, load, save
from interplay.training.average import decay_per_step, make_average
from interplay.training.checkpoint import copied
from interplay.training.fit import Computing
from interplay.training.loss import make_objective, teacher_term
from interplay.training.optimiser import freeze, parameter_groups
from interplay.training.schedule import learning_rate

Splits = dict[str, tuple[np.ndarray, np.ndarray]]


def run(recipe: Recipe, splits: Splits, **settings: Any) -> tuple[dict[str, float], State]:
    outcome = fit(recipe, array_loaders(splits, recipe), **settings)
    kept = {k: v for k, v in outcome.metrics.items() if not k.startswith(("throughput/", "memory/"))}
    return kept, outcome.state


def checkpoint_of(recipe: Recipe, splits: Splits, folder: Path) -> Path:
    save(run(recipe, splits)[1], folder / "last.pt")
    return folder / "last.pt"


# ------------------------------------------------------------------------------------------- schedules
def test_steps_are_timms() -> None:
    schedule = Steps(epochs=90, every=30, factor=0.1, warmup_epochs=5, warmup_lr=1e-4)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    theirs = StepLRScheduler(
        optimiser, decay_t=30, decay_rate=0.1, warmup_t=5, warmup_lr_init=1e-4, warmup_prefix=False
    )
    for epoch in range(90):
        assert learning_rate(schedule, 0.5, epoch) == pytest.approx(theirs._get_lr(epoch)[0])


def test_the_inverse_square_root_falls_from_the_peak() -> None:
    schedule = InverseSquareRoot(epochs=100, warmup_epochs=4, per="step")
    assert learning_rate(schedule, 0.2, 4) == pytest.approx(0.2)
    assert learning_rate(schedule, 0.2, 16) == pytest.approx(0.1)
    assert learning_rate(schedule, 0.2, 6.25) == pytest.approx(0.2 * math.sqrt(4 / 6.25))


def test_a_constant_rate_is_constant_after_the_warmup() -> None:
    schedule = Constant(epochs=30, warmup_epochs=2, warmup_lr=0.0)
    assert [learning_rate(schedule, 5e-6, e) for e in (0, 1, 2, 29)] == pytest.approx([0, 2.5e-6, 5e-6, 5e-6])


# --------------------------------------------------------------------------------------------- teacher
def logits(seed: int) -> Tensor:
    return torch.randn(7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_soft_distillation_is_the_formula(tau: float) -> None:
    student, taught = logits(0), logits(1)
    p, q = (torch.exp(z / tau) / torch.exp(z / tau).sum(1, keepdim=True) for z in (taught, student))
    expected = tau**2 * (p * torch.log(p / q)).sum(1).mean()
    found = teacher_term(SoftDistillation(teacher=HERE, tau=tau), student, taught)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_hard_distillation_is_the_formula() -> None:
    student, taught = logits(0), logits(1)
    expected = -torch.stack([row.log_softmax(0)[t.argmax()] for row, t in zip(student, taught, strict=True)]).mean()
    found = teacher_term(HardDistillation(teacher=HERE), student, taught)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


HERE = Weights(checkpoint=__file__)


@pytest.mark.parametrize("heads", [1, 2])
def test_the_weight_divides_labels_and_teacher(tiny: Recipe, heads: int) -> None:
    """Of two answers the first learns the labels and the second the teacher; one answer learns both."""
    first, second, taught = logits(0), logits(1), logits(2)
    targets = logits(3).softmax(dim=1)
    distillation = HardDistillation(teacher=HERE, weight=0.3)
    objective = make_objective(tiny.loss, distillation)
    answer = first if heads == 1 else torch.stack([first, second], dim=1)
    labels = -(targets * first.log_softmax(1)).sum(1).mean()
    teacher = teacher_term(distillation, first if heads == 1 else second, taught)
    torch.testing.assert_close(objective(answer, targets, taught), 0.7 * labels + 0.3 * teacher)
    alone = make_objective(tiny.loss, tiny.distillation)(answer, targets, None)
    others = -(targets * second.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(alone, labels if heads == 1 else (labels + others) / 2)


TOKEN = {"model.pool": "class_token", "model.second_token": "distillation"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["soft", "hard"])
@pytest.mark.parametrize("token", [False, True])
def test_a_student_learns_from_a_teacher(
    tiny: Recipe, random_splits: Splits, tmp_path: Path, kind: str, token: bool
) -> None:
    """With all the weight on the teacher, a student ends closer to it than one that is not taught."""
    longer = tiny.with_({"schedule.epochs": 6, "augment.crop": "resize"})
    teacher = checkpoint_of(longer, random_splits, tmp_path)
    changes: dict[str, Any] = {"model.width": 24, "seeds.init": 5, **(TOKEN if token else {})}
    distillation = {"kind": kind, "teacher": str(teacher), "weight": 0.9}
    taught = run(longer.with_({**changes, "distillation": distillation}), random_splits)[1]
    alone = run(longer.with_(changes), random_splits)[1]
    known = answers(load(teacher), random_splits)
    agreement = [(answers(state, random_splits) == known).float().mean().item() for state in (taught, alone)]
    assert agreement[0] > agreement[1]


def answers(state: State, splits: Splits) -> Tensor:
    recipe = Recipe.model_validate(state["recipe"])
    loaders = array_loaders(splits, recipe)
    model = build(recipe.model, classes=state["classes"], image_size=recipe.data.resolution)
    model.load_state_dict(state["model"])
    mean, std = (torch.tensor(state[k]).view(1, 3, 1, 1) * 255 for k in ("mean", "std"))
    with torch.inference_mode():
        return torch.cat([model.eval()((b.images - mean) / std).argmax(1) for b in loaders.test.epoch(0)])


def test_a_teacher_of_other_classes_is_refused(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    fewer = {name: (images, labels % 3) for name, (images, labels) in random_splits.items()}
    teacher = checkpoint_of(tiny, fewer, tmp_path)
    taught = tiny.with_({"distillation": {"kind": "hard", "teacher": str(teacher)}})
    with pytest.raises(InterplayError, match="knows 3 classes, not 5"):
        run(taught, random_splits)


def test_a_teacher_may_see_another_resolution(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    teacher = checkpoint_of(tiny.with_({"data.resolution": 24}), random_splits, tmp_path)
    distillation = {"kind": "soft", "teacher": str(teacher), "teacher_resolution": 24}
    metrics, _ = run(tiny.with_({"distillation": distillation}), random_splits)
    assert math.isfinite(metrics["train/loss"])


# --------------------------------------------------------------------------------------------- average
def test_the_average_is_timms() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    ema = Ema(horizon=640.0)
    ours = make_average(ema, model, batch_size=64)
    theirs = ModelEmaV3(model, decay=decay_per_step(ema, 64))
    for step in range(5):
        torch.manual_seed(step)
        model(torch.randn(8, 3)).sum().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        ours.update_parameters(model)
        theirs.update(model)
    for (name, a), b in zip(ours.module.state_dict().items(), theirs.module.state_dict().values(), strict=True):
        if a.is_floating_point():
            torch.testing.assert_close(a, b, msg=name)


@pytest.mark.parametrize("batch_size", [32, 64])
def test_a_horizon_is_in_images(batch_size: int) -> None:
    kept = decay_per_step(Ema(horizon=6_400.0), batch_size) ** (6_400 / batch_size)
    assert kept == pytest.approx(1 / math.e)


def test_the_average_is_evaluated_and_kept(tiny: Recipe, random_splits: Splits) -> None:
    plain, _ = run(tiny, random_splits)
    averaged, state = run(tiny.with_({"average": {"kind": "ema", "horizon": 1e9}}), random_splits)
    assert averaged["train/loss"] == plain["train/loss"]
    assert averaged["val/loss"] != plain["val/loss"]
    start = build(tiny.model, classes=5, image_size=16, seed=0).state_dict()
    for name, value in state["average"].items():
        torch.testing.assert_close(value, start[name], atol=1e-4, rtol=0)


# -------------------------------------------------------------------------------- groups and frozen parts
def test_layer_decay_is_timms() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5, depth=4)
    ours = {
        id(p): (g["weight_decay"], g["lr_scale"]) for g in parameter_groups(model, 0.05, 0.7) for p in g["params"]
    }
    theirs = param_groups_layer_decay(model, 0.05, model.no_weight_decay(), layer_decay=0.7)
    expected = {id(p): (g["weight_decay"], g["lr_scale"]) for g in theirs for p in g["params"]}
    assert ours.keys() == expected.keys()
    for name, parameter in model.named_parameters():
        assert ours[id(parameter)] == pytest.approx(expected[id(parameter)]), name


def test_layer_decay_scales_the_rate_of_our_blocks(tiny: Recipe, random_splits: Splits) -> None:
    model = build(tiny.model, classes=5, image_size=16)
    scale = {id(p): g["lr_scale"] for g in parameter_groups(model, 0.05, 0.5) for p in g["params"]}
    named = dict(model.named_parameters())
    found = {name: scale[id(named[name])] for name in ("stem.patch.proj.weight", "head.weight")}
    assert found == {"stem.patch.proj.weight": 0.125, "head.weight": 1.0}
    assert scale[id(named["blocks.0.mlp.mix.fc1.weight"])] == 0.25
    assert scale[id(named["neck.weight"])] == 0.5
    one, other = (run(tiny.with_({"optimiser.layer_decay": d}), random_splits)[1] for d in (1.0, 1e-9))
    start = build(tiny.model, classes=5, image_size=16, seed=0).state_dict()["stem.patch.proj.weight"]
    assert not torch.equal(one["model"]["stem.patch.proj.weight"], start)
    torch.testing.assert_close(other["model"]["stem.patch.proj.weight"], start)


@pytest.mark.parametrize(
    ("trainable", "moved", "kept"),
    [
        ("attention", ["blocks.0.attn.mix.qkv.weight", "head.weight", "stem.position.pos_embed"], ["blocks.0.mlp."]),
        ("head", ["head.weight"], ["blocks.", "stem."]),
    ],
)
def test_what_is_not_trainable_stays(
    tiny: Recipe, random_splits: Splits, trainable: str, moved: list[str], kept: list[str]
) -> None:
    state = run(tiny.with_({"trainable": trainable}), random_splits)[1]["model"]
    start = build(tiny.model, classes=5, image_size=16, seed=0).state_dict()
    assert all(not torch.equal(state[name], start[name]) for name in moved)
    assert all(torch.equal(state[n], start[n]) for n in state if n.startswith(tuple(kept)))


def test_a_model_without_attention_cannot_train_it_alone() -> None:
    with pytest.raises(InterplayError, match="no such layers; use trainable=all"):
        freeze(timm.create_model("resnet10t"), "attention")


# ---------------------------------------------------------------------------------------------- starts
def test_a_start_keeps_weights_and_changes_size_and_classes(
    tiny: Recipe, random_splits: Splits, tmp_path: Path
) -> None:
    path = checkpoint_of(tiny, random_splits, tmp_path)
    fewer = {name: (images, labels % 3) for name, (images, labels) in random_splits.items()}
    frozen = {"start": str(path), "trainable": "head", "data.resolution": 24}
    state = run(tiny.with_(frozen), fewer)[1]
    before = load(path)["model"]
    assert state["classes"] == 3
    assert state["model"]["head.weight"].shape[0] == 3
    name = "blocks.1.mlp.mix.fc1.weight"
    assert torch.equal(state["model"][name], before[name])
    assert state["model"]["stem.position.pos_embed"].shape != before["stem.position.pos_embed"].shape


def test_a_start_from_an_averaged_run_takes_the_average(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    averaged = tiny.with_({"average": {"kind": "ema", "horizon": 1e4}})
    path = checkpoint_of(averaged, random_splits, tmp_path)
    state = run(tiny.with_({"start": str(path), "trainable": "head"}), random_splits)[1]
    kept = load(path)
    name = "blocks.1.mlp.mix.fc1.weight"
    assert torch.equal(state["model"][name], kept["average"][name])
    assert not torch.equal(state["model"][name], kept["model"][name])


def test_weights_of_another_architecture_are_refused(tiny: Recipe, random_splits: Splits, tmp_path: Path) -> None:
    path = checkpoint_of(tiny, random_splits, tmp_path)
    with pytest.raises(InterplayError):
        run(tiny.with_({"start": str(path), "model.width": 24}), random_splits)


# --------------------------------------------------------------------------------------------- computing
@pytest.mark.parametrize("micro_batch", [4, 12, 32])
def test_micro_batches_give_the_gradient_of_the_batch(tiny: Recipe, random_splits: Splits, micro_batch: int) -> None:
    """12 does not divide 32: the last part is smaller and weighs less."""
    mixed = tiny.with_({"augment.mixup": 0.8, "optimiser.clip_grad": 0.5})
    whole = run(mixed, random_splits)[0]
    parts = run(mixed, random_splits, computing=Computing(micro_batch=micro_batch))[0]
    assert parts == pytest.approx(whole, rel=1e-4)


def test_channels_last_changes_no_result(tiny: Recipe, random_splits: Splits) -> None:
    conv = tiny.with_({"model": {"family": "timm", "name": "resnet10t"}})
    found = run(conv, random_splits, computing=Computing(channels_last=True))[0]
    assert found == pytest.approx(run(conv, random_splits)[0], rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own compiler looks at it
def test_compiled_blocks_change_no_result(tiny: Recipe, random_splits: Splits) -> None:
    found = run(tiny, random_splits, computing=Computing(compile=True))[0]
    assert found == pytest.approx(run(tiny, random_splits)[0], rel=1e-3)


@pytest.mark.parametrize("changes", [{}, {"average": "ema"}, {"optimiser": "lamb"}, {"optimiser": "sgd"}])
@pytest.mark.parametrize("stop", [(0, 1), (1, 2)])
def test_a_run_resumed_within_an_epoch_is_the_whole_run(
    tiny: Recipe, random_splits: Splits, changes: dict[str, Any], stop: tuple[int, int]
) -> None:
    random = {"model.drop_path": 0.3, "augment.policy": "rand_augment", "augment.mixup": 0.8, "augment.repeats": 2}
    recipe = tiny.with_({**random, **changes})
    kept: dict[tuple[int, int], State] = {}

    def keep(state: Any) -> None:
        now = copied(state())
        kept[now["epoch"], now.get("step", 0)] = now

    whole, last = run(recipe, random_splits, after_step=keep)
    resumed, state = run(recipe, random_splits, latest_checkpoint=lambda: kept[stop])
    assert resumed == whole
    assert all(torch.equal(a, b) for a, b in zip(state["model"].values(), last["model"].values(), strict=True))


@pytest.mark.parametrize("optimiser", ["adamw", "lamb", "sgd", "adagrad"])
def test_every_optimiser_learns(tiny: Recipe, random_splits: Splits, optimiser: str) -> None:
    recipe = tiny.with_({"optimiser": {"kind": optimiser, "lr": 0.02}, "schedule.epochs": 4})
    metrics, _ = run(recipe, random_splits)
    first, _ = run(recipe.with_({"optimiser.lr": 1e-9}), random_splits)
    assert metrics["train/loss"] < first["train/loss"]
    assert metrics["train/grad_norm"] > 0
    assert metrics["train/loss_max"] >= metrics["train/loss"]


def test_float16_trains_with_a_scaled_loss(tiny: Recipe, random_splits: Splits) -> None:
    metrics, state = run(tiny.with_({"precision": "fp16"}), random_splits)
    assert metrics["train/loss"] == pytest.approx(run(tiny, random_splits)[0]["train/loss"], rel=0.02)
    assert state["scaler"]["scale"] > 1
