"""Tables: rows are pure functions of definitions and results, drawing adds nothing and loses nothing."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from interplay.errors import InterplayError
from interplay.recipe import Recipe
from interplay.report import draw
from interplay.report.notes import ablation_notes
from interplay.report.rows import AblationRow, Measured, SearchRecord, ablation_rows, published_agreement, search_rows
from interplay.report.study import best_cell, study_table
from interplay.study.ablation import BASELINE, Ablation, Row, leave_one_out
from interplay.study.definition import (
    ABLATION,
    SEARCH,
    StudyDefinition,
    StudyRow,
    read_definition,
    study_directory,
    write_definition,
)
from interplay.study.evidence.power import smallest_effect
from interplay.study.evidence.stats import LEVEL, RankAgreement
from interplay.tracking.store import DIVERGED, FINISHED, CellResult, write_result

TEST = "test/top1"
RUN = [97.0, 96.5, 97.2, 96.8, 97.1]
NAN = float("nan")


def study(rows: dict[str, list[object]]) -> tuple[StudyDefinition, dict[str, CellResult | None]]:
    """An ablation of which each row has, seed by seed, a test top-1, a status, or None while it waits."""
    made, results = [], {}
    for number, (label, values) in enumerate(rows.items()):
        cells = {seed: f"cell-{number}-{seed}" for seed in range(len(values))}
        for seed, value in enumerate(values):
            results[cells[seed]] = result_of(cells[seed], value)
        made.append(StudyRow(label, {}, cells, {"IN1k": 81.8} if number == 1 else {}))
    return StudyDefinition("s", ABLATION, "Which?", {}, "d.beton", "val/top1", made), results


def result_of(cell: str, value: object) -> CellResult | None:
    if value is None:
        return None
    if isinstance(value, str):
        return CellResult(cell, value, {}, {})
    metrics = {TEST: float(value), "val/top1": 1.0} if value == value else {"val/top1": 1.0}  # type: ignore[arg-type]
    return CellResult(cell, FINISHED, metrics, {})


def rows_of(**rows: list[object]) -> dict[str, AblationRow]:
    return {row.label: row for row in ablation_rows(*study(rows))}


@pytest.mark.parametrize(
    ("values", "baseline", "verdict"),
    [
        ([99.0, 98.4, 99.3, 98.8, 99.2], RUN, "better"),
        ([95.0, 94.6, 95.1, 94.8, 95.2], RUN, "worse"),
        ([97.3, 96.1, 97.5, 96.4, 97.0], RUN, "inside noise"),
        ([97.01, 96.49, 97.22, 96.81, 97.09], RUN, "same within 0.2"),
        (RUN, RUN, "inside noise"),
        ([99.0], [97.0], "one seed"),
        ([99.0, None, None], [97.0, 96.0, 95.0], "one seed"),
        ([98.0, 97.0], [97.0, 96.0], "no spread"),
        ([98.0, DIVERGED, 99.0], [97.0, 96.0, 95.0], "failed"),
        ([DIVERGED] * 3, [97.0, 96.0, 95.0], "failed"),
        ([None] * 3, [97.0, 96.0, 95.0], "waiting"),
        ([97.0, 96.0, 95.0], [None] * 3, "waiting"),
        ([97.0, None], [None, 97.0], "waiting"),
        ([NAN] * 2, [NAN] * 2, "not measured"),
    ],
)
def test_verdicts(values: list[object], baseline: list[object], verdict: str) -> None:
    rows = rows_of(baseline=baseline, other=values)
    assert rows["other"].verdict == verdict
    assert rows["other"].published == {"IN1k": 81.8}
    assert rows[BASELINE].difference is None
    assert rows[BASELINE].verdict == (verdict if verdict == "not measured" else BASELINE)


def test_a_row_that_is_the_baseline() -> None:
    definition, results = study({BASELINE: [97.0, 96.0], "again": [0.0, 0.0]})
    definition.rows[1].cells.update(definition.rows[0].cells)
    assert [row.verdict for row in ablation_rows(definition, results)] == [BASELINE, "same as baseline"]


def test_differences_are_paired_and_corrected_for_all_rows() -> None:
    shifted = [v + 0.3 + 0.1 * i for i, v in enumerate(RUN)]
    alone = rows_of(baseline=RUN, one=shifted)["one"]
    among = rows_of(baseline=RUN, one=shifted, two=[v - 0.1 for v in RUN[::-1]], three=RUN[::-1])["one"]
    assert alone.difference == among.difference
    assert alone.difference is not None
    assert alone.p == alone.difference.p
    assert among.p == pytest.approx(3 * alone.p)
    assert alone.difference.mean == pytest.approx(0.5)


def test_rows_that_cannot_be_tested_count_as_rows() -> None:
    """Else a row's p would rise when the others have their seeds, and a claim could be taken back."""
    shifted = [v + 0.3 + 0.1 * i for i, v in enumerate(RUN)]
    rows = rows_of(baseline=RUN, one=shifted, two=[None] * 5, three=[DIVERGED] * 5)
    assert rows["one"].difference is not None
    assert rows["one"].p == pytest.approx(3 * rows["one"].difference.p)


