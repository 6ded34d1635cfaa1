"""A run written at once reads back as one written by MLflow's own calls."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Metric, Run

from studies.engine.tracking import Tracker, TrackingConfig, bulk
from studies.engine.tracking.destination import Destination
from studies.engine.tracking.entries import Entries
from studies.engine.tracking.operations import WriteGroup, WriteStudy
from studies.engine.tracking.records import Record
from studies.engine.tracking.sender import Sender
from studies.engine.tracking.store import open_client, open_experiment

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

OWN = {"kind": "run", "run_key": "key"}
CURVES = [
    {"train_loss": 1 / (epoch + 1), "val_accuracy": math.sqrt(epoch) / 4} for epoch in range(10)
]
RECORDS = {
    "plain": Record(
        "seed 3",
        {"lr": 0.1, "nesterov": True, "depth": None, **{f"p{i}": i for i in range(18)}},
        {"family": "he", "mlflow.user": "ada", "note": "ü ' \" %"},
        # The last point of val_accuracy comes twice, that of train_loss with another value.
        {"val_accuracy": 0.75, "train_loss": 0.05, "test_accuracy": 0.5},
        CURVES,
        "finished",
        1_000,
        2_000,
    ),
    "one time stamp": Record(
        "flat", metrics={"x": -1.0}, history=[{"x": 2.0}, {"x": -0.0}], start_ms=5, end_ms=5
    ),
    "zero times": Record("zero", start_ms=0, end_ms=0, metrics={"x": 1.0}),
    "nothing": Record("empty", start_ms=7, end_ms=8),
    "nan": Record(
        "broken",
        metrics={"loss": math.nan, "best": 1.5},
        history=[{"loss": 1.0}, {"loss": math.inf}],
        status="diverged",
        start_ms=1,
        end_ms=2,
    ),
    "pruned": Record("short", history=[{"x": 1.0}], status="pruned", start_ms=1, end_ms=2),
    "failed": Record("failed", status="failed", start_ms=1, end_ms=2),
    "long": Record(
        "n" * 240,
        {"p": "p" * 9000, **{f"q{i}": "q" * 300 for i in range(250)}},
        {"t": "t" * 9000, **{f"u{i}": i for i in range(150)}},
        {"a//b": 1, "acc%": 2, "m" * 999: 3},
        [{f"m{i}": epoch * i for i in range(15)} for epoch in range(100)],
        start_ms=10,
        end_ms=10_000,
    ),
    "many": Record("many", history=[{"x": 1e-300 * i} for i in range(1500)], end_ms=9, start_ms=1),
}


class Stores:
    """The same store twice: written at once, and by the client's calls."""

    def __init__(self, config: TrackingConfig) -> None:
        self.client = open_client(config)
        self.experiment_id = open_experiment(self.client, config, "digits", {})
        self.bulk, self.calls = (
            Entries(self.client, self.experiment_id, config.tags) for _ in range(2)
        )
        assert self.bulk._database is not None
        self.calls._database = None

    def both(self, record: Record) -> tuple[Run, Run]:
        ids = [store.create(record, OWN).run_id for store in (self.bulk, self.calls)]
        first, second = (self.client.get_run(run_id) for run_id in ids)
        return first, second

    def curve(self, run_id: str, metric: str) -> list[tuple[float, int, int]]:
        points = self.client.get_metric_history(run_id, metric)
        return [(point.value, point.timestamp, point.step) for point in points]


@pytest.fixture
def stores(config: TrackingConfig) -> Stores:
    return Stores(config)


def rows(config: TrackingConfig, table: str, run_id: str) -> list[tuple[Any, ...]]:
    """All columns of a run's rows as SQLite holds them, with their types; without the id."""
    assert config.database_file is not None
    connection = sqlite3.connect(config.database_file)
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    typed = ", ".join(f"{name}, typeof({name})" for name in names if name != "run_uuid")
    found = connection.execute(f"SELECT {typed} FROM {table} WHERE run_uuid = ?", [run_id])
    texts = [
        tuple(text.replace(run_id, "ID") if isinstance(text, str) else text for text in row)
        for row in found
    ]
    connection.close()
    return sorted(texts, key=repr)


@pytest.mark.parametrize("name", RECORDS)
def test_reads_back_as_written_by_the_client(
    stores: Stores, config: TrackingConfig, name: str
) -> None:
    record = RECORDS[name]
    at_once, by_calls = stores.both(record)
    assert at_once.data.to_dictionary() == by_calls.data.to_dictionary()
    for field in ("run_name", "user_id", "status", "experiment_id", "lifecycle_stage"):
        assert getattr(at_once.info, field) == getattr(by_calls.info, field)
    for metric in by_calls.data.metrics:
        first, second = (stores.curve(run.info.run_id, metric) for run in (at_once, by_calls))
        assert first == second
    # MLflow takes the time of its calls for 0, which differs between the two.
    tables = ["tags", "params", "metrics", "latest_metrics"]
    for table in tables if name == "zero times" else [*tables, "runs"]:
        first, second = (rows(config, table, run.info.run_id) for run in (at_once, by_calls))
        assert first == second, table


