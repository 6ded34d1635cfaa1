import dataclasses
import os
import shutil
import sqlite3
import threading
from contextlib import nullcontext
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from studies.engine.tracking import Tracker, TrackingConfig, TrackingError
from studies.engine.tracking.operations import Operation
from studies.engine.tracking.records import Record
from studies.engine.tracking.runs import RunStore

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

SECRET = "s3cr3t"
URL = f"postgresql://ada:{SECRET}@db/x"
HISTORY = [{"train_loss": 1.0, "val_accuracy": 0.5}, {"train_loss": 0.25, "val_accuracy": 0.75}]


def all_runs(client: MlflowClient, kind: str) -> list[Run]:
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(
        client.search_runs(ids, f"tags.kind = '{kind}'", order_by=["attributes.start_time ASC"])
    )


def log_study(tracker: Tracker, seeds: int = 2) -> str:
    """A study with one arm; what a study that continues logs again."""
    parent = tracker.start_study(
        "id-1", "ternary_sparsity", params={"epochs": 2}, tags={"git_commit": "abc"}
    )
    tracker.log_group(
        parent, "arm:he_normal", "He normal", params={"lr": 0.1}, tags={"stage": "confirm"}
    )
    for seed in range(seeds):
        tracker.log_run(
            parent,
            "arm:he_normal",
            f"key{seed}",
            f"seed {seed}",
            params={"seed": seed, "lr": 0.1, "nesterov": True},
            tags={"seed": seed, "family": "he"},
            history=HISTORY,
            metrics={"test_accuracy": 0.9 + seed / 100},
            start_ms=1_000 + seed,
            end_ms=2_000 + seed,
        )
    mean = {"test_accuracy": 0.9 + (seeds - 1) / 200}
    tracker.log_group(parent, "arm:he_normal", "He normal", metrics=mean, status="finished")
    tracker.finish(parent)
    assert tracker.flush(30)
    return parent


def test_a_closed_tracker_leaves_one_file_that_can_be_copied_alone(
    config: TrackingConfig, tmp_path: Path
) -> None:
    with Tracker.open(config, experiment="digits") as tracker:
        log_study(tracker, 40)
        assert (tmp_path / "mlflow.db-wal").exists()
    assert not (tmp_path / "mlflow.db-wal").exists()
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "copy.db")
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (42,)
    connection.close()


def test_study_group_and_runs_read_back(
    tracker: Tracker, client: MlflowClient, config: TrackingConfig
) -> None:
    assert log_study(tracker) == "id-1"
    (study,), (group,) = all_runs(client, "study"), all_runs(client, "group")
    runs = all_runs(client, "run")
    parent_id = study.info.run_id
    assert study.data.params == {"epochs": "2"}
    assert {**study.data.tags, "study_id": "id-1", "team": "vision"} == study.data.tags
    assert [run.info.run_name for run in (study, group, *runs)] == [
        "ternary_sparsity",
        "He normal",
        "seed 0",
        "seed 1",
    ]
    assert group.data.tags["mlflow.parentRunId"] == parent_id
    assert group.data.metrics == {"test_accuracy": 0.905}
    for seed, run in enumerate(runs):
        assert run.data.tags["mlflow.parentRunId"] == group.info.run_id
        assert run.data.params == {"seed": str(seed), "lr": "0.1", "nesterov": "true"}
        expected = {"seed": str(seed), "family": "he", "run_key": f"key{seed}", "team": "vision"}
        assert {**run.data.tags, **expected} == run.data.tags
        assert (run.info.start_time, run.info.end_time) == (1_000 + seed, 2_000 + seed)
        curve = client.get_metric_history(run.info.run_id, "val_accuracy")
        assert [(m.step, m.value, m.timestamp - seed) for m in curve] == [
            (0, 0.5, 1_500),
            (1, 0.75, 2_000),
        ]
        assert run.data.metrics["test_accuracy"] == 0.9 + seed / 100
    assert {run.info.status for run in (study, group, *runs)} == {"FINISHED"}
    assert tracker.close().message is None
    # Nothing of this is global.
    assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() != config.tracking_uri
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_a_study_that_continues_writes_nothing_twice(
    config: TrackingConfig, client: MlflowClient
) -> None:
    with Tracker.open(config, experiment="digits") as first:
        parent = log_study(first)
    with Tracker.open(config, experiment="digits") as again:
        assert log_study(again, seeds=3) == parent
        summary = again.close()
    # Present: two runs. Written: study and group reopened, a third run, the new mean, the end.
    assert (summary.written, summary.present, summary.failed) == (5, 2, 0)
    assert len(all_runs(client, "study")) == len(all_runs(client, "group")) == 1
    runs = all_runs(client, "run")
    assert [run.data.tags["run_key"] for run in runs] == ["key0", "key1", "key2"]
    for run in runs:
        assert len(client.get_metric_history(run.info.run_id, "train_loss")) == 2
    (group,) = all_runs(client, "group")
    assert group.data.metrics == {"test_accuracy": 0.91}
    assert group.info.status == all_runs(client, "study")[0].info.status == "FINISHED"


