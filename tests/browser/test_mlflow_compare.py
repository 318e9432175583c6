"""MLflow's own UI over a study that was sent there: names, nesting, charts of what varies, without preparation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Page, expect

from interplay.studies import sync_study
from tests import studies
from tests.mlflow_server import served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's and its libraries' own
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATIENCE_MS, BEST = 90_000, 4
VARIES = ["model.depth", "model.drop_path", "optimiser.lr", "augment.policy.kind"]


class Sent:
    """A search of 10 cells in a running server, the address of its page, and in what its best cells differ."""

    def __init__(self, uri: str, page: str) -> None:
        self.uri, self.page = uri, page
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("interplay")
        runs = client.search_runs([experiment.experiment_id])
        self.experiment = experiment.experiment_id
        cells = [run for run in runs if run.data.tags["interplay.role"] == "cell"]
        self.names = [str(run.info.run_name) for run in cells]
        best = sorted(cells, key=lambda run: run.data.metrics["val/top1"])[-BEST:]
        names = {name for run in best for name in run.data.params}
        self.differ = {name for name in names if len({run.data.params.get(name) for run in best}) > 1}


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    root, home = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("server")
    studies.write_search(root, studies.small_recipe(), 10, epochs=4, cut=1, failed=1, recipes=True)
    MlflowClient(f"sqlite:///{home / 'mlflow.db'}").search_experiments()
    with served(home) as uri, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        taken, view = sync_study(root, "s1")
        assert taken
        yield Sent(uri, view.page())


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """No script may fail. What MLflow itself prints (a user that is not there, empty charts) is not ours."""
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)
    failed: list[str] = []
    page.on("pageerror", lambda error: failed.append(str(error)))
    yield page
    page.close()
    assert failed == []


def opened(page: Page, address: str) -> None:
    """The page, with MLflow's assistant out of the way."""
    page.goto(address)
    page.get_by_role("button", name="Close", exact=True).first.click()


def test_the_study_s_page(page: Page, sent: Sent, tmp_path: Path) -> None:
    """Best first, by name; parallel coordinates, scatter and contour of what varies against what selects."""
    opened(page, f"{sent.uri}{sent.page}")
    charts = page.get_by_test_id("experiment-view-compare-runs-chart-area").or_(page.locator("main"))
    expect(charts.get_by_text("Parallel Coordinates").first).to_be_visible(timeout=PATIENCE_MS)
    for title in ("model.depth vs. val/top1", "model.drop_path vs. val/top1"):
        expect(page.get_by_text(title, exact=True)).to_be_visible()
    expect(page.get_by_text("model.depth vs. model.drop_path vs. val/top1", exact=True)).to_be_visible()
    axes = page.locator(".parcoords .dimension .label, svg .dimension text.label")
    expect(axes.filter(has_text="model.depth").first).to_be_visible(timeout=PATIENCE_MS)
    drawn = " ".join(axes.all_text_contents())
    assert all(name in drawn for name in ("model.depth", "model.drop_path", "optimiser.lr", "val/top1")), drawn
    assert page.locator(".scatterlayer path.point").count() >= 10
    assert page.locator(".contourlayer path").count() > 0
    for name in sent.names[:3]:
        expect(page.get_by_role("link", name=name, exact=True).first).to_be_visible()
    assert page.screenshot(path=tmp_path / "study.png").startswith(b"\x89PNG")


def test_cells_are_nested_under_their_study(page: Page, sent: Sent) -> None:
    opened(page, f"{sent.uri}/#/experiments/{sent.experiment}/runs?workflowType=machine_learning")
    study = page.get_by_role("link", name="s1", exact=True)
    expect(study).to_be_visible(timeout=PATIENCE_MS)
    cell = page.get_by_role("link", name=sent.names[0], exact=True)
    expect(cell).to_be_hidden()
    page.locator(".ag-row", has=study).get_by_role("button").first.click()
    expect(cell).to_be_visible(timeout=PATIENCE_MS)
    for name in sent.names:
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


def test_runs_that_are_compared(page: Page, sent: Sent) -> None:
    """The table has the varying parameters as columns; MLflow's comparison begins with what differs."""
    opened(page, f"{sent.uri}{sent.page}".replace("&compareRunsMode=CHART", ""))
    for column in ["val/top1", "test/top1", *VARIES[:3]]:
        expect(page.get_by_role("columnheader", name=column, exact=True).first).to_be_visible(timeout=PATIENCE_MS)
    boxes = page.locator(".ag-row .ag-selection-checkbox input")
    for number in range(BEST):
        boxes.nth(number).check(force=True)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_text(f"Comparing {BEST} Runs from 1 Experiment")).to_be_visible(timeout=PATIENCE_MS)
    axes = page.locator(".parcoords .axis-title")
    expect(axes.first).to_be_visible(timeout=PATIENCE_MS)
    *drawn, metric = [text.replace("\u200b", "") for text in axes.all_text_contents()]
    assert drawn
    assert set(drawn) <= sent.differ
    assert "/" in metric
    for tab in ("Scatter Plot", "Contour Plot"):
        page.get_by_role("tab", name=tab).click()
        expect(page.get_by_text("X-axis:")).to_be_visible()
