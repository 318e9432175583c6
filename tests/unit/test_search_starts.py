"""Where a search begins, what it retries and how it is told of cut cells; several objectives end in a front."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from interplay.cli.options import find_space
from interplay.data.manifest import Manifest, write_manifest
from interplay.errors import InterplayError
from interplay.models import build, counts, parameter_count
from interplay.recipe import Recipe, find_recipe
from interplay.report.dimensions import importance_table
from interplay.report.study import best_cell, study_table
from interplay.study.definition import SEARCH, StudyDefinition, write_definition
from interplay.study.search.objectives import count, parse_constraints, parse_objectives, violations
from interplay.study.search.points import start_points, warm_cells
from interplay.study.search.proposals import CELL, MESSAGE, OptunaProposals, Search
from interplay.study.search.records import check_storage, open_study
from interplay.study.search.spaces import bind, combine, published
from interplay.tracking.journal import Journal
from interplay.tracking.store import FINISHED, Cell, CellResult, CellStore, write_result
from search_spaces import regularisation


@published(
    {"half": {"model.drop_path": 0.25}, "other": {"model.drop_path": 0.9}, "elsewhere": {"loss.smoothing": 0.1}}
)
def space(trial: Any) -> Mapping[str, Any]:
    return {
        "model.drop_path": trial.suggest_float("model.drop_path", 0.0, 0.5),
        "model.width": trial.suggest_int("model.width", 8, 32, step=8),
    }


def wider(trial: Any) -> Mapping[str, Any]:
    return {
        **space(trial),
        "optimiser.weight_decay": trial.suggest_float("optimiser.weight_decay", 1e-3, 0.3, log=True),
    }


class Bench:
    """A storage root with searches whose cells are given results at once."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.root, self.recipe, self.store = root, recipe, CellStore(root)
        self.dataset = root / "none.beton"
        manifest = Manifest("none", [["a", "b"]], {"train": 64}, (0.5,) * 3, (0.2,) * 3, 1, "00ff")
        write_manifest(self.dataset, manifest)

    def proposals(self, name: str, search: Search, function: Any = space) -> OptunaProposals:
        names = [str(objective) for objective in search.objectives]
        definition = StudyDefinition(
            name, SEARCH, "?", self.recipe.model_dump(mode="json"), "d", search.objectives[0].name, objectives=names
        )
        write_definition(self.root, definition)
        directory = self.root / "studies" / name
        return OptunaProposals(directory, function, self.recipe, self.dataset, self.store, search)

    def finish(self, cell: Cell) -> None:
        recipe = cell.recipe
        value = 90.0 - 100.0 * abs(recipe.model.drop_path - 0.1) + recipe.model.width / 8
        result = CellResult(cell.fingerprint, FINISHED, {"val/top1": value, "test/top1": value - 1}, {})
        write_result(self.store.prepare(cell), result)

    def run(self, name: str, search: Search, function: Any = space) -> list[Recipe]:
        proposals, found = self.proposals(name, search, function), []
        while (cell := proposals.next()) is not None:
            self.finish(cell)
            proposals.settle(cell.fingerprint)
            found.append(cell.recipe)
        return found

    def records(self, name: str) -> list[Any]:
        return open_study(self.root / "studies" / name).get_trials()

    def fingerprint(self, changes: Mapping[str, Any]) -> str:
        return Cell(self.recipe.with_(dict(changes)), self.dataset).fingerprint


@pytest.fixture
def bench(tmp_path: Path, tiny: Recipe) -> Bench:
    return Bench(tmp_path, tiny)


def test_points_come_first_and_once(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "points.yaml").write_text(
        "- {model.drop_path: 0.125, model.width: 16}\n- {model.drop_path: 0.0625}\n"
    )
    starts = [str(tmp_path / "points.yaml"), "published:half", bench.recipe.with_({"model.drop_path": 0.375})]
    points = start_points(starts, space, bench.recipe)
    search = Search(target=5, points=points)
    first = bench.run("points", search)
    assert [r.model.drop_path for r in first[:4]] == [0.125, 0.0625, 0.25, 0.375]
    assert (first[0].model.width, first[3].model.width) == (16, bench.recipe.model.width)
    assert first[4].model.drop_path not in (0.125, 0.0625, 0.25, 0.375)
    more = bench.run("points", Search(target=7, points=points))
    assert len(more) == 2
    assert not {r.model.drop_path for r in more} & {0.125, 0.0625, 0.25, 0.375}