def test_what_could_have_been_shown() -> None:
    rows = rows_of(baseline=RUN, one=RUN[::-1], two=[v + 0.4 for v in RUN])
    difference = rows["one"].difference
    assert difference is not None
    assert rows["one"].smallest_effect == smallest_effect(5, difference.std, LEVEL / 2)
    assert rows["one"].bootstrap is not None
    assert rows["two"].smallest_effect is None  # no spread
    _, table = draw.ablation_table(list(rows.values()))
    assert [line[5] for line in table] == [draw.DASH, f"{rows['one'].smallest_effect:.2f}", draw.DASH]


def test_planned_looks_decide_by_complete_looks() -> None:
    definition, results = study({BASELINE: [*RUN, 97.0], "other": [*RUN[::-1], None], "far": [90.0, 90.1, 89.9]})
    (_, other, far) = ablation_rows(replace(definition, looks=[3, 5, 8]), results)
    assert (other.looks, far.looks) == ((3, 5), (3,))
    assert (other.decided, far.decided) == (False, True)
    assert other.difference is not None
    assert other.difference.pairs == 5
    assert other.smallest_effect == smallest_effect(5, other.difference.std, LEVEL / 2 * 5 / 16)


def test_a_wider_margin_calls_more_the_same() -> None:
    definition, results = study(
        {BASELINE: RUN, "other": [v + d for v, d in zip(RUN, [0.2, 0.3, 0.25, 0.3, 0.2], strict=True)]}
    )
    (_, other) = ablation_rows(definition, results)
    assert other.same_p is not None
    assert other.same_p > LEVEL
    (_, wide) = ablation_rows(replace(definition, margin=2.0), results)
    assert wide.same_p is not None
    assert wide.same_p < LEVEL
    assert wide.verdict == other.verdict == "better"  # a difference that is real comes first


def test_more_seeds_of_the_baseline_leave_its_copy_a_copy() -> None:
    definition, results = study({BASELINE: RUN, "again": [0.0] * 3})
    definition.rows[1].cells.update({seed: definition.rows[0].cells[seed] for seed in range(3)})
    assert ablation_rows(definition, results)[1].verdict == "same as baseline"


PRINTED = {BASELINE: 81.8, "a": 81.2, "b": 79.6, "c": 74.5}


def printed(values: dict[str, list[object]], **changes: object) -> tuple[list[AblationRow], StudyDefinition]:
    made, results = study(values)
    std = {"a": {"top1": 0.1}}
    rows = [
        replace(row, published={"top1": PRINTED[row.label]}, published_std=std.get(row.label, {}))
        for row in made.rows
    ]
    definition = replace(made, rows=rows, **changes)  # type: ignore[arg-type]
    return ablation_rows(definition, results), definition


def test_published_numbers_stand_next_to_ours() -> None:
    ours = {BASELINE: RUN, "a": [v - 0.1 for v in RUN[::-1]], "b": [96.0] * 5, "c": [96.2] * 5}
    rows, definition = printed(ours)
    assert [row.published_differences for row in rows] == [
        {},
        *({"top1": pytest.approx(d)} for d in (-0.6, -2.2, -7.3)),
    ]
    _, table = draw.ablation_table(rows)
    assert [line[6] for line in table] == ["81.8", "81.2 ± 0.1 (-0.6)", "79.6 (-2.2)", "74.5 (-7.3)"]
    agreement = published_agreement(rows)
    # of six pairs of rows one is in another order
    assert agreement == {"top1": RankAgreement(pytest.approx(4 / 6), pytest.approx(8 / 24), 4)}  # type: ignore[arg-type]
    assert (
        ablation_notes(rows, definition, agreement)[-1]
        == "Order of the rows against published top1: Kendall's tau +0.67 (p 0.333, 4 rows)."
    )
    assert published_agreement(rows[:2]) == {}


