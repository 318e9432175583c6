"""Recipes of two stages, and what can be asked of their checkpoints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from interplay.cli import main
from interplay.errors import InterplayError
from interplay.recipe import Recipe, fingerprint, to_yaml
from interplay.report.status import COMPLETE, study_status
from interplay.report.study import study_table
from interplay.studies import Repeats, Wanted, run_ablation, run_search, run_training
from interplay.studies.plans import RowsPlan, plan_ablation
from interplay.study.ablation import Ablation, Row
from interplay.study.cells import cell_of
from interplay.study.definition import write_definition
from interplay.study.driving.execution import Execution
from interplay.tracking.journal import read
from interplay.tracking.store import DIVERGED, EARLIER_DIVERGED, Cell, CellStore
from interplay.training import fit, load


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, digits_beton: Path) -> Path:
    folder = tmp_path_factory.mktemp("stages")
    (folder / "datasets").symlink_to(digits_beton.parent)
    return folder


@pytest.fixture
def staged(tiny: Recipe) -> Recipe:
    """One epoch at 16 pixels, then one at 20 with the head alone trained."""
    first = tiny.with_({"name": "first", "schedule.epochs": 1, "schedule.warmup_epochs": 0, "data.batch_size": 256})
    later = {"name": "second", "after": first.model_dump(mode="json"), "data.resolution": 20, "trainable": "head"}
    return first.with_(later)


@pytest.mark.slow
def test_the_later_stage_starts_where_the_earlier_one_ends(staged: Recipe, root: Path) -> None:
    outcome = run_training(staged, root=root, name="chain")
    assert outcome.complete
    store, later = CellStore(root), cell_of(staged, root)
    assert later.earlier is not None
    first, second = (load(store.checkpoint(c.fingerprint))["model"] for c in (later.earlier, later))
    assert torch.equal(first["blocks.1.mlp.mix.fc1.weight"], second["blocks.1.mlp.mix.fc1.weight"])
    assert not torch.equal(first["head.weight"], second["head.weight"])
    assert second["stem.position.pos_embed"].shape != first["stem.position.pos_embed"].shape


def test_an_earlier_stage_is_trained_once_for_all_rows(staged: Recipe, root: Path) -> None:
    run_training(staged, root=root, name="chain")
    before = CellStore(root).checkpoint(cell_of(staged, root).earlier.fingerprint).stat().st_mtime_ns  # type: ignore[union-attr]
    changes = {"optimiser.weight_decay": 0.01}
    assert run_training(staged.with_(changes), root=root, name="one row").complete
    rows = Ablation("Which?", [Row("less decay", changes)])
    outcome = run_ablation(staged, rows, Repeats([0]), name="rows", root=root)  # a table of what is there
    assert outcome.complete
    after = CellStore(root).checkpoint(cell_of(staged, root).earlier.fingerprint).stat().st_mtime_ns  # type: ignore[union-attr]
    assert before == after


def test_the_fingerprint_holds_the_earlier_stage(staged: Recipe, root: Path) -> None:
    other = staged.with_({"after.optimiser.lr": 1e-4})
    assert cell_of(other, root).fingerprint != cell_of(staged, root).fingerprint
    renamed = staged.with_({"after.name": "another name"})
    assert cell_of(renamed, root).fingerprint == cell_of(staged, root).fingerprint
    with pytest.raises(ValueError, match="needs that stage's fingerprint"):
        fingerprint(staged, "0" * 64)


def test_a_search_does_not_vary_an_earlier_stage(staged: Recipe, root: Path) -> None:
    def space(trial: Any) -> dict[str, Any]:
        return {"after.optimiser.lr": trial.suggest_float("after.optimiser.lr", 1e-4, 1e-2)}

    with pytest.raises(InterplayError, match="search the earlier stage in a study of its own"):
        run_search(staged, space, Wanted(trials=1), name="search", root=root)


# ------------------------------------------------------------------------------------ stages that diverge
WILD = {"after.optimiser.lr": 1e12, "after.schedule.min_lr": 1e12}


def events(root: Path, cell: Cell) -> list[str]:
    return [record["event"] for record in read(CellStore(root).journal(cell.fingerprint))[0]]


def test_after_a_stage_that_diverged_nothing_is_trained(staged: Recipe, root: Path) -> None:
    wild = staged.with_(WILD)
    cell, store = cell_of(wild, root), CellStore(root)
    assert cell.earlier is not None
    for _ in range(2):  # the second time nothing is trained either
        outcome = run_training(wild, root=root, name="wild")
        assert outcome.complete
        assert [store.result(c.fingerprint).status for c in (cell.earlier, cell)] == [DIVERGED, EARLIER_DIVERGED]  # type: ignore[union-attr]
        assert events(root, cell.earlier).count("start") == 1
        assert events(root, cell) == ["end"]
    (row,) = study_table(root, "wild").rows
    assert (row.verdict, dict(row.missing)) == ("failed", {0: EARLIER_DIVERGED})
    assert study_status(root, "wild").state == COMPLETE

    def space(trial: Any) -> dict[str, Any]:
        return {"optimiser.lr": trial.suggest_float("optimiser.lr", 1e-4, 1e-2)}

    with pytest.raises(InterplayError, match=r"the earlier stage first has diverged .*; change it first"):
        run_search(wild, space, Wanted(trials=1), name="no start", root=root)
    assert not (root / "studies" / "no start").exists()


@pytest.mark.slow
def test_the_other_rows_of_a_table_go_on(staged: Recipe, root: Path) -> None:
    rows = [
        Row("wild", WILD, expects_failure="diverged"),
        Row("no start", {"after.data.batch_size": 512, "after.augment.repeats": 2}),
    ]
    ablation = Ablation("?", rows)
    for _ in range(2):
        outcome = run_ablation(staged, ablation, Repeats([0]), name="goes on", root=root)
        assert outcome.complete
    table = {row.label: row for row in study_table(root, "goes on").rows}
    assert {label: row.verdict for label, row in table.items()} == {
        "baseline": "baseline",
        "wild": "failed, as published",
        "no start": "one seed",
    }
    wild = cell_of(staged.with_(WILD), root)
    assert events(root, wild) == ["end"]
    assert outcome.runs.keys() == {cell for row in table.values() for cell in row.cells.values()}  # MLflow shows it


# --------------------------------------------------------------------------------------- seeds of stages
def test_each_seed_may_have_earlier_stages_of_its_own(staged: Recipe, root: Path) -> None:
    ablation = Ablation("?", [Row("less decay", {"optimiser.weight_decay": 0.01})])

    def planned(repeats: Repeats, name: str = "", recipe: Recipe | None = None) -> RowsPlan:
        return plan_ablation(recipe or staged, ablation, repeats, name=name, root=root, execution=Execution())

    def earlier(plan: RowsPlan) -> list[int]:
        """Seeds of the earlier stages that would be trained."""
        return sorted({cell.earlier.fingerprint: cell.earlier.seed for cell in plan.cells if cell.earlier}.values())

    assert earlier(planned(Repeats([1, 2, 3]))) == [0]
    own = planned(Repeats([1, 2, 3], every_stage=True), "own")
    assert earlier(own) == [1, 2, 3]
    assert all(cell.earlier is not None and cell.earlier.seed == cell.seed for cell in own.cells)
    assert earlier(planned(Repeats("auto", every_stage=True))) == [0, 1, 2]
    write_definition(root, own.definition)
    with pytest.raises(InterplayError, match="was run with --seed-every-stage; choose another --name"):
        planned(Repeats([1, 2, 3]), "own")
    assert any("spread is that of all stages" in note for note in study_table(root, "own").notes)
    write_definition(root, planned(Repeats([1]), "shared").definition)
    assert any("the spread holds for that one" in note for note in study_table(root, "shared").notes)
    with pytest.raises(InterplayError, match="no row has an earlier stage; leave --seed-every-stage out"):
        planned(Repeats([0], every_stage=True), recipe=staged.after)


def test_the_command_line_offers_it(staged: Recipe, root: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "staged.yaml"
    recipe.write_text(to_yaml(staged))
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from interplay import Ablation, Row\n\n\n"
        "def rows():\n    return Ablation('?', [Row('less decay', {'optimiser.weight_decay': 0.01})])\n"
    )
    command = ["check", str(recipe), "--ablation", f"{mine}:rows", "--seeds", "3"]
    shared, own = run(root, *command), run(root, *command, "--seed-every-stage")
    assert "earlier stages are trained once, with their own seeds" in shared
    assert "earlier stages are trained once for each seed" in own
    left = [int(re.search(r"(\d+) to train", text)[1]) for text in (shared, own)]  # type: ignore[index]
    assert left[1] - left[0] in (2, 3)  # three first stages, of which one may have been trained here


# ------------------------------------------------------------------------------------------------- other
def test_start_and_after_exclude_each_other(staged: Recipe) -> None:
    with pytest.raises(InterplayError, match="set one of them"):
        staged.with_({"start": __file__})


def test_a_later_stage_alone_says_what_it_needs(staged: Recipe, random_splits: Any) -> None:
    from interplay.data import array_loaders

    with pytest.raises(InterplayError, match="give its checkpoint as start"):
        fit(
            staged.with_({"data.batch_size": 32}), array_loaders(random_splits, staged.with_({"data.batch_size": 32}))
        )


# ------------------------------------------------------------------------------------------- evaluating
def run(root: Path, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["--storage", str(root), *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_sweep_over_crops_and_resolutions(staged: Recipe, root: Path, tmp_path: Path) -> None:
    run_training(staged, root=root, name="chain")
    folder = str(CellStore(root).directory(cell_of(staged, root).fingerprint))
    sweep = ["--crop-ratio", "0.875", "--crop-ratio", "1.0", "--resolution", "20", "--resolution", "24"]
    table = run(root, "evaluate", folder, "--data", "digits", *sweep, "--out", str(tmp_path / "out.json"))
    assert [line.split()[:3] for line in table.splitlines()[1:]] == [
        ["digits", side, ratio] for side in ("20", "24") for ratio in ("0.875", "1.0")
    ]
    rows = json.loads((tmp_path / "out.json").read_text())
    assert len(rows) == 4
    assert sum(map(sum, rows[0]["confusion"])) == 359
    trained = CellStore(root).result(cell_of(staged, root).fingerprint)
    assert trained is not None
    assert rows[1]["scores"]["top1"] == pytest.approx(trained.metrics["test/top1"])


def test_disagreement_and_right_labels(staged: Recipe, root: Path, tmp_path: Path) -> None:
    run_training(staged, root=root, name="chain")
    later = cell_of(staged, root)
    assert later.earlier is not None
    one, other = (str(CellStore(root).directory(c.fingerprint)) for c in (later, later.earlier))
    assert "test/disagreement  0.0000" in run(root, "evaluate", one, "--data", "digits", "--against", one)
    assert "test/disagreement  0.0000" not in run(root, "evaluate", one, "--data", "digits", "--against", other)
    every = tmp_path / "real.json"
    every.write_text(json.dumps([list(range(10))] * 359))
    assert "test/top1  100.0000" in run(root, "evaluate", one, "--data", "digits", "--right-labels", str(every))
    command = ["--storage", str(root), "evaluate", one, "--data", "digits", "--fusion", "first"]
    assert "has one head" in CliRunner().invoke(main, command).output


def test_measuring_a_model(root: Path) -> None:
    lines = run(root, "measure", "resmlp_s12", "--batch", "1", "--resolution", "32", "--runs", "3").splitlines()
    assert len(lines) == 2
    assert lines[1].split()[0] == "resmlp_s12"
    assert float(lines[1].split()[4]) > 0
