"""The page of a study, its figures and its other formats: right numbers, every link leads somewhere, all escaped."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from interplay.cli import main
from interplay.models import build
from interplay.recipe import Recipe
from interplay.report.account import Account, commands, ledger_grid, read_account, retried_grid
from interplay.report.draw import DASH
from interplay.report.explained import KEPT
from interplay.report.figures.chart import (
    Axis,
    Band,
    Bars,
    Chart,
    Limit,
    Line,
    Note,
    Point,
    Points,
    Tiles,
    evenly,
    scale_of,
    spreads,
    tick_text,
    ticks,
)
from interplay.report.figures.curves import early_and_final, row_curves, spread_along_epochs
from interplay.report.figures.png import chart_png
from interplay.report.figures.searches import history, pareto_fronts
from interplay.report.figures.seeds import seed_histograms, set_against_set
from interplay.report.figures.svg import to_svg
from interplay.report.figures.tradeoffs import accuracy_against_cost, drop_path_figures
from interplay.report.latex import to_latex
from interplay.report.page import render, study_page
from interplay.report.sections import figures_of
from interplay.report.story import Story, read_story
from interplay.report.tables import ablation_grid
from interplay.report.values import toggle_columns, value_at
from interplay.studies import sync_study
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyRow, study_directory, write_definition
from interplay.study.driving.ledger import command_line
from interplay.tracking.journal import Journal
from interplay.tracking.store import CellStore
from interplay.training.checkpoint import save
from tests import studies

NOW = studies.BEGAN + 1e6


class _Page(HTMLParser):
    """Ids, links, sources and words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                (self.links if tag == "a" else self.sources).append(value or "")
            elif name == "src":
                self.sources.append(value or "")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.words += data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ablation `a1`, the search `s1` with two objectives, cut, failed and unfinished cells."""
    root = tmp_path_factory.mktemp("runs")
    studies.write_table(root)
    studies.write_search(
        root,
        studies.small_recipe(),
        40,
        objectives=["val/top1", "parameters:min"],
        constraints=["parameters<=140e3"],
        cut=4,
        failed=2,
        running=1,
    )
    return root


@pytest.fixture(scope="module")
def table(root: Path) -> Story:
    return read_story(root, "a1")


@pytest.fixture(scope="module")
def search(root: Path) -> Story:
    return read_story(root, "s1")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a1", "s1"])
def test_a_page_is_whole(root: Path, name: str) -> None:
    """Anchors are unique, links within it lead somewhere, nothing is fetched, and a label is no script."""
    html = study_page(root, name)
    page = _Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert page.sources == ["data:,"]
    assert not re.search(r"@import|url\((?!#)", html)
    assert page.tags.count("script") == 1
    assert "nan" not in re.findall(r"[a-z]+", page.words.lower())


def test_the_table_of_an_ablation(table: Story) -> None:
    """What the rows hold is what is drawn: marks, numbers with n, published ones, differences, links to all cells."""
    linked = set(table.cells)
    grid = ablation_grid(table, linked)
    names = [column.name for column in grid.columns]
    drawn = {row.values[0].text: dict(zip(names, row.values, strict=True)) for row in grid.rows}
    assert names == [
        *("row", "scale", "drop_path", "depth", "policy", "lr"),
        *("test top-1", "published top1", "difference", "p", "verdict", "could show"),
    ]
    base, plain, failed, absent = (drawn[name] for name in (BASELINE, "no LayerScale", studies.SCRIPT, "on V2"))
    assert [base[n].text for n in names[1:6]] == ["✓", "✓", "2", "✓", "0.003"]
    assert (plain["scale"].text, plain["scale"].mark, plain["policy"].mark) == ("✗", "", "dim")
    row = table.rows[0]
    assert row.test.mean is not None
    assert base["test top-1"].text == f"{row.test.mean:.2f} ± {row.test.std:.2f} (5)"
    assert base["test top-1"].sort == row.test.mean
    assert [link.href for link in base["test top-1"].links] == [f"#cell-{cell}" for cell in row.cells.values()]
    assert (plain["published top1"].text, plain["published top1"].more) == ("81.2 ± 0.1", "-0.6")
    difference = table.rows[2].difference
    assert difference is not None
    assert difference.low is not None
    assert drawn["no drop path"]["difference"].more.startswith(f"{difference.low:+.2f} to")
    assert {name: drawn[name]["verdict"].text for name in drawn} == {
        BASELINE: "baseline",
        "no LayerScale": "≈ inside noise",
        "no drop path": "▼ worse",
        "four blocks": "▲ better",
        "no policy": "▼ worse",
        studies.SCRIPT: "✕ failed",
        "on V2": "not run",
    }
    assert failed["verdict"].more == "5 seeds diverged"
    assert failed["test top-1"].text == absent["test top-1"].text == absent["scale"].text == DASH
    assert absent["row"].more == "not run: it needs ImageNet V2"


def test_check_marks_and_values(tmp_path: Path) -> None:
    """A part that is there or not is a mark, anything else its value; a part exchanged by name hides its fields."""
    recipe = studies.small_recipe().model_dump(mode="json")
    assert value_at({}, recipe, "model.scale.init") == 0.1
    assert value_at({"model.scale": "none"}, recipe, "model.scale.init") is None
    assert value_at({"model.scale": {"kind": "layer_scale", "init": 0.5}}, recipe, "model.scale.init") == 0.5
    rows = [StudyRow(BASELINE, {}, {}), *(StudyRow(f"lr {i}", {f"odd.path{i}": i}, {}) for i in range(12))]
    definition = studies.write_ablation(tmp_path, studies.small_recipe(), rows, seeds=[0])
    many = read_story(tmp_path, "a1")
    assert toggle_columns(definition, many.rows) == []
    grid = ablation_grid(many, [])
    assert [row.values[1].text for row in grid.rows][:3] == [DASH, "path0 0", "path1 1"]


def test_a_search_shows_what_became_of_its_cells(root: Path, search: Story) -> None:
    words = _Page(study_page(root, "s1")).words
    assert "Not complete: 33 of 40 cells finished, 2 failed, 4 pruned, 1 to go. Run the study again" in words
    assert "Early stopping cut 4 of 40 cells, after epoch 5." in words
    assert "RuntimeError: <b>no</b> room" in words
    assert "Only cells within parameters<=140e3 are trained." in words
    (chart,) = history(search)
    marks = {mark.name: mark for mark in chart.marks if isinstance(mark, Points | Line)}
    assert {name: len(mark.points) for name, mark in marks.items() if isinstance(mark, Points)} == {
        "a cell": 33,
        "cut, at what it had reached": 4,
        "failed, without a value": 2,
    }
    values = sorted((row.number, row.objectives["val/top1"]) for row in search.found if row.objectives)
    best = np.maximum.accumulate([value for _, value in values])
    assert [value for _, value in marks["best so far"].points[:-1]] == list(dict.fromkeys(best))  # type: ignore[union-attr]
    (front,) = pareto_fronts(search)
    on = next(mark for mark in front.marks if isinstance(mark, Points) and mark.name == "front")
    assert {point.cell for point in on.points} == {row.fingerprint for row in search.found if row.front}
    assert [mark.value for mark in front.marks if isinstance(mark, Limit)] == [140_000.0]


def test_figures_of_seeds_are_the_seeds(table: Story) -> None:
    first = table.rows[0]
    values = [table.cells[cell].metrics["test/top1"] for cell in first.cells.values()]
    bars, gaussian = seed_histograms(table)[0].marks
    assert isinstance(bars, Bars)
    assert isinstance(gaussian, Line)
    assert sum(height for _, _, height in bars.bars) == 5
    assert (bars.bars[0][0], bars.bars[-1][1]) == pytest.approx((min(values), max(values)))
    x, y = np.array(gaussian.points).T
    # the area under the curve is that of the bars, and its middle the mean
    assert np.trapezoid(y, x) == pytest.approx(5 * (bars.bars[0][1] - bars.bars[0][0]), rel=0.01)
    assert x[y.argmax()] == pytest.approx(np.mean(values), abs=1e-6)

    charts = {chart.title: chart for chart in row_curves(table)}
    assert list(charts) == ["no LayerScale", "no drop path", "four blocks", "no policy"]
    band, line = charts["four blocks"].marks[2:]
    curves = [table.cells[cell].curves["val/top1"] for cell in table.rows[3].cells.values()]
    at_10 = [curve[10] for curve in curves]
    assert isinstance(line, Line)
    assert isinstance(band, Band)
    assert dict(line.points)[10] == pytest.approx(np.mean(at_10))
    assert band.points[9][1:] == pytest.approx(
        (np.mean(at_10) - np.std(at_10, ddof=1), np.mean(at_10) + np.std(at_10, ddof=1))
    )
    whole, late = spread_along_epochs(table)
    assert isinstance(whole.marks[0], Band)
    assert whole.marks[0].points[0][1] == min(
        curve[1] for curve in (table.cells[c].curves["val/top1"] for c in first.cells.values())
    )
    assert late.x.start == 13


def test_figures_over_cells(table: Story, search: Story) -> None:
    (early,) = early_and_final(table)
    groups = [mark for mark in early.marks if isinstance(mark, Points)]
    assert [group.name for group in groups] == ["epoch 10", "epoch 16", "epoch 19"]
    point = groups[0].points[0]
    assert (point.x, point.y) == tuple(table.cells[point.cell].curves["val/top1"][epoch] for epoch in (10, 20))
    first, second = set_against_set(table)
    assert (first.title, second.title) == ("test/top1 against val/top1", "v2/top1 against test/top1")
    pairs = np.array([(point.x, point.y) for point in first.marks[0].points])  # type: ignore[union-attr]
    assert f"slope {np.polyfit(*pairs.T, 1)[0]:.2f} ±" in first.marks[1].name  # type: ignore[union-attr]
    costs = {chart.key: chart for chart in accuracy_against_cost(table)}
    sizes = {point.text.split(":")[0]: point.x for point in costs["cost-parameters"].marks[0].points}  # type: ignore[union-attr]
    assert sizes["four blocks"] > sizes[BASELINE] > sizes["no LayerScale"]
    (alone,) = drop_path_figures(table)
    drawn = {mark.name: [p.x for p in mark.points] for mark in alone.marks if isinstance(mark, Points)}
    assert drawn == {"depth 2": [0.0, 0.1], "depth 4": [0.1]}  # not the rows that change something else
    path, *_ = drop_path_figures(search)
    assert [mark.name for mark in path.marks if isinstance(mark, Points)] == [f"depth {i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("diverged", "No cell finished, 6 diverged: there are no numbers."),
        ("failed", "No cell finished, 6 failed: there are no numbers."),
        (None, "Not complete: 0 of 6 cells finished, 6 to go."),
    ],
)
def test_without_a_number(tmp_path: Path, status: str | None, sentence: str) -> None:
    definition = studies.write_ablation(tmp_path, studies.small_recipe(), studies.TABLE[:2])
    for row in definition.rows:
        for cell in row.cells.values():
            studies.write_cell(tmp_path, cell, 10.0, epochs=1, status=status, message="<script>")
    page = _Page(study_page(tmp_path, "a1"))
    assert sentence in page.words
    assert page.tags.count("script") == 1


def test_nothing_yet_and_numbers_that_are_none(tmp_path: Path) -> None:
    recipe = studies.small_recipe()
    studies.write_search(tmp_path, recipe, 0, name="empty")
    words = _Page(study_page(tmp_path, "empty")).words
    assert "Empty: there are no cells yet." in words
    assert "No cell has been proposed yet; run the search." in words
    definition = studies.write_ablation(tmp_path, recipe, studies.TABLE[:1])
    for cell in definition.rows[0].cells.values():
        studies.write_cell(tmp_path, cell, float("nan"))
    words = _Page(study_page(tmp_path, "a1")).words
    assert "not measured" in words
    assert "nan" not in words.lower()


def test_a_cell_leads_to_its_run(root: Path, table: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = next(iter(table.cells))
    account = read_account(root, "a1")
    page = _Page(render(table, account, {cell: "abc123"}, NOW))
    assert "http://127.0.0.1:5000/#/runs/abc123" in page.links
    assert "mlflow ui --backend-store-uri sqlite:///" in page.words
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example/x/")
    html = render(table, account, {cell: "abc123"}, NOW)
    assert "https://mlflow.example/x/#/runs/abc123" in _Page(html).links
    assert "secret" not in html


def test_what_it_used_and_what_was_tried_again(root: Path, table: Story, search: Story, tmp_path: Path) -> None:
    account = read_account(root, "a1")
    ((_, _, begun, ended, driver),) = [row.values for row in ledger_grid(account).rows]
    assert (begun.text, ended.text, driver.text) == ("30", "30 finished", "ended")
    assert retried_grid(table, account) is None
    journal = Journal(study_directory(tmp_path, "k") / "ledger.jsonl")
    for event, more in (("open", {"budget": {}}), ("begin", {"cell": "x", "cpus": 1.0, "gpus": 0.0, "device": ""})):
        journal.write({"at": NOW, "event": event, "run": "r", **more})
    killed = read_account(tmp_path, "k")
    assert [value.text for value in ledger_grid(killed).rows[0].values][3:] == ["1 lost", "✕ killed"]
    assert (killed.running(NOW + 5), killed.running(NOW + 500), account.running(NOW)) == (True, False, False)
    again = retried_grid(search, Account((), {}, None))
    assert again is not None
    assert [value.text for value in again.rows[0].values][2:] == ["2", "0, 3", "unfinished"]


def test_commands_can_be_typed(root: Path, table: Story) -> None:
    typed = ["/usr/bin/interplay", "search", "a space", "postgresql://me:secret@db/x"]
    assert command_line(typed) == "interplay search 'a space' 'postgresql://me:***@db/x'"
    assert command_line(["/lib/interplay/__main__.py", "train"]) == "interplay train"
    assert command_line(["/lib/pytest/__main__.py", "train"]) == command_line([]) == ""
    retrain, page = [command.text for command in commands(table, read_account(root, "a1"))]
    done = CliRunner().invoke(main, page.split()[1:])
    assert done.exit_code == 0, done.output
    assert Path(done.output.strip()) == study_directory(root, "a1") / "report.html"
    recipe = Path(retrain.split()[-1])
    assert recipe.is_file()
    assert CliRunner().invoke(main, ["recipe", "show", str(recipe)]).exit_code == 0


def test_formats(root: Path, tmp_path: Path) -> None:
    def report(*options: str) -> str:
        done = CliRunner().invoke(main, ["--storage", str(root), "report", "a1", *options])
        assert done.exit_code == 0, done.output
        return done.output

    text = report()
    assert text.startswith("row ")
    assert report("--format", "md", "--out", str(tmp_path / "t.md")).strip() == str(tmp_path / "t.md")
    assert (tmp_path / "t.md").read_text().startswith("# a1\n")
    latex = report("--format", "latex")
    assert latex.count(r"\\") == 8
    assert r"$\pm$" in latex
    done = CliRunner().invoke(
        main, ["--storage", str(root), "report", "a1", "--format", "html", "--out", str(tmp_path)]
    )
    assert (done.exit_code, "is a folder" in done.output) == (2, True)


def test_latex_is_escaped() -> None:
    rows = [["100 % of a_b & <c> {d} #1 $x$ ~ ^ \\", DASH], ["é", "1.0 ± 0.1"]]
    lines = to_latex((["row", "n"], rows)).splitlines()
    assert lines[4] == (
        r"100 \% of a\_b \& \textless{}c\textgreater{} \{d\} \#1 \$x\$ \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{} & --- \\"
    )
    assert lines[5] == r"é & 1.0 $\pm$ 0.1 \\"


def test_figures_as_files(tmp_path: Path) -> None:
    """Every figure of the page is a file."""
    definition = studies.write_ablation(tmp_path, studies.small_recipe(), studies.TABLE[:2], seeds=[0])
    studies.train_ablation(tmp_path, definition, studies.MEANS, epochs=4)
    done = CliRunner().invoke(main, ["--storage", str(tmp_path), "report", "a1", "--format", "png"])
    assert done.exit_code == 0, done.output
    folder = study_directory(tmp_path, "a1") / "figures"
    charts = figures_of(read_story(tmp_path, "a1"))
    assert done.output.split() == [str(folder / f"{chart.key}.png") for chart in charts]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ((0.0, 1.0), False, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((96.1, 97.3), False, [96.2, 96.4, 96.6, 96.8, 97.0, 97.2]),
        ((1e-4, 1e-2), True, [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]),
        ((5.0, 5.0), False, [4.8, 4.9, 5.0, 5.1, 5.2]),
        ((1.0, 1e9), True, [1.0, 1e2, 1e4, 1e6, 1e8]),
    ],
)
def test_ticks_are_round(values: tuple[float, float], log: bool, expected: list[float]) -> None:
    points = Points(tuple(Point(value, 0.0) for value in values))
    scale = scale_of(Chart("k", "t", "", Axis("x", log), Axis("y"), (points,)), "x")
    found = ticks(scale)
    assert all(scale.low <= value <= scale.high for value in found)
    if len(found) > 2:
        assert found == pytest.approx(expected)


def test_small_parts_of_figures() -> None:
    assert evenly(list(range(100)), 4) == [0, 33, 66, 99]
    assert evenly([1, 2], 4) == [1, 2]
    assert [tick_text(v) for v in (0.0, 0.05, 5.0, 12_000.0, 22.1e6, 4.6e9)] == [
        "0",
        "0.05",
        "5",
        "12k",
        "22.1M",
        "4.6G",
    ]
    assert spreads([10.0**i for i in range(-4, 0)])
    assert not spreads(np.linspace(0.001, 0.5, 50))
    assert not spreads([0.0, 1.0, 100.0])


ODD = '<script>"a&b"</script> $x$'


def test_drawing_escapes_and_keeps_within(tmp_path: Path) -> None:
    marks = (
        Tiles(((0.1, None), (0.9, 1.0)), ODD),
        Points((Point(0.0, 1.0, ODD, 'c"<'), Point(1.0, 0.0)), ODD, 3, labels=(ODD, ODD)),
        Line(((0.0, 0.0), (1.0, 1.0)), ODD, 2),
        Line((), ODD),
        Band(((0.0, 0.0, 1.0), (1.0, 0.0, 1.0)), ODD),
        Bars(((0.0, 1.0, 2.0),), ODD),
        Limit(0.5, "x", ODD),
        Limit(0.5, "y", ODD),
        Note(0.5, 0.5, ODD),
    )
    chart = Chart("k", ODD, ODD, Axis(ODD), Axis(ODD), marks)
    svg = to_svg(chart, {'c"<'})
    page = _Page(svg)
    assert "script" not in page.tags
    assert page.links == ['#cell-c"<']
    assert max(float(v) for v in re.findall(r"<rect [^>]*x=\"([-\d.]+)", svg)) < 440
    assert chart_png(chart).startswith(b"\x89PNG")
    names = Chart("k", ODD, "", Axis("x", names=(ODD, "b")), Axis("", names=(ODD,)), marks[1:2])
    assert "script" not in _Page(to_svg(names)).tags
    assert chart_png(names).startswith(b"\x89PNG")


@pytest.mark.slow
def test_mlflow_keeps_the_page(tmp_path: Path) -> None:
    definition = studies.write_ablation(tmp_path, studies.small_recipe(), studies.TABLE[:2], seeds=[0])
    studies.train_ablation(tmp_path, definition, studies.MEANS, epochs=3)
    sent, view = sync_study(tmp_path, "a1")
    assert sent
    (page,) = (tmp_path / "mlartifacts").rglob("report.html")
    assert view.parent in str(page)
    runs = view.runs()
    links = _Page(page.read_text()).links  # also to the runs that were sent last
    assert {link.rsplit("/", 1)[-1] for link in links if link.startswith("http")} == set(runs.values())
    assert len(runs) == 2


@pytest.mark.slow
def test_large_studies(tmp_path: Path) -> None:
    """200 cells of 100 epochs: below 10 seconds of processor time and 5 MB. 1,500 cells: thinned, and said so."""
    recipe = studies.small_recipe(100)
    studies.write_search(tmp_path, recipe, 200, epochs=100)
    began = time.process_time()
    html = study_page(tmp_path, "s1")
    assert time.process_time() - began < 10.0
    assert len(html.encode()) < 5e6
    rows = [
        StudyRow(BASELINE, {}, {}),
        *(StudyRow(f"row {i}", {"optimiser.lr": 1e-5 * i}, {}) for i in range(1, 300)),
    ]
    definition = studies.write_ablation(tmp_path, recipe, rows, seeds=range(5), name="many")
    studies.train_ablation(tmp_path, definition, {BASELINE: 90.0}, epochs=3, recipes=False)
    html = study_page(tmp_path, "many")
    page = _Page(html)
    assert len(html.encode()) < 8e6
    assert "The first 1,000 of 1,500 cells" in page.words
    assert "Drawn are 600 of 1,500 cells, evenly chosen." in page.words
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)


def test_a_story_of_few_seeds_has_no_histogram(table: Story) -> None:
    few = replace(
        table,
        table=replace(
            table.table, rows=tuple(replace(row, test=replace(row.test, seeds=(0, 1))) for row in table.rows)
        ),
    )
    assert seed_histograms(few) == []


@pytest.mark.slow
def test_reading_a_study_needs_no_pytorch(root: Path) -> None:
    """Loading it takes seconds: only counting the sizes of different models, for the page, is worth them."""
    code = (
        "import sys; from click.testing import CliRunner; from interplay.cli import main\n"
        "for command in sys.argv[2:]:\n"
        "    done = CliRunner().invoke(main, ['--storage', sys.argv[1], *command.split()])\n"
        "    assert done.exit_code == 0, done.output\n"
        "print(sorted({'torch', 'timm', 'ray', 'mlflow', 'ffcv'} & set(sys.modules)))"
    )
    commands = [f"report {name} --format {form}" for name in ("a1", "s1") for form in ("text", "md", "csv", "json")]
    more = ["report a1 --format latex", "report s1 --audit"]
    done = subprocess.run(
        [sys.executable, "-c", code, str(root), *commands, *more], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.slow
def test_what_the_best_cell_looks_at(tmp_path: Path, digits_beton: Path) -> None:
    """Asked for once it is kept: the page has it from then on, until the cell's checkpoint is another."""
    recipe = studies.small_recipe()
    definition = studies.write_ablation(tmp_path, recipe, studies.TABLE[:2], seeds=[0])
    studies.train_ablation(tmp_path, definition, {BASELINE: 95.0, "no LayerScale": 90.0}, epochs=2)

    def report(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["--storage", str(tmp_path), "report", "a1", "--format", *options])
        return done.exit_code, done.output

    code, said = report("html", "--explain")
    assert (code, "checkpoint" in said) == (2, True)
    assert report("text", "--explain")[0] == 2
    best, other = (row.cells[0] for row in definition.rows)
    for cell in (best, other):
        save_untrained(recipe, CellStore(tmp_path).checkpoint(cell))
    write_definition(tmp_path, replace(definition, dataset=str(digits_beton)))
    assert "explained" not in _Page(study_page(tmp_path, "a1")).ids
    assert report("html", "--explain")[0] == 0
    html = (study_directory(tmp_path, "a1") / "report.html").read_text()
    page = _Page(html)
    assert "explained" in page.ids
    assert {"Attention rollout", "Learned scales of the branches"} <= set(re.findall(r"<b>([^<]+)</b>", html))
    assert page.tags.count("img") > 4
    assert all(source.startswith("data:") for source in page.sources)
    kept = CellStore(tmp_path).directory(best) / KEPT
    assert set(json.loads(kept.read_text())["numbers"]) >= {"branches", "scales"}
    assert not (CellStore(tmp_path).directory(other) / KEPT).exists()
    written = kept.stat().st_mtime_ns
    assert report("html", "--explain")[0] == 0
    assert kept.stat().st_mtime_ns == written
    assert "explained" in _Page(study_page(tmp_path, "a1")).ids
    os.utime(CellStore(tmp_path).checkpoint(best), (1, 1))
    assert "explained" not in _Page(study_page(tmp_path, "a1")).ids


def save_untrained(recipe: Recipe, path: Path) -> None:
    """A checkpoint as a cell of the digits leaves one."""
    model = build(recipe.model, classes=10, image_size=16)
    state = {"model": model.state_dict(), "optimiser": {}, "epoch": 2, "metrics": {}, "classes": 10}
    save({**state, "recipe": recipe.model_dump(mode="json"), "mean": [0.5] * 3, "std": [0.2] * 3}, path)