def test_rows_that_failed_in_print_and_rows_that_are_not_run() -> None:
    made, results = study({BASELINE: RUN, "a": [DIVERGED] * 5, "b": RUN[::-1], "c": []})
    how = {"a": {"expects_failure": "diverged"}, "b": {"expects_failure": "diverged"}, "c": {"not_run": "no V2"}}
    definition = replace(made, rows=[replace(row, **how.get(row.label, {})) for row in made.rows])  # type: ignore[arg-type]
    rows = ablation_rows(definition, results)
    assert [row.verdict for row in rows] == [BASELINE, "failed, as published", "inside noise", "not run"]
    notes = ablation_notes(rows, definition, {})
    assert "c was not run: no V2." in notes
    assert "b failed where it was published (diverged); it trains here." in notes
    assert not [note for note in notes if note.startswith("a ")]


def test_notes_say_what_the_p_values_are_corrected_for() -> None:
    ours = {BASELINE: RUN, "a": RUN[::-1], "b": [90.0, 90.1, 89.9]}
    rows, definition = printed(ours, looks=[3, 5, 8])
    first, left, *rest = ablation_notes(rows, definition, {})
    assert first.startswith("p: paired t test, corrected for 2 rows (Holm) and for looks at 3, 5, 8 seeds")
    assert left == "Undecided rows with looks left: 1. Run the study again to go on with them."
    assert rest == ["Seeds differ between rows: a difference is over those that the row shares with the baseline."]
    extended = ablation_notes(*printed(ours, looked=[3, 5]), {})
    assert "Run with 3, then 5 seeds: p is not corrected for looking in between; --seeds auto is." in extended
    assert ablation_notes(*printed({BASELINE: [None], "a": [None]}), {}) == []


def test_a_table_fits_120_columns() -> None:
    label = "no repeated augmentation"
    made, results = study({BASELINE: RUN, label: [v - 11.11 + 0.1 * i for i, v in enumerate(RUN)]})
    rows = ablation_rows(
        replace(made, rows=[replace(row, published={"top1_val": 81.8 - len(row.label)}) for row in made.rows]),
        results,
    )
    text = draw.to_text(draw.ablation_table(rows))
    assert max(map(len, text.splitlines())) <= 120


def test_missing_seeds_are_named() -> None:
    row = rows_of(baseline=RUN, other=[98.0, DIVERGED, None, NAN, 97.0])["other"]
    assert row.missing == {1: "diverged", 2: "waiting", 3: "not measured"}
    assert row.test.seeds == (0, 4)
    _, ((_, *_), line) = draw.ablation_table(list(rows_of(baseline=RUN, other=[98.0, DIVERGED, None]).values()))
    assert line[4] == "failed (seeds 1 diverged, 2 waiting)"


def test_no_number_without_evidence() -> None:
    rows = list(rows_of(baseline=[None], other=[None]).values())
    headers, table = draw.ablation_table(rows)
    assert headers[-1] == "published IN1k"
    assert table[0][1:] == [draw.DASH] * 3 + ["baseline (seeds 0 waiting)", draw.DASH, draw.DASH]
    assert table[1][1:] == [draw.DASH] * 3 + ["waiting (seeds 0 waiting)", draw.DASH, "81.8"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (Measured(None, None, ()), "—"),
        (Measured(97.0, None, (0,)), "97.00 (1)"),
        (Measured(97.314, 0.4161, (0, 1, 4)), "97.31 ± 0.42 (3)"),
    ],
)
def test_measured(number: Measured, expected: str) -> None:
    assert draw.measured(number) == expected


