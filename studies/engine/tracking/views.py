"""Prepared views of an experiment in MLflow's UI: trials side by side, arms grouped.

MLflow has no public way to prepare a view. The UI keeps a shared view as an experiment tag
`mlflow.sharedViewState.<key>` with the state of its page as JSON, a format of its front end that is
documented nowhere: the one here is MLflow 3.17's. It is written here only, nothing reads it back,
and a front end that does not understand it shows its ordinary page.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from studies.engine.run import content_hash

_TAG = "mlflow.sharedViewState."
_NAMESPACE = uuid.UUID("8d3e1b52-6c5e-4a31-9d0c-2f3b6f2e7a11")
# The views of one study are equal bytes each time: no clock.
_CREATED_MS = 1_767_225_600_000


def study_views(data: str, network: str, parameters: Sequence[str]) -> dict[str, str]:
    """The views of a study on one data set and network, as tags of its experiment.

    "Search": every trial with its hyperparameters and validation accuracy, as parallel coordinates
    and over each hyperparameter. "Arms": the confirmation's runs grouped by initialiser, with
    test accuracy and learning curves.

    Args:
        data: data set.
        network: network.
        parameters: hyperparameters that the search varies.

    Returns:
        Tag -> value.
    """
    where = f"tags.data = '{data}' AND tags.network = '{network}'"
    place = f"{data}, {network}"
    # Only a trial has the metric `seeds`; its runs would show every trial once more per seed.
    trials = f"tags.stage = 'search' AND metrics.seeds > 0 AND {where}"
    charts = [_parallel(parameters, "val_accuracy")]
    charts += [_scatter(name, "val_accuracy") for name in parameters]
    columns = [f"params.`{name}`" for name in ("initializer", *parameters)]
    views = {
        "search": _state(
            trials, "val_accuracy", [*columns, "metrics.`val_accuracy`", "metrics.`seeds`"], charts
        ),
        "arms": _state(
            f"tags.stage = 'confirm' AND params.seed LIKE '%' AND {where}",
            "test_accuracy",
            ["params.`initializer`", "metrics.`test_accuracy`", "metrics.`val_accuracy`"],
            [_bar("test_accuracy"), _line("val_accuracy"), _line("train_loss")],
            group_by="initializer",
        ),
    }
    titles = {"search": f"Search: {place}", "arms": f"Arms by initialiser: {place}"}
    return {
        f"{_TAG}{view_key(name, data, network)}": json.dumps(
            {
                "name": titles[name],
                "createdAt": _CREATED_MS,
                "updatedAt": _CREATED_MS,
                "state": json.dumps(state),
            }
        )
        for name, state in views.items()
    }


def view_key(name: str, data: str, network: str) -> str:
    """Key of a study's view "search" or "arms"."""
    return f"{name}-{content_hash([data, network])}"


def view_address(base: str, experiment_id: str, key: str) -> str:
    """Address that opens a view.

    Args:
        base: the server's address.
        experiment_id: MLflow's id of the experiment.
        key: what `view_key` gave.
    """
    return (
        f"{base.rstrip('/')}/#/experiments/{quote(experiment_id)}/runs?workflowType="
        f"machine_learning&viewStateShareKey={quote(key)}&compareRunsMode=CHART"
    )


def _state(
    search: str,
    metric: str,
    columns: Sequence[str],
    charts: Sequence[Mapping[str, object]],
    group_by: str | None = None,
) -> dict[str, object]:
    """The state of the experiment's page."""
    section = _id(f"section {search}")
    group = None
    if group_by is not None:
        keys = [{"mode": "param", "groupByData": group_by}]
        group = {"aggregateFunction": "average", "groupByKeys": keys}
    return {
        "searchFilter": search,
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": list(columns),
        "runsHiddenMode": "SHOWALL",
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "groupBy": group,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
        "compareRunSections": [
            {"uuid": section, "name": "Charts", "display": True, "isReordered": False}
        ],
        "compareRunCharts": [
            {
                **chart,
                "uuid": _id(f"{section} {position}"),
                "metricSectionId": section,
                "deleted": False,
                "isGenerated": False,
            }
            for position, chart in enumerate(charts)
        ],
    }


def _parallel(parameters: Sequence[str], metric: str) -> dict[str, object]:
    return {
        "type": "PARALLEL",
        "selectedParams": list(parameters),
        "selectedMetrics": [metric],
        "showAllRuns": False,
        "runsCountToCompare": 100,
    }


def _scatter(parameter: str, metric: str) -> dict[str, object]:
    return {
        "type": "SCATTER",
        "xaxis": {"key": parameter, "type": "PARAM"},
        "yaxis": {"key": metric, "type": "METRIC"},
        "runsCountToCompare": 100,
    }


def _bar(metric: str) -> dict[str, object]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 100}


def _line(metric: str) -> dict[str, object]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": True,
        "useGlobalXaxisKey": True,
        "runsCountToCompare": 100,
    }


def _id(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name))
