import http.server
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from studies.engine.tracking import Tracker, TrackingConfig, TrackingError, sqlite_file
from studies.engine.tracking.errors import StoreAwayError, reason
from studies.engine.tracking.store import open_client
from tests.studies.prepared import Prepared

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

OPEN = """
import sys
from studies.engine.tracking import Tracker, TrackingConfig
tracker = Tracker.open(TrackingConfig(sys.argv[1], artifact_location=sys.argv[2]), experiment="e")
parent = tracker.start_study("one", "study")
tracker.log_run(parent, "arm", sys.argv[3], "run")
summary = tracker.close()
assert (summary.written + summary.present, summary.failed) == (2, 0), summary
print(parent)
"""


def refusal(uri: str, *, away: bool = False) -> str:
    """The sentence for a store that cannot be used; it must come within 6 seconds.

    `away`: whether it may be usable later, so that a study begins all the same.
    """
    start = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        Tracker.open(TrackingConfig(uri))
    assert isinstance(caught.value, StoreAwayError) == away
    assert time.monotonic() - start < 6
    assert "\n" not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    return str(caught.value)


def test_four_processes_open_a_missing_store_at_once(tmp_path: Path) -> None:
    file = tmp_path / "new" / "mlflow.db"
    # What a killed process may have left behind.
    file.parent.mkdir()
    (file.parent / "mlflow.db.creating").write_text("half")
    (file.parent / "mlflow.db.creating-journal").write_text("half")
    uri = f"sqlite:///{file}"
    processes = [
        Prepared("-c", [OPEN, uri, str(tmp_path / "art"), f"key{i}"], tmp_path) for i in range(4)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert [error for _, error in outputs] == [""] * 4
    # One study, one arm, four runs: nobody made a second one.
    assert len({parent for parent, _ in outputs}) == 1
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("e")
    assert experiment is not None
    kinds = [run.data.tags["kind"] for run in client.search_runs([experiment.experiment_id])]
    assert sorted(kinds) == ["group", "run", "run", "run", "run", "study"]
    mode = sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone()
    assert mode == ("wal",)
    assert [path.name for path in file.parent.glob("*creating*")] == []


def test_store_elsewhere_is_set_to_write_ahead_logging(config: TrackingConfig) -> None:
    file = config.database_file
    assert file is not None
    connection = sqlite3.connect(file)
    assert connection.execute("PRAGMA journal_mode=delete").fetchone() == ("delete",)
    connection.close()
    open_client(config)
    assert sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_unusable_files(tmp_path: Path, template: Path) -> None:
    (tmp_path / "notes.txt").write_text("these are notes, not a database, however long they are")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE trials (id INTEGER)")
    other.commit()
    other.close()
    shutil.copy(template, tmp_path / "old.db")
    old = sqlite3.connect(tmp_path / "old.db")
    old.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    old.commit()
    old.close()
    base = f"sqlite:///{tmp_path}"
    assert "cannot be made" in refusal(f"{base}/no/such/folder/mlflow.db")
    assert "cannot be made" in refusal(f"{base}/notes.txt/mlflow.db")
    assert "file is not a database" in refusal(f"{base}/notes.txt")
    assert "not one of MLflow" in refusal(f"{base}/other.db")
    assert "is a folder" in refusal(base)
    assert "mlflow db upgrade" in refusal(f"{base}/old.db")
    # Nothing was changed on the way.
    assert sqlite3.connect(tmp_path / "other.db").execute(
        "SELECT name FROM sqlite_master"
    ).fetchall() == [("trials",)]


def test_locked_database_is_told(config: TrackingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_TIMEOUT_S", 0.2)
    assert config.database_file is not None
    holder = sqlite3.connect(config.database_file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert "database is locked" in refusal(config.tracking_uri, away=True)
    holder.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


@pytest.fixture
def foreign_port() -> Iterator[int]:
    """A web server that is not MLflow's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def do_POST(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_unreachable_servers(silent_port: int, foreign_port: int) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        free_port = unused.getsockname()[1]
    sentence = refusal(f"http://ada:s3cr3t@127.0.0.1:{free_port}", away=True)
    assert f"http://ada:***@127.0.0.1:{free_port} cannot be used (connection refused" in sentence
    assert "start the server" in sentence
    assert "no answer in time" in refusal(f"http://ada:s3cr3t@127.0.0.1:{silent_port}", away=True)
    assert "HTTP status 404" in refusal(f"http://127.0.0.1:{foreign_port}")


def test_unknown_database_driver() -> None:
    assert "cannot be used" in refusal("postgresql+nosuchdriver://ada:s3cr3t@127.0.0.1/x")


def test_deleted_experiment_is_told(config: TrackingConfig, client: MlflowClient) -> None:
    experiment_id = client.create_experiment("digits")
    client.delete_experiment(experiment_id)
    with pytest.raises(TrackingError, match=f"'digits' is deleted.*restore -x {experiment_id}"):
        Tracker.open(config, experiment="digits")


def test_what_a_server_repeats_of_our_headers_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0k3n")
    assert reason(ValueError("no such user: Bearer t0k3n")) == "no such user: Bearer ***"