def test_search_rows_best_first_unfinished_last() -> None:
    results = {
        "a": CellResult("a", FINISHED, {"val/top1": 90.0, TEST: 99.0}, {}),
        "b": CellResult("b", FINISHED, {"val/top1": 95.0}, {}),
        "c": CellResult("c", DIVERGED, {"val/top1": 99.0}, {}),
        "d": CellResult("d", FINISHED, {"val/top1": 0.0, TEST: 0.0}, {}),
        "f": CellResult("f", FINISHED, {"val/top1": 95.0, TEST: 96.0}, {}),
    }
    states = ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "RUNNING", "COMPLETE"]
    records = [
        SearchRecord(i, name, {"model.heads": i}, state)
        for i, (name, state) in enumerate(zip("abcdef", states, strict=True))
    ]
    rows = search_rows(records, results)
    assert [row.fingerprint for row in rows] == ["b", "f", "a", "d", "c", "e"]
    assert [row.test for row in rows] == [None, 96.0, 99.0, 0.0, None, None]
    headers, table = draw.search_table(rows, most=2)
    assert headers == ["trial", "cell", "val top-1", "test top-1", "state", "model.heads"]
    assert table == [["1", "b", "95.00", "—", "COMPLETE", "1"], ["5", "f", "95.00", "96.00", "COMPLETE", "5"]]


LABELS = ['say "hi", twice', "a|b", "<script>alert(1)</script>", "two\nlines", "é ± 漢", ""]


@pytest.fixture
def odd() -> list[AblationRow]:
    return list(rows_of(baseline=RUN, **{label: [97.0] * 5 for label in LABELS}).values())


def test_text_is_aligned() -> None:
    table: draw.Table = (["row", "n"], [["a longer label", "1"], ["b", "22"], ["two\nlines", "3"]])
    assert draw.to_text(table).splitlines() == [
        "row             n",
        "--------------  --",
        "a longer label  1",
        "b               22",
        "two lines       3",
    ]


def test_markdown_keeps_its_columns(odd: list[AblationRow]) -> None:
    lines = draw.to_markdown(draw.ablation_table(odd)).splitlines()
    assert len(lines) == 2 + len(odd)
    assert {line.replace("\\|", "").count("|") for line in lines} == {lines[1].count("|")}
    assert "a\\|b" in lines[4]
    assert "<" not in "".join(lines)


def test_csv_reads_back(odd: list[AblationRow]) -> None:
    headers, table = draw.ablation_table(odd)
    assert list(csv.reader(io.StringIO(draw.to_csv((headers, table))))) == [headers, *table]
    assert [line[0] for line in table] == [BASELINE, *LABELS]


def test_json_holds_everything(odd: list[AblationRow]) -> None:
    tree = json.loads(draw.to_json(odd, study="s"))
    assert tree["study"] == "s"
    assert [row["label"] for row in tree["rows"]] == [BASELINE, *LABELS]
    assert tree["rows"][1]["difference"]["pairs"] == 5
    assert tree["rows"][0]["cells"]["4"] == "cell-0-4"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, "—"), (0.123456, "0.123"), (1e-4, "0.0001"), ([0.1, 2], "[0.1, 2]"), (True, "True"), ("x", "x")],
)
def test_values_as_a_person_reads_them(value: object, expected: str) -> None:
    assert draw.value_text(value) == expected


def test_a_stored_study_is_reported_from_its_folder(tmp_path: Path, tiny: Recipe) -> None:
    made, results = study({BASELINE: RUN, "other": [98.0, None, None, None, None]})
    definition = StudyDefinition("s", ABLATION, "Which?", tiny.model_dump(mode="json"), "d", "val/top1", made.rows)
    write_definition(tmp_path, definition)
    assert read_definition(tmp_path, "s") == definition
    for cell, result in results.items():
        if result is not None:
            (tmp_path / "cells" / cell).mkdir(parents=True)
            write_result(tmp_path / "cells" / cell, result)
    table = study_table(tmp_path, "s")
    assert not table.complete
    assert len(table.cells) == 10
    assert table.markdown.startswith("# s\n\nWhich?\n\n| row |")
    assert set(table.artifacts()) == {"table.md", "table.json"}
    with pytest.raises(InterplayError, match="'s' is an ablation; only a search has a best cell"):
        best_cell(tmp_path, "s")


