"""Audits: what a cut would have lost and what a selection has gained, by hand and against what made the numbers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report.audit import study_audit
from interplay.study.definition import ABLATION, StudyDefinition, StudyRow, write_definition
from interplay.study.evidence.audit import Cut, audit_cuts, audit_selection, finished_curves, fit_line
from interplay.tracking.journal import Journal, read
from interplay.tracking.store import DIVERGED, FINISHED, CellResult, CellStore, write_result

# after epoch 1 the order is reversed, after epoch 2 it is the final one
CURVES = {
    "a": {1: 10.0, 2: 80.0, 3: 90.0},
    "b": {1: 20.0, 2: 70.0, 3: 80.0},
    "c": {1: 30.0, 2: 60.0, 3: 70.0},
    "d": {1: 40.0, 2: 50.0, 3: 60.0},
}


def test_cuts_by_hand() -> None:
    """Kept are 2 of 4 with eta 2; the top quarter is `a` alone, which the first cut loses."""
    first, second = audit_cuts(CURVES, eta=2.0)
    assert first == Cut(1, 4, pytest.approx(-1.0), pytest.approx(2 / 24), 2, 1, 1)
    assert second == Cut(2, 4, pytest.approx(1.0), pytest.approx(2 / 24), 2, 1, 0)


def test_equal_cells_share_their_fate() -> None:
    """Three are equal at the cut: whoever keeps one keeps all; two are equal at the top: both count."""
    curves = {name: {1: 50.0, 2: final} for name, final in zip("abc", (90.0, 90.0, 10.0), strict=True)}
    (cut,) = audit_cuts({**curves, "d": {1: 40.0, 2: 20.0}}, eta=4.0)
    assert (cut.kept, cut.top, cut.lost) == (3, 2, 0)
    (blind,) = audit_cuts(curves)
    assert (blind.tau, blind.p, blind.kept, blind.lost) == (None, None, 3, 0)


def test_cells_of_other_lengths() -> None:
    """A cell that had ended, or was not measured then, is not cut; fewer than three are not compared."""
    curves = {**CURVES, "short": {1: 99.0}, "sparse": {3: 1.0, 4: 2.0}}
    assert [(cut.epoch, cut.cells) for cut in audit_cuts(curves)] == [(1, 4), (2, 4)]
    assert audit_cuts({"a": {1: 1.0, 2: 2.0}, "b": {1: 2.0, 2: 3.0}}) == []


def test_noise_early_is_agreement_late() -> None:
    """Curves whose noise falls with the epochs: tau rises towards 1, and what a cut loses falls."""
    rng = np.random.default_rng(0)
    final = rng.normal(90.0, 1.0, 200)
    spreads = {1: 20.0, 2: 2.0, 3: 0.1, 4: 0.0}
    values = {epoch: final + rng.normal(0.0, spread, 200) for epoch, spread in spreads.items()}
    cuts = audit_cuts({str(i): {epoch: float(v[i]) for epoch, v in values.items()} for i in range(200)})
    taus, lost = [cut.tau for cut in cuts], [cut.lost for cut in cuts]
    assert taus == sorted(taus)
    assert lost == sorted(lost, reverse=True)
    assert [cut.top for cut in cuts] == [50] * 3
    # a cut that knows nothing keeps one in three of the top quarter
    assert lost[0] / 50 == pytest.approx(2 / 3, abs=0.2)
    assert lost[-1] == 0


def test_a_line_finds_what_made_the_numbers() -> None:
    rng = np.random.default_rng(1)
    val = rng.normal(90.0, 2.0, 500)
    test = 5.0 + 0.9 * val + rng.normal(0.0, 0.3, 500)
    line = fit_line(list(zip(val.tolist(), test.tolist(), strict=True)))
    assert line is not None
    assert (line.slope, line.residual_std, line.cells) == (
        pytest.approx(0.9, abs=0.03),
        pytest.approx(0.3, abs=0.03),
        500,
    )
    assert line.slope_error == pytest.approx(0.3 / (val.std() * 500**0.5), rel=0.1)
    assert (line.slope, line.intercept) == pytest.approx(np.polyfit(val, test, 1))
    assert fit_line([(1.0, 2.0), (2.0, 3.0)]) is None
    assert fit_line([(1.0, 2.0)] * 5) is None


def test_selection_by_hand() -> None:
    found = audit_selection({"a": (90.0, 88.0), "b": (95.0, 90.0), "c": (80.0, 82.0)})
    assert found is not None
    assert (found.cell, found.gap, found.cells) == ("b", 5.0, 3)
    assert (found.mean_gap, found.overfit) == (pytest.approx(5 / 3), pytest.approx(5.0 - 5 / 3))
    assert found.gap_std == pytest.approx(np.std([2.0, 5.0, -2.0], ddof=1))
    assert audit_selection({"a": (90.0, 88.0)}) is None


def test_selecting_among_equals_is_all_luck() -> None:
    """Twenty cells of one true accuracy: the best on val owes the expected maximum of twenty normals to it."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(500):
        pairs = dict(zip(map(str, range(20)), rng.normal(90.0, 1.0, (20, 2)).tolist(), strict=True))
        selection = audit_selection({name: (val, test) for name, (val, test) in pairs.items()})
        assert selection is not None
        found.append(selection.overfit)
    assert np.mean(found) == pytest.approx(1.87, abs=0.15)  # the expected maximum (tables of order statistics)


