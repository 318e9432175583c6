"""What a study will need: sizes are counted exactly, times are measured or left open, nothing is written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interplay.checks import ablation_lines, search_lines
from interplay.data.arrays import array_loaders
from interplay.data.manifest import manifest_path
from interplay.errors import InterplayError
from interplay.models import build
from interplay.recipe import LearntEmbedding, LinearProjector, NoInstance, Recipe, find_recipe
from interplay.studies.plans import plan_ablation, plan_search
from interplay.studies.searching import Wanted
from interplay.studies.seeds import Repeats
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.cells import cell_of
from interplay.study.definition import study_directory, write_definition
from interplay.study.driving.budget import Budget, parse_prices
from interplay.study.driving.execution import Execution
from interplay.study.foresight.effects import meta_model
from interplay.study.foresight.footprint import footprint, kept_for_backward
from interplay.study.foresight.forecast import check_cells, forecast
from interplay.study.search.proposals import OptunaProposals
from interplay.tracking.store import FINISHED, Cell, CellResult, CellStore, write_result
from interplay.training import fit
from tests.unit.refusals import check_refused, listing, run

# ------------------------------------------------------------------------------------------------- sizes
OPTIMISERS = ["adamw", "lamb", "sgd", "adagrad"]


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_checkpoints_are_as_large_as_foreseen(tiny: Recipe, optimiser: str, random_splits: Any) -> None:
    recipe = tiny.with_({"optimiser": optimiser, "average": "ema", "schedule.epochs": 1, "schedule.warmup_epochs": 0})
    state = fit(recipe, array_loaders(random_splits, recipe)).state
    stored = sum(t.numel() * t.element_size() for t in tensors({k: v for k, v in state.items() if k != "recipe"}))
    steps = 4 * sum(1 for _ in meta_model(recipe, 5).parameters())  # some optimisers count steps for each tensor
    assert 0 <= stored - footprint(recipe, 5).checkpoint <= steps


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from tensors(one)
    elif isinstance(value, list):
        for one in value:
            yield from tensors(one)


def test_frozen_weights_have_neither_gradients_nor_states(tiny: Recipe) -> None:
    whole, head = footprint(tiny, 5), footprint(tiny.with_({"trainable": "head"}), 5)
    assert head.weights == whole.weights
    assert (head.parameters, head.gradients, head.states) == (16 * 5 + 5, 4 * 85, 8 * 85)
    assert footprint(tiny, 5).gradients == whole.gradients  # the shared model is as it was


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", None), ("bf16", torch.bfloat16)])
def test_activations_are_those_of_a_real_forward(tiny: Recipe, precision: str, dtype: torch.dtype | None) -> None:
    recipe = tiny.with_({"model.scale": "layer_scale", "precision": precision})
    model, images = build(recipe.model, classes=5, image_size=16), torch.randn(8, 3, 16, 16)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if (address := tensor.untyped_storage().data_ptr()) not in own:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            answer = model(images)
        answer.float().log_softmax(-1).sum()
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert kept_for_backward(recipe, 5, 8, dtype) == real


MEASURE = """
import torch
from interplay.models import build
from interplay.recipe import find_recipe
from interplay.training.meter import PeakMemory
from interplay.training.optimiser import make_optimiser

torch.set_num_threads(1)
recipe = find_recipe("deit.small").with_({"model.depth": 6})
images = torch.randn(16, 3, 224, 224)


def steps(model, images):
    optimiser = make_optimiser(recipe.optimiser, model)
    for _ in range(2):
        optimiser.zero_grad()
        model(images).log_softmax(-1).sum().backward()
        optimiser.step()


steps(build(recipe.model.model_copy(update={"depth": 1}), classes=5, image_size=224), images[:1])  # loads libraries
before = PeakMemory(torch.device("cpu")).megabytes()
peak = PeakMemory(torch.device("cpu"))
steps(build(recipe.model, classes=5, image_size=224), images)
print(peak.megabytes() - before)
"""


@pytest.mark.slow
def test_memory_is_about_what_a_process_uses() -> None:
    """Within a fifth: the forecast leaves out images, temporary results and the allocator's own."""
    recipe = find_recipe("deit.small").with_({"model.depth": 6})
    foreseen = (footprint(recipe, 5).resident + (kept_for_backward(recipe, 5, 16, None) or 0)) / 2**20
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert 0.8 < float(done.stdout) / foreseen < 1.25


# --------------------------------------------------------------------------------------- time, disk, device
@pytest.fixture
def root(tmp_path: Path, digits_beton: Path) -> Path:
    """A storage root with the digits."""
    (tmp_path / "datasets").mkdir()
    for path in (digits_beton, manifest_path(digits_beton)):
        shutil.copy(path, tmp_path / "datasets" / path.name)
    return tmp_path