def test_points_of_a_space_that_is_named_on_the_command_line(bench: Bench) -> None:
    """Whose own mistakes are told in one sentence, which a value it lacks is none of."""
    both = find_space("regularisation+augmentation.erasing")
    points = start_points([{"augment.erasing": 0.25}], both, bench.recipe, published_first=True)
    first = bench.run("s", Search(target=3, points=points), both)
    assert first[0].augment.erasing == 0.25
    assert (first[1].model.drop_path, first[1].augment.erasing) == (0.1, 0.25)
    assert (first[2].model.drop_path, first[2].model.drop_path_rule) == (0.05, "uniform")
    warm, _ = warm_cells(bench.root, ["s"], bind(both, bench.recipe), bench.fingerprint)
    assert len(warm) == 3


def test_published_points_that_fit(bench: Bench) -> None:
    points = start_points([], space, bench.recipe, published_first=True)
    assert [(point.name, dict(point.params)) for point in points] == [("half", {"model.drop_path": 0.25})]


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"model.drop_path": 0.7}, r"start point given 1: .*0\.7 is out of range"),
        ({"model.drop_pth": 0.1}, r"no parameter 'model\.drop_pth'; did you mean 'model\.drop_path'"),
        ("published:hlaf", "no published point 'hlaf'; did you mean 'half'"),
        ("published:other", "start point other: .* out of range"),
        ("nowhere.yaml", "there is no such file"),
        ({"model.drop_path": 0.1, "model.width": 32}, "start point given 1: too big"),
    ],
)
def test_points_that_cannot_be(bench: Bench, start: Any, message: str) -> None:
    with pytest.raises(InterplayError, match=message):
        start_points([start], space, bench.recipe, refuse=lambda r: "too big" if r.model.width > 24 else "")


def test_warm_start_takes_what_the_search_could_have_proposed(bench: Bench) -> None:
    earlier = bench.run("earlier", Search(target=12, sampler="random"))
    warm, sentence = warm_cells(bench.root, ["earlier"], bind(wider, bench.recipe), bench.fingerprint)
    assert len(warm) == len(earlier) == 12
    assert sentence == "12 of the 12 finished cells of earlier"
    assert {w.params["optimiser.weight_decay"] for w in warm} == {bench.recipe.optimiser.weight_decay}
    told = bench.run("told", Search(target=4, warm=warm), wider)
    alone = bench.run("alone", Search(target=4), wider)
    assert told != alone  # past the random trials TPE starts with
    again = bench.proposals("told", Search(target=5), wider).next()  # goes on without being told again
    straight = Bench(bench.root / "straight", bench.recipe)
    for recipe in earlier:
        straight.finish(Cell(recipe, straight.dataset))
    longer = straight.run("told", Search(target=5, warm=warm), wider)
    assert again is not None
    assert (longer[:4], longer[4]) == (told, again.recipe)


def test_warm_start_leaves_out_what_belongs_to_another_recipe(bench: Bench) -> None:
    bench.run("earlier", Search(target=3))
    bench.recipe = bench.recipe.with_({"schedule.epochs": 9})
    with pytest.raises(InterplayError, match="none of its 3 finished cells is one this search could propose"):
        warm_cells(bench.root, ["earlier"], bind(space, bench.recipe), bench.fingerprint)


def test_failed_cells_are_tried_again_when_asked(bench: Bench) -> None:
    proposals = bench.proposals("s", Search(target=2))
    for message in ("its process died", None):
        cell = proposals.next()
        assert cell is not None
        if message is None:
            bench.finish(cell)
        proposals.settle(cell.fingerprint, message)
    assert bench.proposals("s", Search(target=2)).next() is None
    again = bench.proposals("s", Search(target=2, retry_failed=True))
    cell = again.next()
    assert cell is not None
    assert again.next() is None
    bench.finish(cell)
    again.settle(cell.fingerprint)
    states = [(r.state, r.user_attrs.get(MESSAGE)) for r in bench.records("s")]
    complete = (TrialState.COMPLETE, None)
    assert states == [(TrialState.FAIL, "its process died"), complete, complete]
    assert [row["state"] for row in json.loads(study_table(bench.root, "s").json)["rows"]] == ["COMPLETE"] * 2
    assert len(bench.proposals("s", Search(target=2)).known()) == 2
    assert bench.proposals("s", Search(target=2, retry_failed=True)).next() is None


@pytest.mark.parametrize("names", [["val/top1"], ["val/top1", "parameters"]])
def test_a_cut_cell_is_told_with_what_it_reached(bench: Bench, names: list[str]) -> None:
    search = Search(target=14, objectives=parse_objectives(names))
    proposals = bench.proposals("s", search)
    cell = proposals.next()
    assert cell is not None
    journal = Journal(bench.store.journal(cell.fingerprint))
    for epoch, value in ((1, 20.0), (2, 31.5)):
        journal.append("epoch", epoch=epoch, metrics={"val/top1": value})
    proposals.settle(cell.fingerprint, "cut at epoch 2", pruned=True)
    record = bench.records("s")[0]
    assert (record.state, record.intermediate_values) == (TrialState.PRUNED, {1: 20.0, 2: 31.5})
    assert MESSAGE not in record.user_attrs
    recipes = bench.run("s", search)  # TPE goes on with it, built up again
    assert cell.recipe not in recipes
    assert len(recipes) == 13
    assert study_table(bench.root, "s").complete