def test_another_id_makes_a_second_study_with_its_own_runs(
    config: TrackingConfig, client: MlflowClient
) -> None:
    with Tracker.open(config) as tracker:
        old = log_study(tracker)
        new = tracker.start_study("id-2", "ternary_sparsity")
        tracker.log_run(new, "arm:he_normal", "key0", "seed 0")
    assert (old, new) == ("id-1", "id-2")
    assert len(all_runs(client, "run")) == 3
    assert len(all_runs(client, "study")) == 2


def test_a_record_cut_short_by_a_kill_is_completed(
    config: TrackingConfig, client: MlflowClient
) -> None:
    with Tracker.open(config) as tracker:
        log_study(tracker, seeds=1)
    (whole,) = all_runs(client, "run")
    group = whole.data.tags["mlflow.parentRunId"]
    study = whole.data.tags["study_run"]
    # What the client's calls leave when they are cut short: tags, and a part of the points.
    tags = {"kind": "run", "run_key": "key9", "study_run": study, "mlflow.parentRunId": group}
    half = client.create_run(whole.info.experiment_id, start_time=1_000, tags=tags).info.run_id
    client.log_metric(half, "train_loss", 1.0, 1_500, 0)
    with Tracker.open(config) as tracker:
        parent = tracker.start_study("id-1", "ternary_sparsity")
        for _ in range(2):
            tracker.log_run(
                parent, "arm:he_normal", "key9", "seed 9", params={"lr": 0.1},
                history=HISTORY, metrics={"test_accuracy": 0.5}, start_ms=1_000, end_ms=2_000,
            )  # fmt: skip
        summary = tracker.close()
    assert (summary.written, summary.present) == (2, 1)
    first, second = all_runs(client, "run")
    completed = first if first.info.run_id == half else second
    assert (completed.info.status, completed.info.run_name) == ("FINISHED", "seed 9")
    assert (completed.info.start_time, completed.info.end_time) == (1_000, 2_000)
    assert completed.data.params == {"lr": "0.1"}
    points = client.get_metric_history(half, "train_loss")
    assert [(point.step, point.value) for point in points] == [(0, 1.0), (1, 0.25)]
    assert completed.data.metrics["test_accuracy"] == 0.5


def test_what_came_to_be_there_twice_is_discarded(
    config: TrackingConfig, client: MlflowClient
) -> None:
    """As by a slow server, which carries out what the client has given up."""
    with Tracker.open(config, experiment="digits") as tracker:
        log_study(tracker, seeds=1)
    (study,), (group,), (run,) = (all_runs(client, kind) for kind in ("study", "group", "run"))
    experiment_id = study.info.experiment_id

    def double(of: Run) -> str:
        late = of.info.end_time + 1000
        return client.create_run(experiment_id, late, of.data.tags).info.run_id

    second_study, second_group, second_run = double(study), double(group), double(run)
    # One of the runs is there below the second group only.
    other = {**run.data.tags, "run_key": "key1", "mlflow.parentRunId": second_group}
    moved = client.create_run(experiment_id, 5, other).info.run_id
    client.set_terminated(moved)
    with Tracker.open(config, experiment="digits") as tracker:
        log_study(tracker, seeds=2)
        assert tracker.close().present == 2
    ids = {of.info.run_id for kind in ("study", "group", "run") for of in all_runs(client, kind)}
    assert ids == {study.info.run_id, group.info.run_id, run.info.run_id, moved}
    assert client.get_run(moved).data.tags["mlflow.parentRunId"] == group.info.run_id
    for discarded in (second_study, second_group, second_run):
        info = client.get_run(discarded).info
        assert (info.lifecycle_stage, info.status) == ("deleted", "KILLED")


def test_what_a_finished_study_left_open_is_superseded(
    tracker: Tracker, client: MlflowClient
) -> None:
    parent = tracker.start_study("s", "study")
    for name in ("kept", "replaced"):
        tracker.log_run(parent, name, "k", "run")
    tracker.log_group(parent, "kept", "kept", status="finished")
    tracker.finish(parent)
    assert tracker.close(30).failed == 0
    ended = {r.data.tags["group_id"]: r.data.tags["status"] for r in all_runs(client, "group")}
    assert ended == {"kept": "finished", "replaced": "superseded"}
    assert [r.info.status for r in all_runs(client, "group")].count("KILLED") == 1


