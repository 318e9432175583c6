"""Images per second and core: our loader, FFCV's own, timm's and torchvision's, on the same photographs.

    python -m tests.bench.data [--images 512] [--rounds 5] [--folder DIR]

Every loader lives in a process of its own with one thread and they take turns, several rounds of it; counted is the
processor time of the whole process (medians, and the range over the rounds). Pixels end as 224x224 uint8 batches
(timm's and torchvision's: float tensors), after a random resized crop and a flip, plus what the row says.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.photographs import photograph_folder

SIDE, BATCH = 224, 64
Epoch = Callable[[int], int]
"""Reads the epoch of that number; how many images it gave."""


def recipe(**changes: Any) -> Any:
    from interplay.recipe import Augment, Data, RandAugment, RandomResizedCrop, Recipe

    augment = Augment(crop=RandomResizedCrop(), policy=RandAugment(), erasing=0.25, mixup=0.8, cutmix=1.0)
    return Recipe(data=Data(resolution=SIDE, batch_size=BATCH), augment=augment).with_(changes)


def ours(folder: Path, name: str) -> Epoch:
    from interplay.data.loader import beton_loaders

    loader = beton_loaders(folder / name, recipe()).train
    return lambda epoch: sum(len(batch.images) for batch in loader.epoch(epoch))


def our_policy(folder: Path, name: str) -> Epoch:
    """3-Augment too, within the decoding thread: for machines without a GPU."""
    from interplay.augment import policy_in_loader
    from interplay.data.loader import beton_loaders

    changed = recipe(**{"augment.policy": "three_augment"})
    loader = beton_loaders(folder / name, changed, policy=policy_in_loader(changed.augment, 0)).train
    return lambda epoch: sum(len(batch.images) for batch in loader.epoch(epoch))


def our_views(folder: Path, name: str) -> Epoch:
    from interplay.data.loader import beton_loaders

    loader = beton_loaders(folder / name, recipe(**{"augment.repeats": 4})).train
    return lambda epoch: sum(len(batch.images) for batch in loader.epoch(epoch))


def our_stage(folder: Path, policy: str) -> Epoch:
    """What the device does with our batches, here on the CPU."""
    from interplay.augment import Normalise, TrainingStage
    from interplay.data.loader import beton_loaders

    changed = recipe(**{"augment.policy": policy, "augment.erasing": 0.0 if policy == "three_augment" else 0.25})
    loaders = beton_loaders(folder / "plain.beton", changed)
    normalise = Normalise(loaders.mean, loaders.std, torch.device("cpu"))
    stage = TrainingStage(changed.augment, 0, loaders.classes, normalise)
    batches = list(loaders.train.epoch(0))

    def read(epoch: int) -> int:
        for step, batch in enumerate(batches):
            stage(batch.images, batch.labels, batch.index, batch.view, epoch, step)
        return sum(len(batch.images) for batch in batches)

    return read


def stock(folder: Path, name: str) -> Epoch:
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor, ToTorchImage

    # FFCV compiles per process; `custom_fields` is not needed: the file holds its own field types
    pipelines: dict[str, Any] = {
        "image": [RandomResizedCropRGBImageDecoder((SIDE, SIDE)), RandomHorizontalFlip(), ToTensor(), ToTorchImage()],
        "label": [IntDecoder(), ToTensor()],
        "index": None,
        "split": None,
    }
    order = OrderOption.RANDOM
    loader = Loader(str(folder / name), BATCH, num_workers=1, order=order, pipelines=pipelines, os_cache=True)
    return lambda epoch: sum(len(images) for images, _ in loader)


def timms(folder: Path, policy: str) -> Epoch:
    from timm.data import ImageDataset, auto_augment, create_transform

    posterize = auto_augment.posterize  # a magnitude above 10 asks for 0 bits, which Pillow 13 refuses
    auto_augment.NAME_TO_OP["PosterizeIncreasing"] = lambda image, bits, **_: posterize(image, max(1, bits))
    transform = create_transform(
        SIDE,
        is_training=True,
        auto_augment=policy or None,
        re_prob=0.25 if policy.startswith("rand") else 0.0,
        color_jitter=None if policy else 0.0,
        interpolation="bicubic",
    )
    dataset = ImageDataset(str(folder / "photographs" / "train"), transform=transform)
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True)
    return lambda epoch: sum(len(images) for images, _ in loader)


def torchvisions(folder: Path, _: str) -> Epoch:
    from torchvision.io import ImageReadMode, decode_image, read_file
    from torchvision.transforms import v2

    transform = v2.Compose([v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip()])
    files = [str(f) for f in sorted((folder / "photographs").rglob("*.jpg"))]

    def read(epoch: int) -> int:
        order = np.random.default_rng(epoch).permutation(len(files))
        for start in range(0, len(files), BATCH):
            batch = [decode_image(read_file(files[i]), ImageReadMode.RGB) for i in order[start : start + BATCH]]
            torch.stack([transform(image) for image in batch])
        return len(files)

    return read


def decode_alone(folder: Path, _: str) -> Epoch:
    """libjpeg-turbo decodes every image whole: what no loader that does so can exceed."""
    import cv2

    cv2.setNumThreads(1)
    files = [np.fromfile(f, dtype=np.uint8) for f in sorted((folder / "photographs").rglob("*.jpg"))]
    return lambda epoch: sum(cv2.imdecode(data, cv2.IMREAD_COLOR) is not None for data in files)


ROWS: dict[str, tuple[Callable[[Path, str], Epoch], str]] = {
    "timm, DeiT recipe (RandAugment, erasing)": (timms, "rand-m9-mstd0.5-inc1"),
    "timm, 3-Augment": (timms, "3a"),
    "timm, crop and flip": (timms, ""),
    "torchvision v2, crop and flip": (torchvisions, ""),
    "stock FFCV, crop and flip (box filter)": (stock, "plain.beton"),
    "ours, crop and flip": (ours, "plain.beton"),
    "ours, tiles of 32": (ours, "tiles.beton"),
    "ours, tiles of 32, 4 views": (our_views, "tiles.beton"),
    "ours, tiles of 32, 3-Augment": (our_policy, "tiles.beton"),
    "decoding alone, whole images": (decode_alone, ""),
    "device: DeiT recipe, here on the CPU": (our_stage, "rand_augment"),
    "device: 3-Augment, here on the CPU": (our_stage, "three_augment"),
}


def serve(pipe: Connection, row: str, folder: Path) -> None:
    torch.set_num_threads(1)
    setup, argument = ROWS[row]
    read = setup(folder, argument)
    read(0)  # compiles, fills caches
    pipe.send("ready")
    epoch = 1
    while pipe.recv():
        started = time.process_time(), time.perf_counter()
        count = read(epoch)
        pipe.send((count, time.process_time() - started[0], time.perf_counter() - started[1]))
        epoch += 1


@contextmanager
def processes(rows: list[str], folder: Path) -> Iterator[dict[str, Connection]]:
    context = multiprocessing.get_context("spawn")
    pipes, started = {}, []
    for row in rows:
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, row, folder), daemon=True)
        process.start()
        there.close()
        assert here.recv() == "ready"
        pipes[row] = here
        started.append(process)
    try:
        yield pipes
    finally:
        for pipe in pipes.values():
            pipe.send(False)
        for process in started:
            process.join(timeout=30)


def prepare(folder: Path, images: int) -> list[str]:
    """Photographs and data sets; the rows that can be measured here."""
    from interplay import native
    from interplay.data.sources import image_folder
    from interplay.data.write import write_beton

    photograph_folder(folder / "photographs", images)
    source = image_folder(folder / "photographs")
    for name, tiles in (("plain.beton", None), ("tiles.beton", 32)):
        if not (folder / name).exists() and (tiles is None or native.AVAILABLE):
            write_beton(source, folder / name, tiles=tiles)
    return [row for row in ROWS if native.AVAILABLE or "tiles" not in row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "interplay-bench-data")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rows = prepare(options.folder, options.images)
    rates: dict[str, list[float]] = {row: [] for row in rows}
    with processes(rows, options.folder) as pipes:
        for _ in range(options.rounds):
            for row, pipe in pipes.items():
                pipe.send(True)
                count, seconds, _ = pipe.recv()
                rates[row].append(count / seconds)
    ffcv, timm = (rates[row] for row in ("stock FFCV, crop and flip (box filter)", next(iter(ROWS))))
    print(f"{'images/s and core':42s} {'median':>7s} {'range':>13s} {'x stock FFCV':>13s} {'x timm DeiT':>12s}")
    for row, values in rates.items():
        against = [statistics.median(a / b for a, b in zip(values, other, strict=True)) for other in (ffcv, timm)]
        spread = f"{min(values):.0f} to {max(values):.0f}"
        print(f"{row:42s} {statistics.median(values):7.0f} {spread:>13s} {against[0]:13.2f} {against[1]:12.2f}")
    print(
        f"\n{options.images} JPEGs of about 500x375, {options.rounds} rounds in turn, one thread each; "
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