def test_numbers_of_the_plain_record(stores: Stores) -> None:
    run, _ = stores.both(RECORDS["plain"])
    assert run.data.metrics == {"val_accuracy": 0.75, "train_loss": 0.1, "test_accuracy": 0.5}
    assert (run.info.start_time, run.info.end_time, run.info.status) == (1000, 2000, "FINISHED")
    assert (run.info.run_name, run.info.user_id) == ("seed 3", "ada")
    counts = {name: len(stores.curve(run.info.run_id, name)) for name in run.data.metrics}
    assert counts == {"val_accuracy": 10, "train_loss": 11, "test_accuracy": 1}


def test_large_histories_and_long_texts(stores: Stores) -> None:
    many, _ = stores.both(RECORDS["many"])
    points = sorted(stores.curve(many.info.run_id, "x"), key=lambda point: point[2])
    assert [value for value, _, _ in points] == [1e-300 * i for i in range(1500)]
    long, _ = stores.both(RECORDS["long"])
    assert long.data.params["p"] == "p" * 5999 + "…"
    assert long.data.tags["t"] == "t" * 7999 + "…"
    assert len(long.data.params) == 251


def test_non_finite_values_as_mlflow_stores_them(stores: Stores) -> None:
    store = stores.bulk._database
    assert store is not None
    values = [math.nan, math.inf, -math.inf, 0.0, -0.0, 0.0]
    points = [Metric(f"m{i % 2}", value, 5, i // 4) for i, value in enumerate(values)]
    points.append(Metric("m0", math.nan, 5, 0))  # once more
    tags = {"mlflow.runName": "x"}
    run = bulk.FinishedRun(
        tags=tags, params={}, points=points, status="FINISHED", start_ms=1, end_ms=2
    )
    bulk.write_runs(store, stores.experiment_id, [run])
    at_once = run.run_id
    by_calls = stores.client.create_run(stores.experiment_id, 1, tags).info.run_id
    stores.client.log_batch(by_calls, points)
    for key in ("m0", "m1"):
        first, second = (repr(stores.curve(run_id, key)) for run_id in (at_once, by_calls))
        assert first == second
    first, second = (repr(stores.client.get_run(i).data.metrics) for i in (at_once, by_calls))
    assert first == second


@pytest.mark.parametrize(
    "condition",
    [
        "metrics.test_accuracy = 0.5",
        "metrics.val_accuracy > 0.74 and metrics.train_loss <= 0.1",
        "params.lr = '0.1'",
        "params.depth = 'none' and tags.family LIKE 'h%'",
        "tags.team = 'vision' and tags.status = 'finished'",
        "attributes.run_name = 'seed 3' and attributes.status = 'FINISHED'",
        "attributes.start_time = 1000 and attributes.end_time = 2000",
        "attributes.user_id = 'ada'",
    ],
)
def test_searches_find_both(stores: Stores, condition: str) -> None:
    runs = stores.both(RECORDS["plain"])
    stores.both(RECORDS["nan"])
    found = stores.client.search_runs([stores.experiment_id], condition)
    assert {run.info.run_id for run in found} == {run.info.run_id for run in runs}


def test_a_written_run_can_be_changed_and_takes_artefacts(
    stores: Stores, config: TrackingConfig
) -> None:
    run_id = stores.bulk.create(RECORDS["plain"], OWN).run_id
    client = stores.client
    client.log_text(run_id, "hello", "notes/a.txt")
    file = Path(config.artifact_location) / run_id / "artifacts" / "notes" / "a.txt"
    assert file.read_text() == "hello"
    client.log_metric(run_id, "val_accuracy", 0.875, 3_000, 10)
    client.set_tag(run_id, "mlflow.runName", "renamed")
    client.set_tag(run_id, "family", "glorot")
    client.log_param(run_id, "late", 1)
    with pytest.raises(MlflowException, match="Changing param values is not allowed"):
        client.log_param(run_id, "lr", 0.2)
    run = client.get_run(run_id)
    assert run.data.metrics["val_accuracy"] == 0.875
    assert (run.info.run_name, run.data.tags["family"]) == ("renamed", "glorot")
    assert run.data.params["late"] == "1"
    client.delete_run(run_id)
    assert client.search_runs([stores.experiment_id], "tags.family = 'glorot'") == []
    client.restore_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_a_failure_leaves_nothing_of_the_run(stores: Stores, config: TrackingConfig) -> None:
    assert config.database_file is not None
    connection = sqlite3.connect(config.database_file)
    connection.execute("ALTER TABLE latest_metrics RENAME TO gone")
    with pytest.raises(MlflowException, match="no such table: latest_metrics"):
        stores.bulk.create(RECORDS["plain"], OWN)
    connection.execute("ALTER TABLE gone RENAME TO latest_metrics")
    for table in ("runs", "tags", "params", "metrics", "latest_metrics"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()
    run_id = stores.bulk.create(RECORDS["plain"], OWN).run_id
    assert stores.client.get_run(run_id).info.status == "FINISHED"


def test_runs_written_together_are_there_at_the_end_all_or_none(
    stores: Stores, config: TrackingConfig
) -> None:
    assert config.database_file is not None
    with stores.bulk.together():
        ids = [stores.bulk.create(record, OWN).run_id for record in RECORDS.values()]
        assert stores.client.search_runs([stores.experiment_id]) == []
    found = stores.client.search_runs([stores.experiment_id])
    assert {run.info.run_id for run in found} == set(ids)
    for record, run_id in zip(RECORDS.values(), ids, strict=True):
        alone = stores.bulk.create(record, OWN).run_id
        tables = ["tags", "params", "metrics", "latest_metrics"]
        for table in tables if record.name == "zero" else [*tables, "runs"]:
            assert rows(config, table, run_id) == rows(config, table, alone), record.name

    before = len(stores.client.search_runs([stores.experiment_id]))
    refuse(config, "seed 3")
    with pytest.raises(MlflowException, match="not this one"):
        together(stores, "nothing", "plain")
    assert len(stores.client.search_runs([stores.experiment_id])) == before


def together(stores: Stores, *names: str) -> None:
    with stores.bulk.together():
        for name in names:
            stores.bulk.create(RECORDS[name], OWN)


def refuse(config: TrackingConfig, name: str) -> None:
    """Have the database refuse runs of this name."""
    assert config.database_file is not None
    with sqlite3.connect(config.database_file) as connection:
        connection.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT ON runs WHEN NEW.name = '{name}' "
            "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
    connection.close()


def test_one_sent_alone_is_there_before_the_lock_is_given_back(config: TrackingConfig) -> None:
    """Else another process, which looks under the same lock, would make it once more."""
    sender = Sender(Destination(config, "digits"))
    sender.connect()
    assert sender._runs is not None
    sender.send(WriteStudy(study="s", record=Record("study", status="running")))
    client, seen = open_client(config), []

    @contextmanager
    def lock() -> Iterator[None]:
        yield
        (experiment,) = client.search_experiments(filter_string="name = 'digits'")
        seen.append(len(client.search_runs([experiment.experiment_id], "tags.kind = 'group'")))

    sender._runs._lock = lock
    for i in range(2):
        assert sender.send(WriteGroup(study="s", group=f"g{i}", record=Record("trial")))
    assert seen == [1, 2]


def test_of_many_runs_only_the_refused_one_is_missing(config: TrackingConfig) -> None:
    with Tracker.open(config, experiment="digits") as tracker:
        tracker.start_study("s", "study")
        tracker.log_group("s", "g", "group")
        assert tracker.flush(30)
        refuse(config, "run 13")
        for i in range(40):
            tracker.log_run("s", "g", f"key{i}", f"run {i}", metrics={"x": i})
        tracker.finish("s")
        summary = tracker.close(30)
    assert (summary.written, summary.failed) == (2 + 39 + 1, 1)
    assert "not this one" in str(summary.first_error)
    client = open_client(config)
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    found = client.search_runs([experiment.experiment_id], "tags.kind = 'run'")
    assert {run.data.metrics["x"] for run in found} == set(range(40)) - {13}


def test_a_deleted_experiment_is_refused_as_by_the_client(stores: Stores) -> None:
    stores.client.delete_experiment(stores.experiment_id)
    for store in (stores.bulk, stores.calls):
        with pytest.raises(MlflowException, match="must be in the 'active' state"):
            store.create(RECORDS["plain"], OWN)


def test_other_stores_keep_to_the_client(
    config: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bulk.bulk_store(MlflowClient("http://127.0.0.1:9", "http://127.0.0.1:9")) is None
    client = open_client(config)
    assert bulk.bulk_store(client) is not None
    for table in bulk._COLUMNS:
        with monkeypatch.context() as patch:
            # As if MLflow's class had a column that this code does not know, or lacked one.
            for columns in (bulk._COLUMNS[table] - {"value", "name"}, {*bulk._COLUMNS[table], "x"}):
                patch.setattr(bulk, "_COLUMNS", {**bulk._COLUMNS, table: columns})
                assert bulk.bulk_store(client) is None
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "_COLUMNS", {**bulk._COLUMNS, "SqlNoSuchTable": frozenset()})
        assert bulk.bulk_store(client) is None
        store = Entries(client, "0", {})
        run = client.get_run(store.create(RECORDS["plain"], OWN).run_id)
    assert (run.info.status, run.data.metrics["val_accuracy"]) == ("FINISHED", 0.75)