@pytest.mark.parametrize(
    ("status", "mlflow_status"),
    [
        ("finished", "FINISHED"),
        ("diverged", "FINISHED"),
        ("pruned", "KILLED"),
        ("interrupted", "KILLED"),
        ("superseded", "KILLED"),
        ("failed", "FAILED"),
    ],
)
def test_statuses_are_told_apart(
    tracker: Tracker, client: MlflowClient, status: str, mlflow_status: str
) -> None:
    parent = tracker.start_study("s", "study")
    tracker.log_group(parent, "g", "group", status=status)
    tracker.log_run(parent, "g", "k", "run", status=status, metrics={"loss": float("inf")})
    tracker.finish(parent, status)
    assert tracker.close(30).failed == 0
    for kind in ("study", "group", "run"):
        (run,) = all_runs(client, kind)
        assert (run.info.status, run.data.tags["status"]) == (mlflow_status, status)
    assert run.data.tags["non_finite_metrics"] == "loss"
    assert run.data.metrics == {}


def test_limits_names_and_large_histories(tracker: Tracker, client: MlflowClient) -> None:
    parent = tracker.start_study("s", "study")
    bad_names = ["a//b", "../c", "..d", "/e", "f/", ".", "n" * 999, "é,(x)", "g/../h"]
    history = [{f"m{i}": float(epoch * i) for i in range(11)} for epoch in range(100)]
    tracker.log_run(
        parent,
        "g",
        "k",
        "run",
        params={"long": "p" * 9000, "odd,(name)": 1, **{f"p{i}": i for i in range(150)}},
        tags={"long": "t" * 9000},
        history=history,
        metrics={"acc%": 1, **dict.fromkeys(bad_names, 2)},
    )
    assert tracker.close(30).first_error is None
    (run,) = all_runs(client, "run")
    assert run.data.params["long"] == "p" * 5999 + "…"
    assert run.data.tags["long"] == "t" * 7999 + "…"
    assert run.data.params["odd__name_"] == "1"
    assert len(run.data.params) == 152
    assert run.data.metrics["acc_"] == 1.0
    assert len(run.data.metrics) == 11 + 1 + len(bad_names)
    for i in range(11):  # 1110 points: more than one batch
        points = client.get_metric_history(run.info.run_id, f"m{i}")
        assert [point.value for point in points] == [float(epoch * i) for epoch in range(100)]


def test_secrets_are_nowhere(config: TrackingConfig, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.md", tmp_path / "picture.png"
    report.write_text(f"stored in {URL}\n")
    picture.write_bytes(bytes(range(256)))
    with Tracker.open(config, experiment=f"see {URL}", note=f"note {URL}") as tracker:
        parent = tracker.start_study(
            "s", f"study {URL}", params={"url": URL}, tags={URL: URL}, description=f"d {URL}"
        )
        tracker.log_group(parent, "g", URL, params={"a": [URL]}, tags={"t": {"u": URL}})
        tracker.log_run(parent, "g", "k", URL, metrics={URL: 1.0}, history=[{URL: float("nan")}])
        tracker.set_description(parent, f"**better**, see {URL}")
        tracker.log_text(parent, f"text {URL}", "notes/text.md")
        tracker.log_dict(parent, {"uri": URL, "n": [URL]}, "notes/data.json", group_id="g")
        tracker.log_artifact_file(parent, report, "reports")
        tracker.log_artifact_file(parent, picture, "reports")
        tracker.log_artifact_file(parent, tmp_path / "missing.csv")
        summary = tracker.close()
    assert summary.failed == 1
    assert "No such file" in str(summary.first_error)
    assert SECRET not in str(summary)
    report.unlink()
    artifacts = Path(config.artifact_location)
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in stored if SECRET.encode() in path.read_bytes()] == []
    names = {path.name: path.read_bytes() for path in artifacts.rglob("*") if path.is_file()}
    assert names.keys() == {"text.md", "data.json", "report.md", "picture.png"}
    assert names["report.md"] == b"stored in postgresql://ada:***@db/x\n"
    assert names["picture.png"] == bytes(range(256))


def test_description_artefacts_and_experiment(
    config: TrackingConfig, client: MlflowClient, tmp_path: Path
) -> None:
    (tmp_path / "runs.csv").write_text("arm,seed\nhe,0\n")
    options = {"experiment": "digits", "primary_metric": "test_accuracy", "note": "# Digits"}
    for greater in (True, False):
        with Tracker.open(config, greater_is_better=greater, **options) as tracker:
            parent = tracker.start_study("s", "study")
            tracker.set_description(parent, "Ternary is **equivalent**.")
            tracker.log_artifact_file(parent, tmp_path / "runs.csv", "results")
            tracker.set_description(parent, "one arm", group_id="g")
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    parent = all_runs(client, "study")[0].info.run_id
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "test_accuracy"
    assert experiment.tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "False"
    assert experiment.tags["mlflow.note.content"] == "# Digits"
    assert experiment.artifact_location == Path(config.artifact_location).as_uri()
    assert client.get_run(parent).data.tags["mlflow.note.content"] == "Ternary is **equivalent**."
    assert all_runs(client, "group")[0].data.tags["mlflow.note.content"] == "one arm"
    copy = client.download_artifacts(parent, "results/runs.csv")
    assert Path(copy).read_text() == "arm,seed\nhe,0\n"


