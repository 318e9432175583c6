"""What our training loop costs: against a bare loop, and against a step written with timm's parts.

    python tests/bench/training.py [--rounds 7] [--steps 12] [--device cuda] [--model deit_ti] [--resolution 64]

The same model, optimiser, batches and precision in all three, which take turns; counted is an epoch from its first
batch to its end, on a CPU in processor seconds (what else the machine does hardly matters), on a GPU by the clock.
Above 1 ours is slower. Batches are made before, so that no loader is measured. With --mix all three mix images and
labels (timm: its own Mixup), without they train on labels alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from timm.data import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional as F

from interplay.augment import Normalise
from interplay.data import Batch, Loaders
from interplay.models import build
from interplay.models.counts import node
from interplay.recipe import AdamW, Augment, CrossEntropy, Data, Evaluation, Recipe
from interplay.training import fit
from interplay.training.optimiser import parameter_groups

CLASSES = 1000
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Made:
    """Batches that are there already, and how long their last epoch took."""

    batches: list[Batch]
    device: torch.device
    seconds: float = 0.0

    @property
    def samples(self) -> int:
        return sum(len(batch.labels) for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        before = self._now()
        yield from self.batches[start:]
        self.seconds = self._now() - before

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


def make_batches(steps: int, size: int, side: int, device: torch.device) -> Made:
    generator = torch.Generator().manual_seed(0)
    batches = []
    for step in range(steps):
        images = torch.randint(0, 256, (size, side, side, 3), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, CLASSES, (size,), generator=generator)
        index = torch.arange(step * size, (step + 1) * size)
        batches.append(Batch(images.permute(0, 3, 1, 2), labels, labels[:, None], index, torch.zeros_like(index)))
    return Made(batches, device)


def recipe_of(options: argparse.Namespace) -> Recipe:
    mixing = {"mixup": 0.8, "cutmix": 1.0} if options.mix else {}
    return Recipe(
        model=node(options.model),
        data=Data(resolution=options.resolution, batch_size=options.batch),
        augment=Augment(**mixing),
        loss=CrossEntropy(smoothing=0.1),
        optimiser=AdamW(lr=1e-4),
        evaluation=Evaluation(every=10**6),
    ).with_({"schedule.epochs": 1, "schedule.warmup_epochs": 0.5})


Epoch = Callable[[], float]
"""Trains an epoch; its seconds."""


def ours(options: argparse.Namespace, made: Made) -> Epoch:
    recipe, loaders = recipe_of(options), Loaders(made, None, None, CLASSES, MEAN, STD)

    def epoch() -> float:
        fit(recipe, loaders, device=options.device)
        return made.seconds

    return epoch


def by_hand(options: argparse.Namespace, made: Made, mixing: Mixup | None = None) -> Epoch:
    """What one would write for this model and data alone; with `mixing`, timm's."""
    recipe, device = recipe_of(options), torch.device(options.device)
    normalise = Normalise(MEAN, STD, device)
    amp = device.type == "cuda"

    def epoch() -> float:
        model: nn.Module = build(recipe.model, classes=CLASSES, image_size=options.resolution).to(device).train()
        if mixing is None:
            groups = [{k: v for k, v in g.items() if k != "lr_scale"} for g in parameter_groups(model, 0.05)]
            optimiser = torch.optim.AdamW(groups, lr=1e-4, fused=True)
        else:
            optimiser = create_optimizer_v2(model, "adamw", lr=1e-4, weight_decay=0.05)
        soft = SoftTargetCrossEntropy()
        for batch in made.epoch(0):
            x, labels = batch.images.to(device), batch.labels.to(device)
            x = normalise(x)
            if mixing is not None:
                x, targets = mixing(x, labels)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=amp):
                logits = model(x)
            if mixing is not None:
                loss: Tensor = soft(logits.float(), targets)
            else:
                loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.1)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return made.seconds

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--model", default="deit_ti")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mix", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made = make_batches(options.steps, options.batch, options.resolution, torch.device(options.device))
    mixing = Mixup(0.8, 1.0, label_smoothing=0.1, num_classes=CLASSES) if options.mix else None
    if mixing is not None and options.device == "cpu":
        mixing.one_hot_device = "cpu"  # type: ignore[attr-defined]
    contenders = {"ours": ours(options, made), "by hand": by_hand(options, made)}
    if mixing is not None:
        contenders["with timm's mixup, loss and optimiser"] = by_hand(options, made, mixing)
    for epoch in contenders.values():
        epoch()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, epoch in contenders.items():
            seconds[name].append(epoch())
    unit = " of a core" if options.device == "cpu" else ""
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(seconds["ours"], values, strict=True))
        rate = made.samples / statistics.median(values)
        print(f"{name:40s} {rate:9.1f} images/s{unit}   ours takes {ratio:.3f} of its time")
    where = f"{options.model} at {options.resolution}, batch {options.batch}, {options.device}"
    print(f"\n{where}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