def test_time_is_measured_or_left_open(tiny: Recipe, root: Path) -> None:
    execution = Execution(concurrency=2, budget=Budget(prices=parse_prices("cpu=3.6")))
    cells = [cell_of(tiny.with_seed(seed), root) for seed in range(3)]
    unknown = forecast(cells, root, execution)
    assert (unknown.total, unknown.finished, unknown.missing) == (3, 0, 3)
    assert (unknown.hours, unknown.cost, unknown.epoch_s) == (None, None, None)

    write_finished(root, cells[0], images_per_s=100.0)
    known = forecast(cells, root, execution)
    images = 1151 // 32 * 32
    assert known.epoch_s == pytest.approx((images / 100, images / 100))
    assert (known.finished, known.missing) == (1, 2)
    assert known.cpu_hours == pytest.approx(2 * 2 * images / 100 / 3600)
    assert known.hours == pytest.approx(images * 2 / 100 / 3600)
    assert known.cost == pytest.approx(2 * 2 * images / 100 / 1000)
    other = forecast([cell_of(tiny.with_({"data.batch_size": 16}), root)], root, execution)
    assert other.hours is None  # another batch: not its speed
    threads = forecast(cells, root, Execution(threads=2))
    assert threads.hours is None


def write_finished(root: Path, cell: Cell, images_per_s: float, top1: float = 90.0) -> None:
    directory = CellStore(root).prepare(cell)
    metrics = {"throughput/images_per_s": images_per_s, "test/top1": top1, "val/top1": top1}
    evidence = {"device": "CPU, 1 threads", "workers": 1, "threads": 1}
    write_result(directory, CellResult(cell.fingerprint, FINISHED, metrics, evidence))


def test_a_probe_takes_steps_and_writes_nothing(tiny: Recipe, root: Path) -> None:
    before = listing(root)
    found = forecast([cell_of(tiny, root)], root, Execution(), probing=True)
    assert found.hours is not None
    assert found.hours > 0
    assert found.speeds == ("a probe of 2 steps here",)
    assert listing(root) == before


KNN: dict[str, Any] = {
    "embedding": LearntEmbedding(projector=LinearProjector(width=10**9), instance=NoInstance()),
    "evaluation.retrieval": "nearest",
}
REFUSED: list[tuple[dict[str, Any], Execution, str]] = [
    ({}, Execution(keep_last=10**9), r"checkpoints of 1 cells need .* make room, or choose another --storage"),
    ({"data.resolution": 8192}, Execution(), r"needs .* with 32 images in memory, .*; set --micro-batch \d+ or less"),
    ({"model.width": 200_000}, Execution(), "more than the .* of the device; choose a smaller model"),
    (
        KNN,
        Execution(),
        r"the memory of .* embeddings of width 1000000000 needs .* MiB on cpu, .*; share it",
    ),
    ({}, Execution(workers=17), "data.batch_size=32 has 16 pairs of images for 17 workers; use 16 or fewer"),
    (KNN, Execution(workers=4, fewest_workers=2), "gives 3 workers different parts, .*; use a multiple of 6"),
]


@pytest.mark.parametrize(("changes", "execution", "message"), REFUSED, ids=[m[:30] for _, _, m in REFUSED])
def test_what_cannot_fit_is_refused(
    tiny: Recipe, root: Path, changes: dict[str, Any], execution: Execution, message: str
) -> None:
    with pytest.raises(InterplayError, match=message):
        forecast([cell_of(tiny.with_(changes), root)], root, execution)


def test_memory_is_that_of_the_fewest_workers(tiny: Recipe, root: Path) -> None:
    images = [
        forecast([cell_of(tiny, root)], root, Execution(workers=4, fewest_workers=fewest)).memory.images
        for fewest in (0, 3, 1)
    ]
    assert images == [8, 12, 32]  # of 32; three share 16 pairs as 6, 5 and 5


def test_a_search_is_refused_only_if_no_cell_fits(tiny: Recipe, root: Path) -> None:
    cells = [cell_of(tiny.with_({"model.width": width}), root) for width in (16, 200_000)]
    with pytest.raises(InterplayError, match="choose a smaller model"):
        check_cells(cells, root, Execution())
    with pytest.raises(InterplayError, match=r"need .* make room"):  # half of 10,000 cells are of the large one
        check_cells(cells, root, Execution(), total=10_000)
    check_cells(cells[:1], root, Execution(), total=10_000)