def test_experiment_of_the_configuration_wins(tmp_path: Path, config: TrackingConfig) -> None:
    named = TrackingConfig(config.tracking_uri, "from config", config.artifact_location)
    with Tracker.open(named, experiment="from study") as tracker:
        assert tracker.experiment == "from config"


def test_a_store_that_breaks_is_reported_once_and_quietly(
    config: TrackingConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker.open(config)
    parent = tracker.start_study("s", "study")
    tracker.log_run(parent, "g", "before", "run 0")
    assert tracker.flush(30)
    assert config.database_file is not None
    other = sqlite3.connect(config.database_file)
    other.execute("ALTER TABLE runs RENAME TO gone")
    for i in range(3):
        tracker.log_run(parent, "g", f"k{i}", f"run {i}")
    assert not tracker.flush(30)  # away: what it misses waits
    summary = tracker.close()
    other.execute("ALTER TABLE gone RENAME TO runs")
    other.close()
    # The study and a run are there; without a spool the rest is lost.
    assert (summary.written, summary.failed, summary.left) == (2, 3, 0)
    assert summary.first_error == "run 'run 0': no such table: runs"
    assert summary.message is not None
    assert summary.message.startswith("3 of 5 tracking records could not be written to MLflow")
    assert "\n" not in summary.message
    assert capfd.readouterr() == ("", "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hold(Operation):
    """Holds the thread."""

    kind = "hold"
    gate: threading.Event

    def apply(self, runs: RunStore) -> bool:
        return self.gate.wait(30)


def test_the_caller_may_change_its_data_at_once(tracker: Tracker, client: MlflowClient) -> None:
    parent = tracker.start_study("s", "study")
    gate = threading.Event()
    tracker._writer.submit(Hold(study=parent, gate=gate))
    params, epoch = {"lr": 0.1}, {"loss": 1.0}
    tracker.log_run(parent, "g", "k", "run", params=params, history=[epoch])
    params["lr"] = epoch["loss"] = 99.0
    gate.set()
    assert tracker.close().failed == 0
    (run,) = all_runs(client, "run")
    assert (run.data.params["lr"], run.data.metrics["loss"]) == ("0.1", 1.0)


def test_misuse_is_told_at_once(tracker: Tracker) -> None:
    parent = tracker.start_study("s", "study")
    with pytest.raises(ValueError, match=r"status must be one of running, .*, not 'done'"):
        tracker.log_run(parent, "g", "k", "run", status="done")
    with pytest.raises(ValueError, match="status must be one of"):
        tracker.finish(parent, "ok")
    with pytest.raises(ValueError, match="cannot have the status 'running'"):
        tracker.finish(parent, "running")
    with pytest.raises(ValueError, match="could not convert"):
        tracker.log_run(parent, "g", "k", "run", metrics={"loss": "much"})
    for bad in ("it's", "", 'a"b', "a\nb", "a\\b", "x" * 501):
        with pytest.raises(ValueError, match="group id must be 1 to 500 characters"):
            tracker.log_group(parent, bad, "group")
    with pytest.raises(ValueError, match="study id"):
        tracker.start_study("'", "study")
    with pytest.raises(TypeError):
        tracker.log_dict(parent, {"a": object()}, "a.json")
    tracker.close()
    with pytest.raises(TrackingError, match="tracker is closed"):
        tracker.log_run(parent, "g", "k", "run")


@pytest.mark.parametrize("lasted", [0, 1])
def test_what_comes_late_does_not_reopen_what_has_ended(client: MlflowClient, lasted: int) -> None:
    """Also if it lasted less than a millisecond, so that its times do not differ."""
    store = RunStore(client, client.create_experiment("late"), {}, nullcontext)
    first = Record("He normal", status="running", time_ms=1_000)
    last = Record("He normal", status="finished", time_ms=1_000 + lasted)
    assert store.study("s", first)
    assert store.group("s", "g", first)
    assert store.group("s", "g", last)
    assert not store.group("s", "g", first, late=True)
    assert not store.group("s", "g", last, late=True)
    (group,) = all_runs(client, "group")
    assert (group.info.status, group.info.end_time) == ("FINISHED", 1_000 + lasted)
    # A later start of the study does open it anew.
    later = Record("He normal", status="running", time_ms=1_001 + lasted)
    assert store.group("s", "g", later, late=True)
    assert all_runs(client, "group")[0].info.status == "RUNNING"
