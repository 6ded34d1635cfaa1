"""Finished runs into MLflow's database at once, past the client's many queries.

Everything this project takes from MLflow's internals is in this module: the client's store, the
classes of its tables, and what `create_run`, `log_batch` and `set_terminated` put into them
(MLflow 3.17). `bulk_store` looks once whether they are as known here; if they are not, the
caller keeps to the client's calls, which do the same in about six times the processor time.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

_POINT = frozenset({"run_uuid", "key", "value", "timestamp", "step", "is_nan"})
_TEXT = frozenset({"run_uuid", "key", "value"})
# Class -> its columns, all of which `write_runs` fills.
_COLUMNS: Mapping[str, frozenset[str]] = {
    "SqlRun": frozenset(
        {
            "run_uuid",
            "name",
            "source_type",
            "source_name",
            "entry_point_name",
            "user_id",
            "status",
            "start_time",
            "end_time",
            "deleted_time",
            "source_version",
            "lifecycle_stage",
            "artifact_uri",
            "experiment_id",
        }
    ),
    "SqlTag": _TEXT,
    "SqlParam": _TEXT,
    "SqlMetric": _POINT,
    "SqlLatestMetric": _POINT,
}
# What `write_runs` calls of the store.
_METHODS = ("ManagedSessionMaker", "sanitize_metric_value", "_check_experiment_is_active")


def bulk_store(client: "MlflowClient") -> "SqlAlchemyStore | None":
    """Return the client's database store if `write_runs` knows it; None for a server.

    Source: derived; MLflow 3.17 was read.
    """
    try:
        from mlflow.store.tracking.dbmodels import models
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
        from mlflow.tracking.fluent import get_active_model_id

        store = client._tracking_client.store
        # A subclass (workspaces) may hide experiments; an active model gets copies of metrics.
        if type(store) is not SqlAlchemyStore or get_active_model_id() is not None:
            return None
        for name, known in _COLUMNS.items():
            if {column.name for column in getattr(models, name).__table__.columns} != known:
                return None
        if not all(callable(getattr(store, name)) for name in _METHODS):
            return None
    except (ImportError, AttributeError):
        return None
    return store


def disconnect(store: "SqlAlchemyStore") -> None:
    """Close the store's connections; it opens others when it is used again.

    With the last connection of an SQLite file everything moves from its write-ahead log into the
    file itself, which then can be copied alone.

    Source: https://www.sqlite.org/wal.html.
    """
    store.engine.dispose()


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run as it is written.

    Attributes:
        tags: Tags, with clean names and within MLflow's limits; `mlflow.runName` among them.
        params: Parameters, likewise.
        points: Metrics, with clean names.
        status: MLflow's word for how it ended.
        start_ms: Start, milliseconds since 1970.
        end_ms: End, likewise.
        run_id: MLflow's id.

    Source: derived.
    """

    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: Sequence["Metric"]
    status: str
    start_ms: int
    end_ms: int
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def write_runs(store: "SqlAlchemyStore", experiment_id: str, runs: Sequence[FinishedRun]) -> None:
    """Write finished runs in one transaction: all of them or none.

    Args:
        store: What `bulk_store` returned.
        experiment_id: The experiment of all.
        runs: The runs, none of which is in the store.

    Raises:
        MlflowException: The experiment is deleted, or the database failed.

    Source: derived from MLflow 3.17's `SqlAlchemyStore`.
    """
    from mlflow.store.tracking.dbmodels import models
    from mlflow.utils.uri import append_to_uri_path
    from sqlalchemy import select

    number = int(experiment_id)
    # Tables, not classes: no object is made for a row, and nothing is compiled twice.
    columns = models.SqlExperiment.__table__.columns
    by_id: Any = select(
        columns.experiment_id, columns.lifecycle_stage, columns.artifact_location
    ).where(columns.experiment_id == number)
    rows: dict[Any, list[dict[str, Any]]] = {}
    for run in runs:
        points, latest = _metric_rows(store, run)
        for model, found in (
            (models.SqlRun, [_run_row(run, number)]),
            (models.SqlTag, _text_rows(run, run.tags)),
            (models.SqlParam, _text_rows(run, run.params)),
            (models.SqlMetric, points),
            (models.SqlLatestMetric, latest),
        ):
            rows.setdefault(model.__table__, []).extend(found)
    with store.ManagedSessionMaker(read_only=False) as session:
        experiment = session.execute(by_id).one()
        store._check_experiment_is_active(experiment)  # type: ignore[no-untyped-call]
        for row in rows[models.SqlRun.__table__]:
            row["artifact_uri"] = append_to_uri_path(  # type: ignore[no-untyped-call]
                experiment.artifact_location, row["run_uuid"], store.ARTIFACTS_FOLDER_NAME
            )
        for table, found in rows.items():
            if found:
                session.execute(table.insert(), found)


def _run_row(run: FinishedRun, experiment_id: int) -> dict[str, Any]:
    from mlflow.entities import SourceType
    from mlflow.entities.lifecycle_stage import LifecycleStage
    from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER

    now = int(time.time() * 1000)
    return {
        "run_uuid": run.run_id,
        "name": run.tags[MLFLOW_RUN_NAME],
        "source_type": SourceType.to_string(SourceType.UNKNOWN),
        "source_name": "",
        "entry_point_name": "",
        "user_id": run.tags.get(MLFLOW_USER, "unknown"),
        "status": run.status,
        "start_time": run.start_ms or now,  # MLflow takes 0 for none given
        "end_time": run.end_ms or now,
        "deleted_time": None,
        "source_version": "",
        "lifecycle_stage": LifecycleStage.ACTIVE,
        "experiment_id": experiment_id,
    }


def _text_rows(run: FinishedRun, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"run_uuid": run.run_id, "key": key, "value": text} for key, text in texts.items()]


def _metric_rows(
    store: "SqlAlchemyStore", run: FinishedRun
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows of all points, each once, and those of the latest point of each metric."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    latest: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {}
    for point in run.points:
        key, step, timestamp = point.key, point.step, point.timestamp
        is_nan, value = store.sanitize_metric_value(point.value)
        rank = (step, timestamp, value)
        if (key, is_nan, *rank) in rows:
            continue
        row = {
            "run_uuid": run.run_id,
            "key": key,
            "value": value,
            "timestamp": timestamp,
            "step": step,
            "is_nan": is_nan,
        }
        rows[(key, is_nan, *rank)] = row
        if key not in latest or rank > latest[key][0]:
            latest[key] = (rank, row)
    return list(rows.values()), [row for _, row in latest.values()]
