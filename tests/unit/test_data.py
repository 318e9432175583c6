"""Loaders that agree over storages, threads, ranks and restarts."""

from __future__ import annotations

import gc
import shutil
import threading
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from interplay import native
from interplay.augment import Keys, apply_policy, policy_in_loader
from interplay.data import Batch, Loader, Loaders, array_loaders, from_samples, locate
from interplay.data import ffcv_engine as engine
from interplay.data.decode import Pixels
from interplay.data.loader import beton_loaders
from interplay.data.write import write_beton
from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.training import fit
from tests.photographs import photographs

Splits = dict[str, tuple[Pixels, NDArray[np.int64]]]


def noise(height: int, width: int, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def beton(random_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`random_splits` as a file."""
    path = tmp_path_factory.mktemp("random") / "random.beton"
    samples, split = [], []
    for name, (images, labels) in random_splits.items():
        samples += [(image, int(label)) for image, label in zip(images, labels, strict=True)]
        split += [name] * len(images)
    write_beton(from_samples(samples, classes=list("abcde"), split=split), path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pixels of several sizes."""
    path = tmp_path_factory.mktemp("photos") / "photos.beton"
    images = [Image.fromarray(noise(30 + i % 7, 40 + i % 5, seed=i)) for i in range(70)]
    write_beton(from_samples([(image, i % 3) for i, image in enumerate(images)], classes=list("abc")), path, val=0.2)
    return path


@pytest.fixture
def recipe(tiny: Recipe) -> Recipe:
    return tiny.with_({"augment.repeats": 2, "augment.flip": 0.5, "evaluation.crop_ratio": 0.9})


def read(loader: Loader | None, epoch: int = 0) -> Batch:
    """All batches of an epoch as one."""
    assert loader is not None
    batches = list(loader.epoch(epoch))
    assert len(batches) == len(loader)
    return joined(batches)


def joined(batches: list[Batch]) -> Batch:
    return Batch(**{f.name: torch.cat([getattr(b, f.name) for b in batches]) for f in fields(Batch)})


def assert_same(one: Batch, other: Batch) -> None:
    for field in fields(Batch):
        assert torch.equal(getattr(one, field.name), getattr(other, field.name)), field.name


def by_identity(batch: Batch) -> dict[tuple[int, int], bytes]:
    identity = zip(batch.index.tolist(), batch.view.tolist(), strict=True)
    return {key: image.numpy().tobytes() for key, image in zip(identity, batch.images, strict=True)}


def splits_of(loaders: Loaders) -> dict[str, Loader | None]:
    return {"train": loaders.train, "val": loaders.val, "test": loaders.test}


@pytest.mark.parametrize("epoch", [0, 3])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_file_and_an_array_give_the_same_batches(
    beton: Path, random_splits: Splits, recipe: Recipe, split: str, epoch: int
) -> None:
    from_file, from_array = beton_loaders(beton, recipe), array_loaders(random_splits, recipe)
    one, other = splits_of(from_file)[split], splits_of(from_array)[split]
    assert one is not None
    assert other is not None
    assert one.samples == other.samples == len(random_splits[split][0])
    assert_same(read(one, epoch), read(other, epoch))


def test_a_file_and_an_array_state_the_same_facts(beton: Path, random_splits: Splits, recipe: Recipe) -> None:
    one, other = beton_loaders(beton, recipe), array_loaders(random_splits, recipe)
    assert one.classes == other.classes == 5
    assert one.mean == pytest.approx(other.mean)
    assert one.std == pytest.approx(other.std)


def test_batches_have_the_stated_shapes(beton: Path, recipe: Recipe) -> None:
    for batch in beton_loaders(beton, recipe).train.epoch(0):
        assert batch.images.shape == (32, 3, 16, 16)
        assert batch.images.dtype == torch.uint8
        for numbers in (batch.labels, batch.index, batch.view):
            assert numbers.shape == (32,)
            assert numbers.dtype == torch.int64


def test_a_missing_split_has_no_loader(photos: Path, recipe: Recipe) -> None:
    assert beton_loaders(photos, recipe).test is None


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_threads_do_not_change_pixels(photos: Path, recipe: Recipe, split: str, epoch: int) -> None:
    one, three = (splits_of(beton_loaders(photos, recipe, threads=t))[split] for t in (1, 3))
    assert_same(read(one, epoch), read(three, epoch))


@pytest.mark.parametrize("file", ["beton", "photos"])
def test_ranks_see_the_images_of_one_rank(file: str, recipe: Recipe, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue(file)
    alone = beton_loaders(path, recipe)
    ranks = [beton_loaders(path, recipe, rank=rank, world=2) for rank in (0, 1)]
    assert len(ranks[0].train) == len(ranks[1].train) == len(alone.train)
    epochs = [list(r.train.epoch(1)) for r in ranks]
    for number, batch in enumerate(alone.train.epoch(1)):
        assert by_identity(joined([epochs[0][number], epochs[1][number]])) == by_identity(batch)
    assert by_identity(joined([read(r.val) for r in ranks])) == by_identity(read(alone.val))


def test_epochs_differ_and_come_back_in_any_order(beton: Path, recipe: Recipe) -> None:
    """A run that resumes at epoch 2 sees what a run without a break saw."""
    loader, fresh = beton_loaders(beton, recipe).train, beton_loaders(beton, recipe).train
    epochs = [read(loader, epoch) for epoch in (0, 1, 2)]
    assert not torch.equal(epochs[0].images, epochs[1].images)
    assert_same(read(fresh, 2), epochs[2])
    assert_same(read(fresh, 0), epochs[0])


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("start", [1, 2])
def test_an_epoch_can_be_entered_in_its_middle(
    beton: Path, random_splits: Splits, recipe: Recipe, start: int, world: int
) -> None:
    for rank in range(world):
        loaders = beton_loaders(beton, recipe, rank=rank, world=world)
        arrays = array_loaders(random_splits, recipe, rank=rank, world=world)
        for loader in (loaders.train, arrays.train):
            whole = list(loader.epoch(1))
            assert len(whole) > 2
            assert_same(joined(list(loader.epoch(1, start))), joined(whole[start:]))
        assert_same(read(loaders.train, 1), joined(list(arrays.train.epoch(1))))


@pytest.mark.parametrize("changes", [{"seeds.order": 1}, {"seeds.augment": 1}])
def test_each_seed_has_its_own_effect(beton: Path, recipe: Recipe, changes: dict[str, int]) -> None:
    one, other = read(beton_loaders(beton, recipe).train), read(beton_loaders(beton, recipe.with_(changes)).train)
    assert torch.equal(one.index, other.index) == ("seeds.augment" in changes)
    assert not torch.equal(one.images, other.images)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_every_data_setting_changes_the_batch(beton: Path, recipe: Recipe, interpolation: str) -> None:
    plain = read(beton_loaders(beton, recipe.with_({"data.interpolation": interpolation})).train)
    for changes in (
        {"augment.flip": 0.0},
        {"augment.crop": "resize"},
        {"augment.repeats": 1},
        {"augment.crop": "simple_random_crop"},
        {"data.resolution": 20},
        {"data.order": "sequential"},
        {"data.order": "quasi_random", "data.order.block": 4, "data.order.window": 2},
        {"data.order": "class_balanced"},
    ):
        changed = recipe.with_({"data.interpolation": interpolation, **changes})
        assert not torch.equal(read(beton_loaders(beton, changed).train).images, plain.images)


@pytest.fixture(params=["file", "array"])
def train(request: pytest.FixtureRequest, beton: Path, random_splits: Splits, recipe: Recipe) -> Loader:
    """The training split in both storages, in batches of 8."""
    small = recipe.with_({"data.batch_size": 8})
    return (beton_loaders(beton, small) if request.param == "file" else array_loaders(random_splits, small)).train


def test_batches_kept_are_not_overwritten(train: Loader) -> None:
    kept, copies = [], []
    for batch in train.epoch(0):
        kept.append(batch)
        copies.append(Batch(**{f.name: getattr(batch, f.name).clone() for f in fields(Batch)}))
    assert_same(joined(kept), joined(copies))


def test_two_epochs_may_be_read_at_the_same_time(train: Loader) -> None:
    alone = [read(train, 0), read(train, 1)]
    pairs = list(zip(train.epoch(0), train.epoch(1), strict=True))
    for epoch in (0, 1):
        assert_same(joined([pair[epoch] for pair in pairs]), alone[epoch])


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5.0)  # a pool's threads end a moment after the pool
        assert not thread.is_alive()


@pytest.mark.slow
@pytest.mark.usefixtures("no_thread_left")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("read_before", [1, 8, 12])
def test_an_abandoned_epoch_leaves_no_thread(beton: Path, recipe: Recipe, read_before: int, threads: int) -> None:
    """12 batches, of which FFCV reads three ahead: abandoned in the middle, near the end and at the end."""
    running = set(threading.enumerate())
    loader = beton_loaders(beton, recipe.with_({"data.batch_size": 8}), threads=threads).train
    epoch = loader.epoch(0)
    for _ in range(read_before):
        next(epoch)
    epoch.close()
    left = [t for t in set(threading.enumerate()) - running if not t.name.startswith("decode")]
    assert not left
    assert len(read(loader, 0).index) == 96  # and the loader can go on


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """80 photographs of several sizes, stored as JPEGs, and their bytes."""
    path = tmp_path_factory.mktemp("jpegs") / "jpegs.beton"
    files = list(photographs(80, sizes=[(60, 45), (45, 60), (60, 40), (75, 75)]))
    write_beton(from_samples([(file, i % 3) for i, file in enumerate(files)], classes=list("abc")), path, val=0.2)
    return path, files


CHANGES: list[dict[str, object]] = [
    {},
    {"data.interpolation": "bilinear", "evaluation.crop_ratio": 1.0},
    {"augment.crop": "simple_random_crop"},
    {"augment.repeats": 4, "data.resolution": 40},
]


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("split", ["train", "val"])
def test_the_c_extension_changes_no_batch(
    jpegs: tuple[Path, list[bytes]],
    recipe: Recipe,
    split: str,
    changes: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loader = splits_of(beton_loaders(jpegs[0], recipe.with_(changes), threads=2))[split]
    ours = read(loader)
    monkeypatch.setattr(native, "AVAILABLE", False)
    assert_same(read(loader), ours)


@pytest.mark.parametrize("extension", [True, False])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_image_reaches_the_caller_by_name(
    jpegs: tuple[Path, list[bytes]],
    recipe: Recipe,
    threads: int,
    extension: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, files = jpegs
    monkeypatch.setattr(native, "AVAILABLE", extension and native.AVAILABLE)
    loaders = beton_loaders(path, recipe.with_({"augment.repeats": 1}))
    bad = int(read(loaders.train).index[-1])
    number = int(np.flatnonzero(_is_train(path))[bad])
    damaged = tmp_path / "damaged.beton"
    shutil.copy(path, damaged)
    shutil.copy(f"{path}.json", f"{damaged}.json")
    start = damaged.read_bytes().index(files[number])
    with damaged.open("r+b") as file:
        file.seek(start + 300)
        file.write(bytes(len(files[number]) - 300))
    train = beton_loaders(damaged, recipe.with_({"data.batch_size": 8, "augment.repeats": 1}), threads=threads).train
    for _ in range(2):  # and it does so again
        with pytest.raises(InterplayError, match=rf"damaged\.beton: sample {number} cannot be decoded \(.+\); write"):
            read(train)


def _is_train(path: Path) -> NDArray[np.bool_]:
    reader = engine.Reader(str(path))
    splits: NDArray[np.bool_] = reader.metadata[f"f{reader.field_names.index('split')}"] == 0
    return splits


@pytest.mark.slow
@pytest.mark.usefixtures("no_thread_left")
def test_two_hundred_loaders_leave_nothing_behind(jpegs: tuple[Path, list[bytes]], recipe: Recipe) -> None:
    """As many as a search opens in one worker, every second epoch abandoned."""
    memory = []
    for number in range(200):
        loader = beton_loaders(jpegs[0], recipe.with_({"data.batch_size": 8}), threads=2).train
        epoch = loader.epoch(number)
        next(epoch)
        if number % 2:
            assert len(list(epoch)) == len(loader) - 1
        epoch.close()
        del epoch, loader
        memory.append(psutil.Process().memory_info().rss)
    assert memory[-1] - memory[50] < 20e6


# ------------------------------------------------------------------------------------------ data sets
def test_the_digits_are_written_once(digits_beton: Path) -> None:
    written = digits_beton.stat().st_mtime_ns
    assert locate("digits", digits_beton.parent) == digits_beton
    assert digits_beton.stat().st_mtime_ns == written


def test_a_data_set_is_located_by_name_and_by_path(beton: Path) -> None:
    assert locate("random", beton.parent) == beton.resolve()
    assert locate(str(beton), Path("elsewhere")) == beton.resolve()
    assert locate("random.beton", beton.parent) == beton.resolve()


@pytest.mark.parametrize(
    ("name", "fix"),
    [("missing", r"there are: digits, random\); give the path"), ("missing.beton", "interplay data write SOURCE")],
)
def test_a_data_set_that_does_not_exist(name: str, fix: str, beton: Path) -> None:
    with pytest.raises(InterplayError, match=fix):
        locate(name, beton.parent)


# ------------------------------------------------------------------------------- a policy in the loader
@pytest.mark.skipif(not native.AVAILABLE, reason="needs the C extension")
@pytest.mark.parametrize("ops", [("grayscale", "solarise", "blur"), ("blur",), ("solarise", "grayscale")])
def test_three_augment_in_the_loader_is_the_devices(photos: Path, recipe: Recipe, ops: tuple[str, ...]) -> None:
    changed = recipe.with_({"augment.policy": {"kind": "three_augment", "ops": list(ops)}})
    policy = policy_in_loader(changed.augment, seed=3)
    assert policy is not None
    for epoch in (0, 1):
        early = read(beton_loaders(photos, changed, policy=policy, threads=2).train, epoch)
        late = read(beton_loaders(photos, changed).train, epoch)
        keys = Keys(3, epoch, late.index.numpy(), late.view.numpy())
        assert not torch.equal(early.images, late.images)
        assert torch.equal(early.images, apply_policy(changed.augment.policy, late.images, keys))


@pytest.mark.skipif(not native.AVAILABLE, reason="needs the C extension")
def test_a_policy_in_the_loader_is_not_applied_again(photos: Path, recipe: Recipe) -> None:
    changed = recipe.with_({"augment.policy": "three_augment", "schedule.epochs": 2})
    policy = policy_in_loader(changed.augment, changed.seeds.augment)
    early = fit(changed, beton_loaders(photos, changed, policy=policy)).metrics
    late = fit(changed, beton_loaders(photos, changed)).metrics
    assert early["train/loss"] == late["train/loss"]


def test_other_policies_stay_on_the_device(recipe: Recipe) -> None:
    assert policy_in_loader(recipe.with_({"augment.policy": "rand_augment"}).augment, seed=0) is None
