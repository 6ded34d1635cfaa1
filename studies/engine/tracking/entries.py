"""One MLflow run from one record: made whole, completed, brought up to date, closed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from studies.engine.tracking.bulk import FinishedRun, bulk_store, disconnect, write_runs
from studies.engine.tracking.catalogue import Known
from studies.engine.tracking.fields import PARAM_LIMIT, TAG_LIMIT, metric_points, text_fields
from studies.engine.tracking.records import STATUSES, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME_TAG = "mlflow.runName"


class Entries:
    """Turns records into MLflow runs, through one client.

    Args:
        client: The client.
        experiment_id: The experiment of all runs.
        tags: Tags for every run.

    Source: derived.
    """

    def __init__(self, client: "MlflowClient", experiment_id: str, tags: Mapping[str, str]) -> None:
        self._client = client
        self._database = bulk_store(client)
        self._experiment_id = experiment_id
        self._tags = tags
        self._together: list[FinishedRun] | None = None

    @property
    def in_bulk(self) -> bool:
        """Whether the store takes many finished runs at once."""
        return self._database is not None

    def disconnect(self) -> None:
        """Close the connections with a database; they are opened again when they are needed."""
        if self._database is not None:
            disconnect(self._database)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the finished runs that are made within the block at its end: all or none.

        They have their ids at once, but the store knows nothing of them before.
        """
        self._together = []
        try:
            yield
            if self._together and self._database is not None:
                write_runs(self._database, self._experiment_id, self._together)
        finally:
            self._together = None

    def create(self, record: Record, own_tags: Mapping[str, str]) -> Known:
        """Make a run with these tags of ours."""
        start, end = record.times
        points, notes = metric_points(record.history, record.metrics, start, end)
        params = text_fields(record.params, PARAM_LIMIT)
        tags = {**text_fields(self._tags, TAG_LIMIT), **_tags(record), **notes, **own_tags}
        values = {point.key: point.value for point in points}
        finished = record.status != "running"
        # The client has its own ways with an empty name.
        if finished and self._database is not None and tags[NAME_TAG]:
            run = FinishedRun(
                tags=tags, params=params, points=points, status=STATUSES[record.status],
                start_ms=start, end_ms=end,
            )  # fmt: skip
            if self._together is None:
                write_runs(self._database, self._experiment_id, [run])
            else:
                self._together.append(run)
            return Known(run.run_id, run.status, end, params, tags, values)
        run_id = self._client.create_run(
            self._experiment_id, start_time=start, tags=tags
        ).info.run_id
        known = Known(run_id, "RUNNING", None, params, tags, values)
        self._log(run_id, points, params, {})
        if finished:
            self.set_status(known, record.status, end)
        return known

    def complete(self, known: Known, record: Record) -> bool:
        """Write the rest of a run that a killed process began; False if it is whole."""
        if not known.open and known.tags.get("status") != "interrupted":
            return False
        start, end = record.times
        points, notes = metric_points(record.history, record.metrics, start, end)
        there = {
            (point.key, point.step, point.timestamp)
            for name in known.metrics
            for point in self._client.get_metric_history(known.run_id, name)
        }
        points = [
            point for point in points if (point.key, point.step, point.timestamp) not in there
        ]
        given = text_fields(record.params, PARAM_LIMIT)
        params = {name: text for name, text in given.items() if name not in known.params}
        self._log(known.run_id, points, params, {**_tags(record), **notes})
        self.set_status(known, record.status, end)
        known.tags["status"] = record.status
        return True

    def update(self, known: Known, record: Record) -> bool:
        """Add what is new to a run that exists; False if nothing is."""
        points, notes = metric_points((), record.metrics, record.time_ms, record.time_ms)
        points = [point for point in points if known.metrics.get(point.key) != point.value]
        given = text_fields(record.params, PARAM_LIMIT)
        params = {name: text for name, text in given.items() if name not in known.params}
        given = {**_tags(record), **notes}
        tags = {name: text for name, text in given.items() if known.tags.get(name) != text}
        status = STATUSES[record.status]
        if not (points or params or tags) and status == known.status:
            return False
        if points or params or tags:
            self._log(known.run_id, points, params, tags)
        if status != known.status:
            self.set_status(known, record.status, record.times[1])
        known.params.update(params)
        known.tags.update(tags)
        known.metrics.update({point.key: point.value for point in points})
        return True

    def close(self, known: Known, status: str, time_ms: int) -> bool:
        """End a run that is open; False if it is not."""
        if not known.open:
            return False
        self._client.set_tag(known.run_id, "status", status)
        self.set_status(known, status, time_ms)
        known.tags["status"] = status
        return True

    def _log(
        self, run_id: str, points: list[Any], params: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Write everything in one call; the client splits it at 1000 metrics and 100 params."""
        from mlflow.entities import Param, RunTag

        self._client.log_batch(
            run_id,
            metrics=points,
            params=[Param(name, text) for name, text in params.items()],
            tags=[RunTag(name, text) for name, text in tags.items()],
        )

    def set_status(self, known: Known, status: str, end_ms: int) -> None:
        """Give a run one of our statuses; `running` reopens it."""
        if status == "running":
            self._client.update_run(known.run_id, status="RUNNING")
            known.end_ms = None
        else:
            self._client.set_terminated(known.run_id, STATUSES[status], end_ms)
            known.end_ms = end_ms
        known.status = STATUSES[status]


def _tags(record: Record) -> dict[str, str]:
    """Return the tags of a record; its name is one too, and so is our word for the status."""
    own = {NAME_TAG: record.name, "status": record.status}
    return text_fields({**record.tags, **own}, TAG_LIMIT)