def test_the_front_of_several_objectives(bench: Bench) -> None:
    objectives = parse_objectives(["val/top1", "parameters"])
    constraints = parse_constraints(["parameters<=15e3"])
    bench.run("s", Search(target=10, objectives=objectives, constraints=constraints, sampler="random"))
    table = study_table(bench.root, "s")
    rows = json.loads(table.json)["rows"]
    values = {row["fingerprint"]: (row["objectives"]["val/top1"], row["objectives"]["parameters"]) for row in rows}
    front = {
        cell
        for cell, (top1, size) in values.items()
        if not any(t >= top1 and s <= size and (t, s) != (top1, size) for t, s in values.values())
    }
    assert {row["fingerprint"] for row in rows if row["front"]} == front
    assert 0 < len(front) < 10
    assert [row["front"] for row in rows] == sorted((row["front"] for row in rows), reverse=True)
    assert table.table[0][:6] == ["trial", "cell", "front", "val top-1", "test top-1", "parameters"]
    best, smallest = best_cell(bench.root, "s"), best_cell(bench.root, "s@parameters")
    assert bench.fingerprint(_changes(best)) == max(values, key=lambda cell: values[cell][0])
    assert smallest.model.width == min(r["changes"]["model.width"] for r in rows)
    with pytest.raises(InterplayError, match=r"does not optimise 'macs'; it optimises val/top1, parameters"):
        best_cell(bench.root, "s@macs")
    other = Search(target=10, objectives=parse_objectives(["val/top1"]))
    with pytest.raises(InterplayError, match="study 's' optimises val/top1:max, parameters:min; choose another"):
        bench.proposals("s", other)


def _changes(recipe: Recipe) -> dict[str, Any]:
    return {"model.drop_path": recipe.model.drop_path, "model.width": recipe.model.width}


def test_importance(bench: Bench) -> None:
    """Drop path decides the accuracy, the width the size; neither is conditional."""
    objectives = parse_objectives(["val/top1", "parameters"])
    bench.run("s", Search(target=24, objectives=objectives, sampler="random"))
    table = importance_table(bench.root, "s")
    top1, size = table.found
    assert (top1.of[0].name, size.of[0].name) == ("model.drop_path", "model.width")
    assert top1.of[0].fanova > 0.8
    assert size.of[0].fanova > 0.9
    assert sum(i.ped_anova for i in top1.of) == pytest.approx(1.0)
    assert "parameters: from 24 finished cells." in table.drawn("text")
    assert json.loads(table.drawn("json"))["importance"][0]["cells"] == 24


@pytest.mark.slow
def test_interactions_and_conditions(bench: Bench) -> None:
    """Two dimensions that only matter together are a pair; what some cells lack is said."""

    def crossed(trial: Any) -> Mapping[str, Any]:
        changes = {
            **wider(trial),
            "augment.policy": trial.suggest_categorical("augment.policy", ["none", "rand_augment"]),
        }
        if changes["augment.policy"] == "rand_augment":
            changes["augment.policy.magnitude"] = trial.suggest_float("augment.policy.magnitude", 1.0, 9.0)
        return changes

    proposals = bench.proposals("s", Search(target=60, sampler="random"), crossed)
    while (cell := proposals.next()) is not None:
        recipe = cell.recipe
        value = 50.0 + (10.0 if (recipe.model.drop_path > 0.25) == (recipe.model.width > 16) else -10.0)
        write_result(bench.store.prepare(cell), CellResult(cell.fingerprint, FINISHED, {"val/top1": value}, {}))
        proposals.settle(cell.fingerprint)
    (found,) = importance_table(bench.root, "s").found
    assert set(found.interactions[0].names) == {"model.drop_path", "model.width"}
    assert found.interactions[0].share > 0.3
    assert found.interactions[0].share > 5 * found.interactions[1].share
    assert found.conditional == ("augment.policy.magnitude",)
    assert "Not every cell has augment.policy.magnitude" in importance_table(bench.root, "s").drawn("md")


def test_few_cells_are_warned_about(bench: Bench) -> None:
    bench.run("s", Search(target=5))
    assert "Warning: 5 are few" in importance_table(bench.root, "s").drawn("text")
    bench.run("t", Search(target=3))
    with pytest.raises(InterplayError, match="importance takes 4 finished cells, better 10; there are 3"):
        importance_table(bench.root, "t")


