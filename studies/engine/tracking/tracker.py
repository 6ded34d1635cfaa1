"""The tracker: what a study calls to record itself in MLflow."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from studies.engine.secrets import mask
from studies.engine.tracking.config import TrackingConfig
from studies.engine.tracking.fields import TAG_LIMIT, cut
from studies.engine.tracking.records import Fields, Numbers, Record, check_ids, check_status
from studies.engine.tracking.runs import NOTE_TAG, RunStore
from studies.engine.tracking.sqlite_file import file_lock
from studies.engine.tracking.store import open_client, open_experiment, store_file
from studies.engine.tracking.writer import BackgroundWriter, TrackingSummary

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracker:
    """Records a study, its groups (a trial or an arm each) and its runs (a seed each) in MLflow.

    Made by `Tracker.open`. Only `open`, `start_study` and `log_single` wait for the store and
    raise `TrackingError`; everything else is queued for one background thread, in order, and a
    failure there is counted and told by `close`. Every text that is written is masked
    (`secrets.mask`) and cut, visibly, to MLflow's limits. What the store holds already is not
    written twice, so a study that continues simply logs everything again.

    How a run ended is the tag `status`: running, finished, diverged, pruned, interrupted or
    failed. MLflow's own status is RUNNING for running, FINISHED for finished and diverged (a
    result), KILLED for pruned and interrupted, FAILED for failed.

    No global state of MLflow is used (no active run, no default tracking URI); its telemetry and
    its log output are switched off. Use it from the process that opened it.

    Source: derived.
    """

    def __init__(
        self, client: "MlflowClient", config: TrackingConfig, experiment_id: str, experiment: str
    ) -> None:
        self.config = config
        self.experiment_id = experiment_id
        self.experiment = experiment
        self._client = client
        self._runs = RunStore(
            client, experiment_id, config.tags, lambda: file_lock(config.database_file)
        )
        self._writer = BackgroundWriter()

    @classmethod
    def open(
        cls,
        config: TrackingConfig,
        *,
        experiment: str = "studies",
        primary_metric: str | None = None,
        greater_is_better: bool = True,
        note: str | None = None,
    ) -> Self:
        """Open the store and the experiment, creating what is missing.

        Takes about 1.5 s for MLflow's import and 0.5 s more for a new SQLite file.

        Args:
            config: Where to record; its `experiment`, if set, wins over the argument.
            experiment: Name of the experiment: the study's.
            primary_metric: The metric that MLflow's charts show first.
            greater_is_better: Its direction.
            note: Markdown description of the experiment.

        Raises:
            TrackingError: The store cannot be reached, written or understood (within about 5 s),
                or the experiment is in MLflow's trash.
        """
        name = mask(config.experiment or experiment)
        client = open_client(config)
        tags: dict[str, str] = {}
        if primary_metric is not None:
            tags["mlflow.experiment.primaryMetric.name"] = primary_metric
            tags["mlflow.experiment.primaryMetric.greaterIsBetter"] = str(greater_is_better)
        if note is not None:
            tags[NOTE_TAG] = cut(mask(note), TAG_LIMIT)
        return cls(client, config, open_experiment(client, config, name, tags), name)

    def start_study(
        self,
        study_id: str,
        name: str,
        *,
        params: Fields | None = None,
        tags: Fields | None = None,
        description: str | None = None,
        fresh: bool = False,
    ) -> str:
        """Return the MLflow run id of the study's parent run; waits for the store.

        Args:
            study_id: Stable id of the study with its configuration and output: the newest run
                that has it is reopened, else one is made.
            name: Name of the run.
            params: Parameters; on a reopened run those that are not there yet.
            tags: Tags; they replace those of a reopened run.
            description: Markdown.
            fresh: Make a new run even if there is one.

        Raises:
            ValueError: An id with a quote, backslash or line break.
            TrackingError: The store failed.
        """
        check_ids(study_id=study_id)
        note = {} if description is None else {NOTE_TAG: description}
        record = Record(name, params or {}, {**(tags or {}), **note}, status="running")
        return self._writer.call(
            f"the study {name!r}", partial(self._runs.study, study_id, record, fresh)
        )

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
        self._submit(f"group {name!r}", partial(self._runs.group, parent_id, group_id, record))

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
        self._submit(f"run {name!r}", partial(self._runs.run, parent_id, group_id, key, record))

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
        """Record one finished training that belongs to no study; waits for the store.

        Arguments as in `log_run`. Returns the MLflow run id, which the artefact methods take.

        Raises:
            ValueError: An unknown status, or a key with a quote, backslash or line break.
            TrackingError: The store failed.
        """
        check_ids(run_key=key)
        record = Record(
            name, params or {}, tags or {}, metrics or {}, history, status, start_ms, end_ms
        )
        return self._writer.call(f"run {name!r}", partial(self._runs.single, key, record))

    def set_description(
        self, parent_id: str, markdown: str, *, group_id: str | None = None
    ) -> None:
        """Set the description (markdown) of a study, or of one of its groups."""
        text = cut(mask(markdown), TAG_LIMIT)

        def write(run_id: str) -> None:
            self._client.set_tag(run_id, NOTE_TAG, text)

        self._on_run("the description", parent_id, group_id, write)

    def log_text(
        self, parent_id: str, text: str, file: str, *, group_id: str | None = None
    ) -> None:
        """Store text as the artefact `file` (`folder/name.md`) of a study, or of a group."""

        def write(run_id: str) -> None:
            self._client.log_text(run_id, mask(text), file)

        self._on_run(f"the artefact {file!r}", parent_id, group_id, write)

    def log_dict(
        self, parent_id: str, data: object, file: str, *, group_id: str | None = None
    ) -> None:
        """Store plain data as the JSON artefact `file` of a study, or of a group.

        Raises:
            TypeError: The data are not plain.
        """
        text = json.dumps(data, indent=2, ensure_ascii=False)
        self.log_text(parent_id, text, file, group_id=group_id)

    def log_artifact_file(
        self,
        parent_id: str,
        path: str | Path,
        folder: str | None = None,
        *,
        group_id: str | None = None,
    ) -> None:
        """Copy a file into the artefacts of a study, or of a group, below `folder`.

        The file is read by the background thread: leave it in place until `flush` or `close`.
        Credentials in a text file (UTF-8) are masked in the copy.
        """
        file = Path(path)
        self._on_run(
            f"the artefact {file.name!r}",
            parent_id,
            group_id,
            lambda run_id: store_file(self._client, run_id, file, folder),
        )

    def finish(self, parent_id: str, status: str = "finished") -> None:
        """Close a study's run with the given status.

        Raises:
            ValueError: An unknown status.
        """
        check_ids(parent_id=parent_id)
        check_status(status)
        self._submit("the end of the study", partial(self._runs.finish, parent_id, status))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything logged so far is written; False if `timeout` s did not do."""
        return self._writer.flush(timeout)

    def close(self, timeout: float | None = 30.0) -> TrackingSummary:
        """Write what is queued, for at most `timeout` seconds, and report; closing twice is fine.

        After a Ctrl-C pass a short timeout. What is then left counts as failed in the report.
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

    def _submit(self, what: str, job: Callable[[], object]) -> None:
        self._writer.submit(mask(what), job)

    def _on_run(
        self, what: str, parent_id: str, group_id: str | None, write: Callable[[str], None]
    ) -> None:
        check_ids(parent_id=parent_id, group_id=group_id)
        self._submit(what, lambda: write(self._runs.resolve(parent_id, group_id)))