# ------------------------------------------------------------------------------------------- whole studies
def lines_of(*command: str | Path) -> dict[str, str]:
    result = run(*command)
    assert result.exit_code == 0, result.output
    return {line[:12].strip(): line[12:] for line in result.stdout.splitlines() if line[:1] != " "}


DIGITS = "digits.deit_small_patch4"


def test_check_and_dry_run_say_the_same(root: Path) -> None:
    before = listing(root)
    ablation = ["digits.leave_one_out_demo", "--seeds", "2"]
    dry = lines_of("--storage", root, "ablate", DIGITS, *ablation, "--name", "a", "--dry-run")
    assert dry == lines_of("--storage", root, "check", DIGITS, "--ablation", *ablation)
    assert dry["cells"] == "12: 0 finished, 12 to train"
    assert dry["time"].startswith("—")
    assert dry["seeds"].endswith("the spread is as the thesis prints it for ImageNet")
    search = lines_of("--storage", root, "search", DIGITS, "digits.demo", "--trials", "7", "--name", "s", "--dry-run")
    assert search == lines_of("--storage", root, "check", DIGITS, "--space", "digits.demo", "--trials", "7")
    assert search["cells"] == "7: 0 finished, 7 to train"
    assert listing(root) == before


@pytest.mark.slow
def test_looking_writes_nothing(tmp_path: Path) -> None:
    """Not even the data set that is built in, or the data base of the Optuna study."""
    root, base = tmp_path / "runs", tmp_path / "search.db"
    dry = ["--storage", root, "search", DIGITS, "digits.demo", "--trials", "7", "--name", "s", "--dry-run"]
    here = [
        lines_of("--storage", root, "check", DIGITS),
        lines_of(*dry, "--optuna-storage", f"sqlite:///{base}"),
        lines_of("--storage", root, "ablate", DIGITS, "digits.leave_one_out_demo", "--name", "a", "--dry-run"),
    ]
    assert [lines["data"].split(":")[0] for lines in here] == ["digits.beton"] * 3
    assert not list(tmp_path.iterdir())
    there = lines_of("--storage", root, "check", DIGITS, "--probe")
    assert "(from a probe of " in there["time"]
    assert not list(tmp_path.iterdir())
    nowhere = ["--optuna-storage", f"sqlite:///{tmp_path / 'none' / 'search.db'}"]
    check_refused(run(*dry, *nowhere), "nothing can be written to .*none; name another place")


def test_finished_and_shared_cells_are_said(tiny: Recipe, root: Path) -> None:
    rows = [
        Row("deeper", {"model.depth": 3}),
        Row("again", {"model.depth": 3}),
        Row("as it is", {}, same_as=BASELINE),
    ]
    ablation = Ablation("?", rows)
    for seed, top1 in enumerate((90.0, 91.0)):
        write_finished(root, cell_of(tiny.with_seed(seed), root), 100.0, top1)
    plan = plan_ablation(tiny, ablation, Repeats([0, 1, 2]), name="a", root=root, execution=Execution())
    assert len(plan.cells) == 6
    assert [sentence.rpartition(" are one cell")[0] for sentence in plan.shared] == [
        *(f"baseline (seed {seed}) and as it is (seed {seed})" for seed in range(3)),
        *(f"deeper (seed {seed}) and again (seed {seed})" for seed in range(3)),
    ]
    lines = ablation_lines(plan, ablation, root, Execution(), seeds=3)
    assert "cells       6: 2 finished, 4 to train" in lines
    assert any("spread of a row over seeds 0.71" in line and "of 2 finished seeds" in line for line in lines)


def test_a_search_that_is_there_goes_on(tiny: Recipe, root: Path) -> None:
    def space(trial: Any) -> Mapping[str, Any]:
        return {"optimiser.lr": trial.suggest_float("optimiser.lr", 1e-4, 1e-2)}

    dataset = cell_of(tiny, root).dataset
    how: dict[str, Any] = {"name": "s", "root": root, "execution": Execution()}
    first = plan_search(tiny, space, Wanted(trials=3, space_name="mine"), **how)
    write_definition(root, first.definition)
    proposals = OptunaProposals(study_directory(root, "s"), space, tiny, dataset, CellStore(root), first.search)
    for _ in range(2):
        cell = proposals.next()
        assert cell is not None
        write_finished(root, cell, 100.0)
        proposals.settle(cell.fingerprint)
    again = plan_search(tiny, space, Wanted(trials=5, space_name="mine"), **how)
    assert again.done == 2
    assert "cells       5: 2 finished, 3 to train" in search_lines(again, root, Execution())