@pytest.mark.slow
def test_a_data_base_holds_the_records(bench: Bench, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    bench.run("s", Search(target=3, storage=url))
    assert len(bench.run("s", Search(target=5))) == 2  # found again without the address
    assert [r.state for r in bench.records("s")] == [TrialState.COMPLETE] * 5
    assert not list((tmp_path / "studies" / "s").glob("*.journal"))
    assert len(json.loads(study_table(tmp_path, "s").json)["rows"]) == 5
    bench.run("t", Search(target=2, storage=url))
    assert len(bench.records("t")) == 2
    with pytest.raises(InterplayError, match=r"study 's' is kept in sqlite:.*; leave --optuna-storage out"):
        check_storage(tmp_path / "studies" / "s", f"sqlite:///{tmp_path / 'other.db'}")
    bench.run("u", Search(target=1))
    with pytest.raises(InterplayError, match=r"study 'u' is kept in .*optuna\.journal; leave --optuna-storage out"):
        check_storage(tmp_path / "studies" / "u", url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "is the address of a data base, as in sqlite"),
        ("sqlite:////nowhere/at/all.db", "cannot be reached"),
        (
            "postgresql+pg8000://me:secret@nowhere/db",
            r"postgresql\+pg8000://me@nowhere/db needs a driver: pip install pg8000",
        ),
        ("postgresql://me@nowhere/db?password=secret", "environment variable INTERPLAY_OPTUNA_PASSWORD"),
    ],
)
def test_data_bases_that_cannot_work(tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(InterplayError, match=message) as error:
        check_storage(tmp_path / "s", url)
    assert "secret" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_spaces_add_up(bench: Bench) -> None:
    both = combine(space, regularisation.weight_decay)
    recipes = bench.run("s", Search(target=3), both)
    assert len({r.optimiser.weight_decay for r in recipes}) == 3
    with pytest.raises(InterplayError, match=r"space and regularisation\.drop_path both set model\.drop_path; leave"):
        bench.run("t", Search(target=3), combine(space, regularisation.drop_path))
    with pytest.raises(
        InterplayError, match=r"takes 3 arguments; a search space takes \(trial\) or \(trial, recipe\)"
    ):
        bench.run("u", Search(target=3), lambda a, b, c: {})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["val/top2"], "no objective 'val/top2'; did you mean 'val/top5' or 'val/top1'"),
        (["test/top1"], "the test split never steers a search"),
        (["macs:least"], "the direction is min or max, as in macs:min"),
        (["macs", "macs:max"], "macs is given twice"),
    ],
)
def test_objectives_that_cannot_work(texts: list[str], message: str) -> None:
    with pytest.raises(InterplayError, match=message):
        parse_objectives(texts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("params<=6e6", "no 'params' can be counted; did you mean 'parameters'"),
        ("memory/peak_mb<=100", "is not known before training; make it an --objective"),
        ("parameters<=many", "write a positive number behind <=, as in parameters<=6e6"),
        ("macs>=0", "write a positive number behind >="),
    ],
)
def test_constraints_that_cannot_work(text: str, message: str) -> None:
    with pytest.raises(InterplayError, match=message):
        parse_constraints([text])


def test_only_what_is_asked_for_is_counted_and_models_of_one_size_once(tiny: Recipe) -> None:
    recipe = tiny.with_({"model.width": 20, "model.heads": 5})  # of no other test: nothing of it is known yet
    ten = Manifest("none", [[str(label) for label in range(10)]], {"train": 1}, (0.5,) * 3, (0.2,) * 3, 1, "00ff")
    before = counts._size.cache_info().misses, counts._parameters.cache_info().misses
    assert not violations(parse_constraints(["parameters<=1e9"]), recipe, ten)
    assert counts._size.cache_info().misses == before[0]
    alike = [
        recipe.with_({"model.drop_path": 0.1 * i, "model.scale.init": 0.01 * i, "model.dropout": 0.05 * i})
        for i in range(1, 5)
    ]
    sizes = [count(one, ten) for one in (recipe, *alike)]
    assert sizes == [sizes[0]] * 5
    assert sizes[0]["parameters"] == parameter_count(build(recipe.model, classes=10, image_size=16))
    assert counts._parameters.cache_info().misses == before[1] + 1
    assert counts._size.cache_info().misses == before[0] + 1
    assert count(recipe.with_({"model.scale": "none"}), ten) != sizes[0]


def test_a_recipe_is_a_point() -> None:
    """The thesis's procedures are points of a space, by their name."""
    base = find_recipe("deit.small")
    (point,) = start_points([find_recipe("deit3.base")], regularisation.default, base)
    assert dict(point.params) == {
        "model.drop_path": 0.1,
        "model.drop_path_rule": "uniform",
        "model.dropout": 0.0,
        "optimiser.weight_decay": 0.02,
    }
    assert CELL == "cell"
