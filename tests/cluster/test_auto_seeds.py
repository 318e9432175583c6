"""`seeds="auto"` on real trainings: seeds where rows are undecided, a budget, continuing, and the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interplay.errors import InterplayError
from interplay.recipe import Recipe, find_recipe
from interplay.report.study import study_table
from interplay.studies import Repeats, StudyOutcome, run_ablation
from interplay.study.ablation import BASELINE, Ablation, Row
from interplay.study.definition import read_definition

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.usefixtures("ray_session")]

ROWS = Ablation(
    "What does seeds auto do?",
    [
        Row("does not learn", {"optimiser.lr": 1e-9, "schedule.warmup_lr": 1e-10, "schedule.min_lr": 1e-10}),
        Row("nearly the baseline", {"model.drop_path": 0.04}),
        Row("diverges", {"optimiser.lr": 1e12, "schedule.min_lr": 1e12}),
    ],
)


@pytest.fixture
def cell(digits_beton: Path) -> Recipe:
    """Learns in seconds: about 90 % on the test split, and 10 % without learning."""
    return find_recipe("digits.deit_small_patch4").with_(
        {
            "data.dataset": str(digits_beton),
            "schedule.epochs": 4,
            "schedule.warmup_epochs": 1,
            "evaluation.every": 4,
            "augment.repeats": 1,
            "augment.policy": "none",
            "augment.mixup": 0.0,
            "augment.cutmix": 0.0,
        }
    )


def test_seeds_go_to_what_is_undecided(cell: Recipe, tmp_path: Path) -> None:
    def auto(max_seeds: int | None = 4, max_cells: int | None = None, margin: float | None = None) -> StudyOutcome:
        return run_ablation(
            cell,
            ROWS,
            Repeats("auto", max_seeds=max_seeds, max_cells=max_cells, margin=margin),
            name="a",
            root=tmp_path,
        )

    def finished() -> dict[Path, float]:
        return {path: path.stat().st_mtime for path in tmp_path.glob("cells/*/result.json")}

    def seeds() -> dict[str, list[int]]:
        return {row.label: list(row.cells) for row in read_definition(tmp_path, "a").rows}

    with pytest.raises(InterplayError, match=r"the first look needs 12 cells .* raise --max-cells 11"):
        auto(max_cells=11)
    assert not (tmp_path / "studies" / "a" / "study.yaml").exists()

    assert auto(max_cells=13).complete  # one more cell is no use: a pair takes two
    assert len(finished()) == 12
    assert study_table(tmp_path, "a").notes[1].startswith("Undecided rows with looks left: 1.")

    first = finished()
    assert auto(max_cells=14).complete
    labels = [BASELINE, *(row.label for row in ROWS.rows)]
    assert seeds() == {label: [0, 1, 2] + [3] * (label in (BASELINE, "nearly the baseline")) for label in labels}
    everything = finished()
    assert len(everything) == 14
    assert {path: everything[path] for path in first} == first

    definition = read_definition(tmp_path, "a")
    assert definition.looks == [3, 4]
    assert auto(max_seeds=None).complete  # it keeps to its plan
    assert read_definition(tmp_path, "a") == definition
    assert finished() == everything

    tree = json.loads(study_table(tmp_path, "a").json)
    table = {row["label"]: row for row in tree["rows"]}
    assert tree["looks"] == [3, 4]
    assert table["does not learn"]["verdict"] == "worse"
    assert table["does not learn"]["looks"] == [3]
    assert table["does not learn"]["p"] == pytest.approx(3 * 7 / 3 * table["does not learn"]["difference"]["p"])
    assert table["diverges"]["verdict"] == "failed"
    assert table["nearly the baseline"]["looks"] == [3, 4]
    assert table["nearly the baseline"]["decided"] is False
    assert table["nearly the baseline"]["smallest_effect"] > 0

    for options, message in (
        ({"max_seeds": 8}, "looks at 3, 4 seeds; leave out --max-seeds"),
        ({"margin": 1.0}, "has the margin 0.2; leave out --margin"),
    ):
        with pytest.raises(InterplayError, match=message):
            auto(**options)  # type: ignore[arg-type]
    with pytest.raises(InterplayError, match="looks at 3, 4 seeds; run it with --seeds auto"):
        run_ablation(cell, ROWS, Repeats(range(3)), name="a", root=tmp_path)
    assert finished() == everything
    assert read_definition(tmp_path, "a") == definition
