"""Studies, groups and runs as nested MLflow runs, each written once."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studies.engine.tracking.bulk import bulk_store, write_run
from studies.engine.tracking.fields import (
    PARAM_LIMIT,
    TAG_LIMIT,
    metric_points,
    text_fields,
)
from studies.engine.tracking.records import STATUSES, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
NAME_TAG = "mlflow.runName"
NOTE_TAG = "mlflow.note.content"


@dataclass
class _Known:
    """What the store holds of one run."""

    run_id: str
    status: str  # MLflow's
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]


class RunStore:
    """Writes records through one client; used by one thread at a time.

    Nesting is by the tag `mlflow.parentRunId`. Further tags identify what is there already:
    `kind` (study, group or run), `study_id`, `group_id`, `run_key`, and on all below a study
    `study_run`, the MLflow id of the study's run.

    Args:
        client: The client.
        experiment_id: The experiment of all runs.
        tags: Tags for every run.
        lock: Makes the lock under which several processes look for a run before creating it.

    Source: derived.
    """

    def __init__(
        self,
        client: "MlflowClient",
        experiment_id: str,
        tags: Mapping[str, str],
        lock: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._client = client
        self._database = bulk_store(client)
        self._experiment_id = experiment_id
        self._tags = tags
        self._lock = lock
        # parent's MLflow id -> child's id (a group id or a run key) -> what is known of it
        self._children: dict[str, dict[str, _Known]] = {}
        self._loaded: set[str] = set()

    def study(self, study_id: str, record: Record, fresh: bool) -> str:
        """Return the MLflow id of the study's run: the newest one there, reopened, or a new one."""
        with self._lock():
            found = None if fresh else self._find(f"tags.study_id = '{study_id}'", "study")
            if found is None:
                tags = {"kind": "study", "study_id": study_id}
                known = self._create(record, tags)
                self._loaded.add(known.run_id)
                return known.run_id
        known = _known(found)
        self._load(known.run_id)
        self._update(known, record)
        return known.run_id

    def group(self, parent_id: str, group_id: str, record: Record) -> bool:
        """Write or update a trial or an arm; False if nothing was new."""
        self._load(parent_id)
        known, created = self._group(parent_id, group_id, record)
        return True if created else self._update(known, record)

    def run(self, parent_id: str, group_id: str, key: str, record: Record) -> bool:
        """Write one run under its group; False if it is there already."""
        self._load(parent_id)
        group, _ = self._group(parent_id, group_id, Record(group_id, status="running"))
        children = self._children.setdefault(group.run_id, {})
        known = children.get(key)
        if known is not None:
            if known.status != "RUNNING":
                return False
            # A process was killed while it wrote this record.
            self._client.delete_run(known.run_id)
        tags = {"kind": "run", "run_key": key, "study_run": parent_id, PARENT_TAG: group.run_id}
        children[key] = self._create(record, tags)
        return True

    def single(self, key: str, record: Record) -> str:
        """Write one finished training that belongs to no study; return its MLflow id."""
        return self._create(record, {"kind": "run", "run_key": key}).run_id

    def finish(self, run_id: str, status: str) -> None:
        """Close a run with one of our statuses, or reopen it with `running`."""
        self._client.set_tag(run_id, "status", status)
        self._set_status(run_id, status)

    def resolve(self, parent_id: str, target: str | None) -> str:
        """Return the MLflow id of a group of the study, or of the study's run for None."""
        if target is None:
            return parent_id
        self._load(parent_id)
        group, _ = self._group(parent_id, target, Record(target, status="running"))
        return group.run_id

    def _group(self, parent_id: str, group_id: str, record: Record) -> tuple[_Known, bool]:
        """Return a group and whether it was created by this call."""
        children = self._children.setdefault(parent_id, {})
        if group_id in children:
            return children[group_id], False
        with self._lock():  # another process may have made it
            found = self._find(
                f"tags.study_run = '{parent_id}' and tags.group_id = '{group_id}'", "group"
            )
            if found is not None:
                children[group_id] = _known(found)
                return children[group_id], False
            tags = {
                "kind": "group",
                "group_id": group_id,
                "study_run": parent_id,
                PARENT_TAG: parent_id,
            }
            children[group_id] = self._create(record, tags)
        return children[group_id], True

    def _create(self, record: Record, own_tags: Mapping[str, str]) -> _Known:
        now = time.time_ns() // 1_000_000
        start = now if record.start_ms is None else record.start_ms
        end = max(start, now) if record.end_ms is None else record.end_ms
        points, notes = metric_points(record.history, record.metrics, start, end)
        params = text_fields(record.params, PARAM_LIMIT)
        tags = {**text_fields(self._tags, TAG_LIMIT), **_tags(record), **notes, **own_tags}
        values = {point.key: point.value for point in points}
        finished = record.status != "running"
        # The client has its own ways with an empty name.
        if finished and self._database is not None and tags[NAME_TAG]:
            status = STATUSES[record.status]
            run_id = write_run(
                self._database, self._experiment_id, tags, params, points, status, start, end
            )
            return _Known(run_id, status, params, tags, values)
        run_id = self._client.create_run(
            self._experiment_id, start_time=start, tags=tags
        ).info.run_id
        known = _Known(run_id, "RUNNING", params, tags, values)
        self._log(run_id, points, params, {})
        if finished:
            self._set_status(run_id, record.status, end)
            known.status = STATUSES[record.status]
        return known

    def _update(self, known: _Known, record: Record) -> bool:
        """Add what is new to a run that exists; False if nothing is."""
        now = time.time_ns() // 1_000_000
        points, notes = metric_points((), record.metrics, now, now)
        points = [point for point in points if known.metrics.get(point.key) != point.value]
        given = text_fields(record.params, PARAM_LIMIT)
        params = {name: text for name, text in given.items() if name not in known.params}
        given = {**_tags(record), **notes}
        tags = {name: text for name, text in given.items() if known.tags.get(name) != text}
        status = STATUSES[record.status]
        if not (points or params or tags) and status == known.status:
            return False
        self._log(known.run_id, points, params, tags)
        self._set_status(known.run_id, record.status, record.end_ms)
        known.status = status
        known.params.update(params)
        known.tags.update(tags)
        known.metrics.update({point.key: point.value for point in points})
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

    def _set_status(self, run_id: str, status: str, end_ms: int | None = None) -> None:
        if status == "running":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, STATUSES[status], end_ms)

    def _find(self, condition: str, kind: str) -> "Run | None":
        """Return the newest run that fulfils the condition."""
        found = self._client.search_runs(
            [self._experiment_id],
            filter_string=f"tags.kind = '{kind}' and {condition}",
            max_results=1,
            order_by=["attributes.start_time DESC"],
        )
        return found[0] if found else None

    def _load(self, parent_id: str) -> None:
        """Learn, once, what the store holds below a study."""
        if parent_id in self._loaded:
            return
        for run in self._pages(f"tags.study_run = '{parent_id}'"):
            tags = run.data.tags
            own_id = tags.get("group_id") or tags.get("run_key", "")
            self._children.setdefault(tags[PARENT_TAG], {})[own_id] = _known(run)
        self._loaded.add(parent_id)

    def _pages(self, condition: str) -> "Iterator[Run]":
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], condition, max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


def _known(run: "Run") -> _Known:
    return _Known(
        run.info.run_id, run.info.status, run.data.params, run.data.tags, run.data.metrics
    )


def _tags(record: Record) -> dict[str, str]:
    """Return the tags of a record; its name is one too, and so is our word for the status."""
    own = {NAME_TAG: record.name, "status": record.status}
    return text_fields({**record.tags, **own}, TAG_LIMIT)
