"""The tracker: what a study calls to record itself in MLflow."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from studies.engine.secrets import mask
from studies.engine.tracking.config import TrackingConfig
from studies.engine.tracking.destination import Destination
from studies.engine.tracking.documents import Documents
from studies.engine.tracking.fields import TAG_LIMIT, cut
from studies.engine.tracking.opening import open_writer
from studies.engine.tracking.operations import (
    EndStudy,
    WriteGroup,
    WriteRun,
    WriteSingle,
    WriteStudy,
)
from studies.engine.tracking.records import (
    Fields,
    Numbers,
    Record,
    check_ids,
    check_status,
    now_ms,
)
from studies.engine.tracking.runs import NOTE_TAG
from studies.engine.tracking.summary import TrackingSummary
from studies.engine.tracking.writer import BackgroundWriter


class Tracker(Documents):
    """Records a study, its groups (a trial or an arm each) and its runs (a seed each) in MLflow.

    Made by `Tracker.open`. Only `open` waits for the store and raises `TrackingError`; everything
    else is queued for one background thread, in order. What the store cannot take now goes into
    a spool and is sent later; `close` tells how much. Every text that is written is masked
    (`secrets.mask`) and cut, visibly, to MLflow's limits. What the store holds already is not
    written twice, so a study that continues simply logs everything again.

    How a run ended is the tag `status`: running, finished, diverged, pruned, interrupted,
    superseded or failed. MLflow's own status is RUNNING for running, FINISHED for finished and
    diverged (a result), KILLED for pruned, interrupted and superseded, FAILED for failed.

    No global state of MLflow is used (no active run, no default tracking URI); its telemetry and
    its log output are switched off. Use it from the process that opened it.

    Attributes:
        config: Where it records.
        experiment: Name of the experiment.
        notice: One sentence if the store is away or a spool was set aside; else None.

    Source: derived.
    """

    def __init__(
        self, destination: Destination, writer: BackgroundWriter, notice: str | None
    ) -> None:
        super().__init__(writer)
        self.config = destination.config
        self.experiment = destination.experiment
        self.notice = notice

    @classmethod
    def open(
        cls,
        config: TrackingConfig,
        *,
        experiment: str = "studies",
        primary_metric: str | None = None,
        greater_is_better: bool = True,
        note: str | None = None,
        views: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> Self:
        """Open the store and the experiment, creating what is missing.

        Takes about 1.5 s for MLflow's import and 0.5 s more for a new SQLite file.

        Args:
            config: Where to record; its `experiment`, if set, wins over the argument.
            experiment: Name of the experiment: the study's.
            primary_metric: The metric that MLflow's charts show first.
            greater_is_better: Its direction.
            note: Markdown description of the experiment.
            views: Prepared views of the UI, as tags of the experiment (`views.study_views`).
            folder: Existing folder of the spool. What an earlier process left there is sent
                first, and the runs that it left open are ended. None: no spool, so that a store
                that is away is an error, and what it misses is lost.

        Raises:
            TrackingError: The store cannot be used as it is (wrong credentials, not a store of
                MLflow, not writable; within about 5 s), the experiment is in MLflow's trash,
                another process is sending the spool, or there is none and the store is away.
            OSError: The spool cannot be written.
        """
        tags: dict[str, str] = {}
        if primary_metric is not None:
            tags["mlflow.experiment.primaryMetric.name"] = primary_metric
            tags["mlflow.experiment.primaryMetric.greaterIsBetter"] = str(greater_is_better)
        if note is not None:
            tags[NOTE_TAG] = cut(mask(note), TAG_LIMIT)
        tags |= views or {}
        destination = Destination(config, mask(config.experiment or experiment), tags)
        writer, notice = open_writer(destination, folder)
        return cls(destination, writer, notice)

    def start_study(
        self,
        study_id: str,
        name: str,
        *,
        params: Fields | None = None,
        tags: Fields | None = None,
        description: str | None = None,
    ) -> str:
        """Open the study's parent run, and return the id that the other methods take.

        Args:
            study_id: Stable id of the study with its configuration and output: the newest run
                that has it is reopened, else one is made.
            name: Name of the run.
            params: Parameters; on a reopened run those that are not there yet.
            tags: Tags; they replace those of a reopened run.
            description: Markdown.

        Raises:
            ValueError: An id with a quote, backslash or line break.
            OSError: The spool cannot be written.
        """
        check_ids(study_id=study_id)
        note = {} if description is None else {NOTE_TAG: description}
        record = Record(name, params or {}, {**(tags or {}), **note}, status="running")
        self._writer.sitting(study_id)
        self._writer.submit(WriteStudy(study=study_id, record=record))
        return study_id

    def log_group(
        self,
        parent_id: str,
        group_id: str,
        name: str,
        *,
        params: Fields | None = None,
        tags: Fields | None = None,
        metrics: Numbers | None = None,
        status: str = "running",
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> None:
        """Record a trial of the search or an arm of the confirmation, or what is new about it.

        May be called any number of times; parameters stay as first written, tags, metrics and
        status are replaced.

        Args:
            parent_id: What `start_study` returned.
            group_id: Stable id within the study.
            name: Name shown in the UI.
            params: Parameters.
            tags: Tags.
            metrics: Metrics over the group's runs.
            status: `running` or how it ended; see the class.
            start_ms: Start, milliseconds since 1970; None: now.
            end_ms: End, milliseconds since 1970; None: now.

        Raises:
            ValueError: An unknown status, or an id with a quote, backslash or line break.
        """
        check_ids(parent_id=parent_id, group_id=group_id)
        record = Record(name, params or {}, tags or {}, metrics or {}, (), status, start_ms, end_ms)
        self._writer.submit(WriteGroup(study=parent_id, group=group_id, record=record))

    def log_run(
        self,
        parent_id: str,
        group_id: str,
        key: str,
        name: str,
        *,
        params: Fields | None = None,
        tags: Fields | None = None,
        history: Sequence[Numbers] = (),
        metrics: Numbers | None = None,
        status: str = "finished",
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> None:
        """Record one finished training, nested under its group; skipped if it is there already.

        Args:
            parent_id: What `start_study` returned.
            group_id: The group; made if `log_group` has not been called.
            key: The run's key, unique within the group.
            name: Name shown in the UI, such as `seed 3`.
            params: Parameters.
            tags: Tags.
            history: For each epoch a dict of metrics; its index is the step.
            metrics: Final metrics. Non-finite values, here and in the history, are left out and
                named in the tag `non_finite_metrics`.
            status: How it ended; see the class.
            start_ms: Start, milliseconds since 1970; None: now.
            end_ms: End, milliseconds since 1970; None: now.

        Raises:
            ValueError: An unknown status, or an id with a quote, backslash or line break.
        """
        check_ids(parent_id=parent_id, group_id=group_id, run_key=key)
        record = Record(
            name, params or {}, tags or {}, metrics or {}, history, status, start_ms, end_ms
        )
        self._writer.submit(WriteRun(study=parent_id, group=group_id, key=key, record=record))

    def log_single(
        self,
        key: str,
        name: str,
        *,
        params: Fields | None = None,
        tags: Fields | None = None,
        history: Sequence[Numbers] = (),
        metrics: Numbers | None = None,
        status: str = "finished",
        start_ms: int | None = None,
        end_ms: int | None = None,
    ) -> str:
        """Record one finished training that belongs to no study; every call makes a run.

        Arguments as in `log_run`. Returns an id, which the artefact methods take.

        Raises:
            ValueError: An unknown status, or a key with a quote, backslash or line break.
        """
        check_ids(run_key=key)
        record = Record(
            name, params or {}, tags or {}, metrics or {}, history, status, start_ms, end_ms
        )
        own_id = uuid.uuid4().hex
        self._writer.submit(WriteSingle(study=own_id, key=key, record=record))
        return own_id

    def finish(self, parent_id: str, status: str = "finished") -> None:
        """Close a study's run, and whatever is still open below it.

        Args:
            parent_id: What `start_study` returned.
            status: How it ended; see the class. What is open below a finished study is marked as
                superseded, below any other as interrupted.

        Raises:
            ValueError: An unknown status, or `running`.
        """
        check_ids(parent_id=parent_id)
        check_status(status)
        if status == "running":
            raise ValueError("a study that ends cannot have the status 'running'")
        self._writer.submit(EndStudy(study=parent_id, status=status, time_ms=now_ms()))

    def keep(self) -> None:
        """Put what is not in the store into the spool, where a kill cannot reach it.

        Raises:
            OSError: The spool cannot be written.
        """
        self._writer.keep()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything logged so far is written.

        Returns:
            False if `timeout` seconds did not do, or the store is away.
        """
        return self._writer.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> TrackingSummary:
        """Write what is queued, for at most `timeout` seconds, and report; closing twice is fine.

        A store that is away is tried once more; what it misses stays in the spool. After a Ctrl-C
        pass a short timeout.
        """
        return self._writer.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(30.0 if error is None else 5.0)