def write_journal(path: Path, curve: dict[int, float], status: str | None) -> Path:
    journal = Journal(path)
    journal.append("start", executor="inline")
    for epoch, value in curve.items():
        journal.append("epoch", epoch=epoch, metrics={"val/top1": value, "train/loss": 1.0})
    if status is not None:
        journal.append("end", status=status, metrics={})
    return path


def test_curves_of_journals(tmp_path: Path) -> None:
    """Only finished cells, the last record of an epoch, epochs at which the metric was measured and finite."""
    files = {
        "done": write_journal(tmp_path / "done", CURVES["a"], FINISHED),
        "diverged": write_journal(tmp_path / "diverged", CURVES["b"], DIVERGED),
        "running": write_journal(tmp_path / "running", CURVES["c"], None),
        "odd": write_journal(tmp_path / "odd", {1: 1.0, 2: float("nan")}, None),
        "none": tmp_path / "missing",
    }
    odd = Journal(files["odd"])
    odd.append("epoch", epoch=1, metrics={"val/top1": 7.0})
    odd.append("epoch", epoch=3, metrics={"train/loss": 2.0})
    odd.append("end", status=FINISHED, metrics={})
    curves = finished_curves({name: read(path)[0] for name, path in files.items()})
    assert curves == {"done": CURVES["a"], "odd": {1: 7.0}}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An ablation of two rows and two seeds, with one more cell that diverged."""
    store = CellStore(tmp_path)
    for name, curve in CURVES.items():
        write_journal(store.journal(name), curve, FINISHED)
        val = max(curve.values())
        metrics = {"val/top1": val, "test/top1": val - 2.0 - (name == "a"), "v2/top1": 0.5 * val}
        write_result(store.directory(name), CellResult(name, FINISHED, metrics, {}))
    write_journal(store.journal("e"), {1: 5.0}, DIVERGED)
    write_result(store.directory("e"), CellResult("e", DIVERGED, {}, {}))
    rows = [StudyRow("baseline", {}, {0: "a", 1: "b"}), StudyRow("other", {}, {0: "c", 1: "d", 2: "e"})]
    recipe = Recipe().model_dump(mode="json")
    write_definition(tmp_path, StudyDefinition("s", ABLATION, "?", recipe, "d", "val/top1", rows))
    return tmp_path


def test_a_stored_study_is_audited(root: Path) -> None:
    audit = study_audit(root, "s", eta=2.0)
    assert (audit.cells, audit.unfinished) == (4, 1)
    assert audit.cuts == audit_cuts(CURVES, eta=2.0)
    text = " ".join(audit.drawn("text").split())
    assert audit.drawn("text").splitlines()[2].split() == ["1", "4", "-1.00", "0.083", "2", "1", "1"]
    assert "1 of 5 cells did not finish: it is not known what they would have reached." in text
    assert "val/top1 - test/top1: +3.00 for the cell that is best by val/top1 (a), +2.25 ± 0.50 for all 4" in text
    assert "selecting it accounts for +0.75" in text
    assert list(csv.reader(io.StringIO(audit.drawn("csv"))))[1][0] == "1"
    assert json.loads(audit.drawn("json"))["selection"]["overfit"] == pytest.approx(0.75)
    assert audit.drawn("md").startswith("| cut after epoch |")


def test_another_metric(root: Path) -> None:
    audit = study_audit(root, "s", against="v2/top1")
    assert audit.line is not None
    assert (audit.line.slope, audit.line.residual_std) == (pytest.approx(0.5), pytest.approx(0.0, abs=1e-9))
    assert "v2/top1 = 0.00 + 0.50 (± 0.00) x val/top1 over 4 cells" in audit.drawn("text")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"against": "v3/top1"}, "no cell of 's' has 'v3/top1'; there is test/top1, v2/top1, val/top1"),
        ({"eta": 1.0}, "--eta 1 must be over 1"),
        ({"name": "t"}, "there is no study 't'"),
    ],
)
def test_refusals(root: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(InterplayError, match=message):
        study_audit(root, **{"name": "s", **options})  # type: ignore[arg-type]


def test_nothing_to_cut(root: Path) -> None:
    """All were measured at the last epoch only."""
    for name, curve in CURVES.items():
        CellStore(root).journal(name).unlink()
        write_journal(CellStore(root).journal(name), {3: curve[3]}, FINISHED)
    audit = study_audit(root, "s")
    assert audit.cuts == []
    assert "No cut to audit: val/top1 was measured at the end only" in audit.drawn("text")
    assert "Kendall" not in audit.drawn("text") + audit.drawn("md")


def test_too_few_cells(root: Path) -> None:
    for name in "ab":
        (CellStore(root).journal(name)).unlink()
    with pytest.raises(InterplayError, match="study 's' has 2 finished cells; an audit takes 3 at least"):
        study_audit(root, "s")
