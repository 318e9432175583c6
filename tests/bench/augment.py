"""Images per second of augmentation at 224: ours in batches, timm's and torchvision's one Pillow image at a time.

    python tests/bench/augment.py [--batch 64] [--side 224] [--threads 1] [--rounds 5] [--device cuda] [--only TEXT]

The two sides of a row take turns, several rounds of it, on the same photographs; medians are compared, and above 1
ours is faster. The other side is always Pillow on one core of the CPU: that is where those libraries augment.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import timm
import timm.data.auto_augment as timm_ops
import torch
from PIL import Image, ImageFilter, ImageOps
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor
from torchvision import transforms

from interplay.augment import BYOL, Keys, Normalise, TrainingStage, apply_policy, ssl_views
from interplay.augment.erasing import erase_
from interplay.augment.jitter import colour_jitter
from interplay.augment.operations import Layer, apply_layer
from interplay.recipe import Augment, AutoAugment, RandAugment, ThreeAugment, TrivialAugment
from tests.photographs import photographs

Ours = Callable[[Tensor, Keys], Any]
Theirs = Callable[[Image.Image], Any]

# with the Pillow of today timm's own posterise fails where it would keep no bit
timm_ops.NAME_TO_OP["PosterizeIncreasing"] = lambda image, bits, **_: timm_ops.posterize(image, max(1, bits))

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILLED: dict[str, Any] = {"resample": Image.Resampling.BILINEAR, "fillcolor": (124, 116, 104)}
HPARAMS = {"translate_const": 100, "img_mean": (124, 116, 104), "interpolation": Image.Resampling.BILINEAR}


def operation(name: str, value: float) -> Ours:
    """The same operation for every image."""

    def run(x: Tensor, _: Keys) -> Tensor:
        count = len(x)
        return apply_layer(x, Layer((name,), np.zeros(count, dtype=np.int64), np.full(count, value)))

    return run


OPERATIONS: dict[str, tuple[Ours, Theirs]] = {
    "grayscale": (operation("grayscale", 0), lambda i: ImageOps.grayscale(i).convert("RGB")),
    "solarise": (operation("solarise", 128), lambda i: timm_ops.solarize(i, 128)),
    "solarise_add": (operation("solarise_add", 99), lambda i: timm_ops.solarize_add(i, 99)),
    "invert": (operation("invert", 0), timm_ops.invert),
    "posterise": (operation("posterise", 3), lambda i: timm_ops.posterize(i, 3)),
    "autocontrast": (operation("autocontrast", 0), timm_ops.auto_contrast),
    "equalise": (operation("equalise", 0), timm_ops.equalize),
    "brightness": (operation("brightness", 1.3), lambda i: timm_ops.brightness(i, 1.3)),
    "contrast": (operation("contrast", 1.3), lambda i: timm_ops.contrast(i, 1.3)),
    "saturation": (operation("saturation", 1.3), lambda i: timm_ops.color(i, 1.3)),
    "hue": (operation("hue", 0.1), lambda i: transforms.functional.adjust_hue(i, 0.1)),
    "sharpness": (operation("sharpness", 1.3), lambda i: timm_ops.sharpness(i, 1.3)),
    "blur, radius 1": (operation("blur", 1.0), lambda i: i.filter(ImageFilter.GaussianBlur(1.0))),
    "blur, radius 2": (operation("blur", 2.0), lambda i: i.filter(ImageFilter.GaussianBlur(2.0))),
    "rotate": (operation("rotate", 20), lambda i: timm_ops.rotate(i, 20, **FILLED)),
    "shear_x": (operation("shear_x", 0.2), lambda i: timm_ops.shear_x(i, 0.2, **FILLED)),
    "translate_y": (operation("translate_y", 0.2), lambda i: timm_ops.translate_y_rel(i, 0.2, **FILLED)),
}

RAND = "rand-m9-mstd0.5-inc1"


def _blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2.0)))


BYOLS = [
    transforms.Compose(
        [
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
            transforms.RandomGrayscale(0.2),
            transforms.RandomApply(
                [lambda i: i.filter(ImageFilter.GaussianBlur(np.random.uniform(0.1, 2.0)))], p=blur
            ),
            transforms.RandomSolarize(128, p=solarise),
        ]
    )
    for blur, solarise in ((1.0, 0.0), (0.1, 0.2))
]
POLICIES: dict[str, tuple[Ours, Theirs]] = {
    "3-Augment": (lambda x, k: apply_policy(ThreeAugment(), x, k), timm_ops.auto_augment_transform("3a", HPARAMS)),
    "RandAugment m9 inc1": (
        lambda x, k: apply_policy(RandAugment(), x, k),
        timm_ops.rand_augment_transform(RAND, HPARAMS),
    ),
    "AutoAugment": (
        lambda x, k: apply_policy(AutoAugment(), x, k),
        timm_ops.auto_augment_transform("original", HPARAMS),
    ),
    "TrivialAugment": (lambda x, k: apply_policy(TrivialAugment(), x, k), transforms.TrivialAugmentWide()),
    "jitter 0.3, fixed order": (
        lambda x, k: colour_jitter(x, (0.3, 0.3, 0.3, 0.0), "fixed", k),
        transforms.ColorJitter(0.3, 0.3, 0.3),
    ),
    "jitter 0.3, random order": (
        lambda x, k: colour_jitter(x, (0.3, 0.3, 0.3, 0.0), "random", k),
        transforms.ColorJitter(0.3, 0.3, 0.3),
    ),
    "BYOL's two views": (lambda x, k: ssl_views(x, BYOL, k), lambda i: [view(i) for view in BYOLS]),
}


def stage(augment: Augment, device: torch.device) -> Ours:
    """Everything after crop and flip: policy, jitter, normalisation, erasing, mixing."""
    whole = TrainingStage(augment, 0, 1000, Normalise(MEAN, STD, device))

    def run(x: Tensor, keys: Keys) -> Tensor:
        labels = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        sample, view = torch.from_numpy(keys.sample), torch.from_numpy(keys.view)
        return whole(x, labels, sample, view, keys.epoch, 0)[0]

    return run


def pipeline(*parts: Any) -> Theirs:
    """timm's, without mixing, which it does to batches."""
    return transforms.Compose([*parts, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def pipelines(device: torch.device) -> dict[str, tuple[Ours, Theirs]]:
    mixed = {"mixup": 0.8, "cutmix": 1.0}
    three = timm_ops.auto_augment_transform("3a", HPARAMS)
    rand = timm_ops.rand_augment_transform(RAND, HPARAMS)
    jitter = transforms.ColorJitter(0.3, 0.3, 0.3)
    erasing = RandomErasing(0.25, mode="pixel", device="cpu")
    deit3 = Augment(policy=ThreeAugment(), color_jitter=0.3, jitter_order="random", **mixed)
    return {
        "normalisation alone": (stage(Augment(), device), pipeline()),
        "DeiT III, all (fixed order)": (
            stage(deit3.model_copy(update={"jitter_order": "fixed"}), device),
            pipeline(three, jitter),
        ),
        "DeiT III, all": (stage(deit3, device), pipeline(three, jitter)),
        "DeiT III, all, mixed by image": (
            stage(deit3.model_copy(update={"mix_mode": "elem"}), device),
            pipeline(three, jitter),
        ),
        "DeiT, all": (
            stage(Augment(policy=RandAugment(), erasing=0.25, **mixed), device),
            transforms.Compose([pipeline(rand), erasing]),
        ),
    }


def batches(device: torch.device) -> dict[str, tuple[Ours, Callable[[Tensor], Any]]]:
    """What timm does to tensors: erasing, and mixing of batches; here in float32 on the same device."""
    normalised = Normalise(MEAN, STD, device)
    timms = {mode: Mixup(0.8, 1.0, mode=mode, label_smoothing=0.0) for mode in ("batch", "elem")}
    erasing = RandomErasing(0.25, mode="pixel", device=str(device))

    def theirs(mode: str) -> Callable[[Tensor], Any]:
        return lambda x: timms[mode](normalised(x), torch.zeros(len(x), dtype=torch.int64, device=x.device))

    return {
        "normalise, erase 0.25": (
            lambda x, k: erase_(normalised(x), Augment(erasing=0.25), k),
            lambda x: erasing(normalised(x)),
        ),
        "normalise, mix batch": (stage(Augment(mixup=0.8, cutmix=1.0), device), theirs("batch")),
        "normalise, mix elem": (stage(Augment(mixup=0.8, cutmix=1.0, mix_mode="elem"), device), theirs("elem")),
    }


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Wall clock where a GPU works; processor time on a CPU, which others may be using too."""
    if device.type == "cpu":
        started = time.process_time()
        work()
        return time.process_time() - started
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, device: torch.device) -> list[float]:
    """Medians of seconds of both, and of how many times as long theirs took; they take turns."""
    ours(), theirs()
    taken: list[list[float]] = [[], [], []]
    for number in range(rounds):
        pair = {side: seconds((ours, theirs)[side], device) for side in ((0, 1), (1, 0))[number % 2]}
        for values, value in zip(taken, (pair[0], pair[1], pair[1] / pair[0]), strict=True):
            values.append(value)
    return [statistics.median(values) for values in taken]


def pictures(count: int, side: int) -> list[Image.Image]:
    opened = (Image.open(io.BytesIO(data)).convert("RGB") for data in photographs(min(count, 32)))
    squares = [ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC) for image in opened]
    return [squares[i % len(squares)] for i in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, count = torch.device(options.device), options.batch
    images = pictures(count, options.side)
    x = (
        torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        .permute(0, 3, 1, 2)
        .contiguous()
        .to(device)
    )
    keys = Keys(0, 0, np.arange(count), np.zeros(count, dtype=np.int64))
    print(
        f"torch {torch.__version__}, timm {timm.__version__}, batch {count} of {options.side}, {options.threads} "
        f"threads, {device}, {platform.processor() or platform.machine()}"
    )
    print("images per second of " + ("processor time" if device.type == "cpu" else "wall clock"))
    print(f"{'':32}{'ours':>10}{'theirs':>10}{'ratio':>8}")
    groups: list[tuple[dict[str, Any], bool]] = [
        (OPERATIONS, False),
        (POLICIES, False),
        (batches(device), True),
        (pipelines(device), False),
    ]
    for rows, whole in groups:
        for name, (mine, other) in rows.items():
            if options.only not in name:
                continue
            their_work = (lambda other=other: other(x)) if whole else (lambda other=other: [other(i) for i in images])
            ours, theirs, ratio = compare(lambda mine=mine: mine(x, keys), their_work, options.rounds, device)
            print(f"{name:32}{count / ours:10.0f}{count / theirs:10.0f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main()
