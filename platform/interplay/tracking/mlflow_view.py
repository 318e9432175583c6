"""What MLflow's UI opens a study with: its columns and its charts, chosen by what varies between the cells.

MLflow keeps a shared view as a tag of the experiment, JSON that is deflated; its UI reads it by the key in the
address (`viewStateShareKey`). A server without shared views shows the whole experiment instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any

SHARED = "mlflow.sharedViewState."
MOST_COLUMNS, MOST_AXES = 12, 7
"""Parameters of a view: as columns of the table, and as axes of the parallel coordinates."""


def view_key(study: str) -> str:
    """The key of the study's view; a study's name may hold what an address may not."""
    return f"interplay-{hashlib.sha256(study.encode()).hexdigest()[:16]}"


def view_state(
    study: str,
    varies: Mapping[str, bool],
    metrics: tuple[str, ...],
    *,
    everywhere: Collection[str] | None = None,
    maximise: bool = True,
) -> str:
    """The view as MLflow keeps it.

    Args:
        study: whose runs are listed.
        varies: parameters that vary between its cells, and whether they are numbers.
        metrics: that compare the cells, the one that selects first.
        everywhere: parameters that every cell has, all if not given; charts leave out cells that lack one.
        maximise: whether more of that one is better.
    """
    drawn = {name: number for name, number in varies.items() if everywhere is None or name in everywhere}
    state = {
        "searchFilter": f"tags.`interplay.study` = '{study}'",
        # best first; only a list by date folds the cells under their study, and charts show what is unfolded
        "orderByKey": f"metrics.`{metrics[0]}`",
        "orderByAsc": not maximise,
        "selectedColumns": _columns(varies, metrics),
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [_section("study", "The study"), _section("model", "Model metrics")],
        "compareRunCharts": _charts(drawn, metrics),
        "isAccordionReordered": True,
        "hideEmptyCharts": True,
    }
    packed = zlib.compress(json.dumps(state).encode(), 9)
    return "deflate;" + base64.b64encode(packed).decode()


def _columns(varies: Mapping[str, bool], metrics: tuple[str, ...]) -> list[str]:
    params = [f"params.`{name}`" for name in list(varies)[:MOST_COLUMNS]]
    tags = [f"tags.`interplay.{name}`" for name in ("status", "seed")]
    return [*(f"metrics.`{name}`" for name in metrics), *params, *tags]


def _charts(varies: Mapping[str, bool], metrics: tuple[str, ...]) -> list[dict[str, Any]]:
    """Parallel coordinates over everything that varies, then two of it at a time, then the curves."""
    score, *others = metrics
    charts = []
    if varies:
        axes = {"selectedParams": list(varies)[:MOST_AXES], "selectedMetrics": [score], "showAllRuns": True}
        charts.append(_chart("parallel", "PARALLEL", "study", **axes))
    numbers = [name for name, number in varies.items() if number]
    for name in [*numbers, *(name for name in varies if name not in numbers)][:2]:
        charts.append(_chart(f"scatter-{name}", "SCATTER", "study", xaxis=_param(name), yaxis=_metric(score)))
    if len(numbers) > 1:
        places = {"xaxis": _param(numbers[0]), "yaxis": _param(numbers[1]), "zaxis": _metric(score)}
        charts.append(_chart("contour", "CONTOUR", "study", **places))
    for name in others:
        charts.append(_chart(f"against-{name}", "SCATTER", "study", xaxis=_metric(score), yaxis=_metric(name)))
    for name in (score, "train/loss"):
        charts.append(_chart(f"curve-{name}", "LINE", "model", metricKey=name, selectedMetricKeys=[name]))
    return charts


def _chart(name: str, kind: str, section: str, **fields: Any) -> dict[str, Any]:
    own = {"uuid": f"interplay-{name}", "type": kind, "metricSectionId": f"interplay-{section}"}
    return {**own, "deleted": False, "isGenerated": False, "runsCountToCompare": 100, **fields}


def _section(name: str, title: str) -> dict[str, Any]:
    own = {"uuid": f"interplay-{name}", "name": title}
    return {
        **own,
        "columns": 2,
        "cardHeight": 340,
        "display": True,
        "isReordered": False,
        "deleted": False,
        "isGenerated": False,
    }


def _param(name: str) -> dict[str, str]:
    return {"key": name, "type": "PARAM"}


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}