def test_another_metric_has_a_table_and_published_numbers_of_its_own(tmp_path: Path, tiny: Recipe) -> None:
    made, _ = study({BASELINE: RUN, "a": [98.0] * 5, "b": [99.0] * 5})
    numbers = dict(zip((BASELINE, "a", "b"), (53.7, 26.4, 57.1), strict=True))
    rows = [replace(row, published={"separability": numbers[row.label], "top1": 80.0}) for row in made.rows]
    definition = StudyDefinition("s", ABLATION, "Which?", tiny.model_dump(mode="json"), "d", "val/top1", rows)
    write_definition(tmp_path, definition)
    for row in rows:
        for seed, cell in row.cells.items():
            (tmp_path / "cells" / cell).mkdir(parents=True)
            metrics = {"test/separability": numbers[row.label] + seed, TEST: 97.0}
            write_result(tmp_path / "cells" / cell, CellResult(cell, FINISHED, metrics, {}))
    table = study_table(tmp_path, "s", metric="test/separability")
    assert table.table[0][1] == "test/separability"
    assert [row.test.mean for row in table.rows] == pytest.approx([number + 2 for number in numbers.values()])
    assert json.loads(table.json)["published_order"].keys() == {"separability"}
    with pytest.raises(InterplayError, match="has the metric 'test/map'; there are test/separability, test/top1"):
        study_table(tmp_path, "s", metric="test/map")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": SEARCH}, "study 's' is a ablation; choose another --name for this search"),
        ({"space": "digits.demo"}, "choose another --name for digits.demo"),
        ({"recipe": {"model": {"family": "vit", "drop_path": 0.1}}}, r"another recipe \(model\.drop_path\)"),
    ],
)
def test_a_study_is_not_overwritten_by_another(tmp_path: Path, change: dict[str, object], message: str) -> None:
    head = {"name": "s", "question": "?", "dataset": "d", "metric": "val/top1"}
    recipe = Recipe().model_dump(mode="json")
    write_definition(tmp_path, StudyDefinition(**{**head, "kind": ABLATION, "recipe": recipe}))  # type: ignore[arg-type]
    other = StudyDefinition(**{**head, "kind": ABLATION, "recipe": recipe, **change})  # type: ignore[arg-type]
    with pytest.raises(InterplayError, match=message):
        write_definition(tmp_path, other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ({}, {"looks": [3, 5]}, "was run with given seeds; for --seeds auto choose another --name"),
        ({"looks": [3, 5]}, {}, "looks at 3, 5 seeds; run it with --seeds auto, or choose another --name"),
        ({"looks": [3, 5]}, {"looks": [3, 5, 8]}, "looks at 3, 5 seeds; leave out --max-seeds"),
        ({"looks": [3]}, {"looks": [3], "margin": 1.0}, "has the margin 0.2; leave out --margin"),
    ],
)
def test_a_plan_is_not_changed_after_looking(
    tmp_path: Path, old: dict[str, object], new: dict[str, object], message: str
) -> None:
    definition = StudyDefinition("s", ABLATION, "?", Recipe().model_dump(mode="json"), "d", "val/top1")
    write_definition(tmp_path, replace(definition, **old))  # type: ignore[arg-type]
    write_definition(tmp_path, replace(definition, **old))  # type: ignore[arg-type]
    with pytest.raises(InterplayError, match=message):
        write_definition(tmp_path, replace(definition, **new))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a:b", "it's", 'a"b', "two\nlines", "\0", "a" * 101])
def test_names_no_folder_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(InterplayError, match="a study cannot be called"):
        study_directory(tmp_path, name)


def test_no_such_study(tmp_path: Path) -> None:
    with pytest.raises(InterplayError, match=r"there is no study 'x'; .* holds none"):
        read_definition(tmp_path, "x")
    write_definition(tmp_path, StudyDefinition("demo", SEARCH, "?", {}, "d", "val/top1"))
    with pytest.raises(InterplayError, match="there is no study 'demoo'; did you mean 'demo'"):
        read_definition(tmp_path, "demoo")


def test_ablations_resolve_their_rows(tiny: Recipe) -> None:
    ablation = leave_one_out("?", {"flip": {"augment.flip": 0.1}})
    assert [(row.label, recipe.augment.flip) for row, recipe in ablation.resolve(tiny)] == [
        (BASELINE, 0.0),
        ("no flip", 0.1),
    ]
    with pytest.raises(InterplayError, match=r"row 'x': .*did you mean"):
        Ablation("?", [Row("x", {"augment.flipp": 0.1})]).resolve(tiny)
    with pytest.raises(InterplayError, match="two rows of the ablation are called 'baseline'"):
        Ablation("?", [Row(BASELINE, {"augment.flip": 0.1})]).resolve(tiny)
