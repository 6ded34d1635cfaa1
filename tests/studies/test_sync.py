"""What the tracking server misses arrives later, once."""

import re
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from studies.engine.errors import UserError
from studies.engine.tracking import Tracker, TrackingConfig, TrackingError, TrackingSummary
from studies.sync import sync
from tests.studies.conftest import environment
from tests.studies.prepared import run_prepared
from tests.studies.tracking.servers import Line, mlflow_server

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning")

SECRET = "s3cr3t-pass"
ARMS, SEEDS, EPOCHS = 2, 3, 2


@pytest.fixture(scope="module")
def server_port(tmp_path_factory: pytest.TempPathFactory, template: Path) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(template, folder / "mlflow.db")
    with mlflow_server(folder) as port:
        yield port


@pytest.fixture
def line(server_port: int) -> Iterator[Line]:
    line = Line(server_port)
    yield line
    line.cut()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output folder of a study, in an empty current folder."""
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///unused.db\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    output = tmp_path / "outputs" / "study"
    output.mkdir(parents=True)
    (output / "table.txt").write_text("a table\n")
    return output


def conduct(tracker: Tracker, folder: Path, *, end: bool = True, pause: float = 0.0) -> None:
    """Record a small study as a study does: everything, at every start."""
    study = tracker.start_study("study-1", "study", params={"epochs": EPOCHS})
    for seed in range(SEEDS):
        for arm in range(ARMS):
            if seed == 0:
                tracker.log_group(study, f"arm{arm}", f"arm {arm}", params={"lr": 0.1})
            tracker.log_run(
                study, f"arm{arm}", f"key{arm}-{seed}", f"arm {arm}, seed {seed}",
                params={"seed": seed}, metrics={"test_accuracy": 0.5 + seed / 10},
                history=[{"loss": 1.0 / (epoch + 1 + seed)} for epoch in range(EPOCHS)],
                start_ms=1_000 + seed, end_ms=2_000 + seed,
            )  # fmt: skip
            time.sleep(pause)
    if end:
        for arm in range(ARMS):
            tracker.log_group(
                study, f"arm{arm}", f"arm {arm}", metrics={"mean": 0.6}, status="finished"
            )
        tracker.set_description(study, "Ternary is **equivalent**.")
        tracker.log_artifact_file(study, folder / "table.txt")
        tracker.finish(study)
        tracker.keep()


RECORDS = 1 + ARMS * SEEDS + 2 * ARMS + 3


def record(config: TrackingConfig, folder: Path, **options: bool) -> TrackingSummary:
    with Tracker.open(config, experiment=folder.parents[1].name, folder=folder) as tracker:
        conduct(tracker, folder, **options)
        return tracker.close()


def stored(uri: str, experiment: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    client = MlflowClient(uri, uri)
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id], "", view))


def check_whole(uri: str, folder: Path) -> None:
    """The study is there once, whole and ended."""
    client, runs = MlflowClient(uri, uri), stored(uri, folder.parents[1].name)
    assert Counter(run.data.tags["kind"] for run in runs) == {
        "study": 1,
        "group": ARMS,
        "run": ARMS * SEEDS,
    }
    by_id = {run.info.run_id: run for run in runs}
    for run in runs:
        tags = run.data.tags
        assert (run.info.status, tags["status"]) == ("FINISHED", "finished"), tags
        if tags["kind"] == "study":
            assert tags["mlflow.note.content"] == "Ternary is **equivalent**."
            files = [file.path for file in client.list_artifacts(run.info.run_id)]
            assert files == ["table.txt"]
        elif tags["kind"] == "group":
            assert by_id[tags["mlflow.parentRunId"]].data.tags["study_id"] == "study-1"
            assert (run.data.params, run.data.metrics) == ({"lr": "0.1"}, {"mean": 0.6})
        else:
            group, seed = by_id[tags["mlflow.parentRunId"]], int(run.data.params["seed"])
            assert tags["run_key"] == f"key{group.data.tags['group_id'][3:]}-{seed}"
            assert (run.info.start_time, run.info.end_time) == (1_000 + seed, 2_000 + seed)
            points = client.get_metric_history(run.info.run_id, "loss")
            assert [(p.step, p.value) for p in points] == [
                (epoch, 1.0 / (epoch + 1 + seed)) for epoch in range(EPOCHS)
            ]
            assert len(client.get_metric_history(run.info.run_id, "test_accuracy")) == 1


def test_a_server_that_is_away_from_start_to_end(
    line: Line, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line.cut()
    config = TrackingConfig(line.uri)
    started = time.monotonic()
    with Tracker.open(config, experiment=folder.parents[1].name, folder=folder) as tracker:
        assert tracker.notice == (
            f"the tracking store {line.uri} cannot be used (connection refused, or unknown host); "
            f"start the server, or correct the tracking URI; records are kept in {folder} and "
            "sent later"
        )
        conduct(tracker, folder)
        summary = tracker.close()
    assert time.monotonic() - started < 5
    assert (summary.waiting, summary.written, summary.failed) == (RECORDS, 0, 0)
    (spool,) = folder.glob("tracking-*.jsonl")
    before = spool.read_bytes()

    assert sync([]) == 1
    captured = capsys.readouterr()
    assert captured.out == f"outputs/study: 0 sent, {RECORDS} left (to {line.uri})\n"
    assert captured.err == (
        f"error: The tracking store {line.uri} cannot be used (connection refused, or unknown "
        "host); start the server, or correct the tracking URI.\n"
    )
    assert spool.read_bytes() == before

    line.connect()
    done = subprocess.run(  # the command itself
        [sys.executable, "-m", "studies.sync", str(folder)], env=environment(),
        capture_output=True, text=True, timeout=120, cwd=folder.parents[1],
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder}: {RECORDS} sent, 0 left (to {line.uri})\n"
    check_whole(line.uri, folder)
    assert list(folder.glob("tracking-*.jsonl")) == []
    assert sync([folder]) == sync([]) == 0
    assert capsys.readouterr().out == "Nothing is left to send.\n" * 2

    # The whole spool once more, as if nobody had noted what was sent.
    spool.write_bytes(before)
    assert sync([folder]) == 0
    # Artefacts are written over; that and nothing else counts as sent.
    assert capsys.readouterr().out.startswith(f"{folder}: 1 sent, {RECORDS - 1} there already")
    check_whole(line.uri, folder)


def test_a_line_that_loses_requests_and_answers(
    line: Line, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line.mode, line.loss = "lossy", 0.2
    record(TrackingConfig(line.uri), folder)
    for _attempt in range(60):
        if sync([folder]) == 0:
            break
        # Whatever got lost, it is the line's fault and not the record's.
        problem = capsys.readouterr().err
        assert "connection refused, or unknown host" in problem, problem
    line.mode = "open"
    assert sync([folder]) == 0
    check_whole(line.uri, folder)
    # What came to be there twice was discarded, and is not shown as running either.
    deleted = stored(line.uri, folder.parents[1].name, ViewType.DELETED_ONLY)
    assert {run.info.status for run in deleted} <= {"KILLED", "FINISHED"}


def test_a_server_that_goes_in_the_middle_and_a_start_that_sends_it(
    line: Line, folder: Path
) -> None:
    config = TrackingConfig(line.uri)
    with Tracker.open(config, experiment=folder.parents[1].name, folder=folder) as tracker:
        assert tracker.notice is None
        conduct(tracker, folder, end=False)
        assert tracker.flush(60)
        line.mode = 503
        conduct(tracker, folder)
        summary = tracker.close()
    assert summary.written == 1 + ARMS + ARMS * SEEDS
    assert summary.waiting > 0
    assert "HTTP status 503" in str(summary.message)
    line.mode = "open"
    with Tracker.open(config, experiment=folder.parents[1].name, folder=folder) as tracker:
        assert tracker.close().left == 0
    check_whole(line.uri, folder)


def test_addresses_that_can_never_work_are_errors(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    config = TrackingConfig(line.uri.replace("//", f"//ada:{SECRET}@"))
    for status, meaning in ((401, " (not signed in)"), (403, " (not allowed)"), (404, "")):
        line.mode = status
        with pytest.raises(TrackingError) as caught:
            Tracker.open(config, folder=folder)
        assert f"HTTP status {status}{meaning}" in str(caught.value)
        assert SECRET not in str(caught.value)
    assert list(folder.glob("*.jsonl")) == []  # and nothing is left lying about
    for status in (429, 500, 502, 503, 504):
        line.mode = status
        with Tracker.open(config, folder=folder) as tracker:
            assert f"HTTP status {status}" in str(tracker.notice)
            assert SECRET not in str(tracker.notice)
    assert list(folder.glob("*.jsonl")) == []


def test_a_password_is_asked_for_and_never_kept(
    line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    uri = line.uri.replace("//", f"//ada:{SECRET}@")
    line.mode = 503
    assert record(TrackingConfig(uri), folder).waiting == RECORDS
    for file in folder.rglob("*"):
        assert SECRET.encode() not in file.read_bytes()
    line.mode = "open"
    with pytest.raises(UserError, match=r"for http://ada:\*\*\*@127.*password in MLFLOW_TRACKING"):
        sync([folder])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert sync([folder]) == 0
    assert SECRET not in "".join(capsys.readouterr())
    check_whole(line.uri, folder)


def test_a_locked_and_a_full_database(
    folder: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.engine.tracking.sqlite_file._BUSY_TIMEOUT_S", 0.2)
    file = folder.parent / "mlflow.db"
    shutil.copy(template, file)
    config = TrackingConfig(f"sqlite:///{file}", artifact_location=str(folder.parent / "art"))
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    summary = record(config, folder)
    assert summary.waiting == RECORDS
    assert "database is locked" in str(summary.message)
    holder.execute("ROLLBACK")
    holder.close()
    # What a full disk is to SQLite; the spool is smaller than that.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        summary = record(config, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert summary.waiting > RECORDS  # those from the start before, and from this one
    assert re.search("full|disk I/O error", str(summary.message))
    assert sync([folder]) == 0
    check_whole(config.tracking_uri, folder)


def test_bad_input_costs_one_sentence(
    folder: Path, template: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def refusal(*folders: Path, uri: str | None = None) -> str:
        with pytest.raises(UserError) as caught:
            sync(folders, uri)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "does not exist" in refusal(tmp_path / "nothing")
    assert "is not a folder" in refusal(folder / "table.txt")
    assert "holds no records that wait" in refusal(folder)
    assert "unknown scheme 'htp'" in refusal(uri="htp://x")
    assert record(TrackingConfig("http://127.0.0.1:9"), folder).waiting == RECORDS
    (spool,) = folder.glob("tracking-*.jsonl")
    whole = spool.read_bytes()
    lines = whole.splitlines(keepends=True)
    spool.write_bytes(b"".join([*lines[:4], b"{]\n", *lines[5:]]))
    assert refusal(folder).startswith(f"Line 5 of {spool} is damaged; restore the file")
    spool.write_bytes(b'{"spool":1}\n' + b"".join(lines[1:]))
    assert refusal(folder).startswith(f"Line 1 of {spool} is damaged")
    spool.write_bytes(b"")
    assert refusal(folder).startswith(f"{spool} is empty")
    # A study starts all the same, and says what it did with the file.
    spool.write_bytes(b"{]\n")
    shutil.copy(template, tmp_path / "mlflow.db")
    with Tracker.open(
        TrackingConfig("http://127.0.0.1:9"), experiment=tmp_path.name, folder=folder
    ) as tracker:
        assert f"was set aside as {spool.with_suffix('.damaged')}" in str(tracker.notice)
    # Another store may be named; what waits goes there.
    spool.write_bytes(whole[:-10])
    capsys.readouterr()
    assert sync([folder], f"sqlite:///{tmp_path / 'mlflow.db'}") == 0
    assert f"{RECORDS - 1} sent, 0 left" in capsys.readouterr().out


KILLS = """
import os, random, signal, sys, time
from pathlib import Path
from tests.studies.test_sync import conduct
from studies.engine.tracking import Tracker, TrackingConfig
import mlflow
uri, folder, kills, longest = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
config = TrackingConfig(uri, artifact_location=str(folder.parent / "art"))
moments = random.Random(1)
for _ in range(kills):
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        tracker = Tracker.open(config, experiment=folder.parents[1].name, folder=folder)
        os.write(tell, b"!")
        conduct(tracker, folder)
        tracker.close()
        os._exit(0)
    os.read(ready, 1)
    time.sleep(moments.uniform(0, longest))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("kind", ["sqlite", "server"])
def test_killed_at_random_moments(kind: str, folder: Path, template: Path, line: Line) -> None:
    uri, longest = line.uri, 1.5
    if kind == "sqlite":
        shutil.copy(template, folder.parent / "mlflow.db")
        uri, longest = f"sqlite:///{folder.parent / 'mlflow.db'}", 0.2
    kills = 5
    run_prepared(
        folder.parents[1], "-c", KILLS, uri, str(folder), str(kills), str(longest)
    ).check_returncode()
    name = folder.parents[1].name
    # Between the starts the command ends what the dead have left open.
    if list(folder.glob("tracking-*.jsonl")):
        assert sync([folder]) == 0
    assert [run.info.run_name for run in stored(uri, name) if run.info.status == "RUNNING"] == []
    summary = record(TrackingConfig(uri, artifact_location=str(folder.parent / "art")), folder)
    assert (summary.left, summary.failed) == (0, 0)
    check_whole(uri, folder)
    assert list(folder.glob("tracking-*.jsonl")) == []


def test_a_request_that_breaks_the_server_stops_no_other(line: Line, folder: Path) -> None:
    config = TrackingConfig(line.uri)
    with Tracker.open(config, experiment=folder.parents[1].name, folder=folder) as tracker:
        tracker.start_study("study-1", "study")
        assert tracker.flush(30)
        line.broken = "log-batch"  # as over a record that the server cannot digest
        tracker.log_run("study-1", "arm0", "key0-0", "run", history=[{"loss": 1.0}])
        tracker.set_description("study-1", "**done**")
        summary = tracker.close()
    assert (summary.written, summary.refused, summary.waiting) == (2, 1, 0)
    assert summary.first_error == "run 'run': the server answered with HTTP status 500"
    line.broken = None
    assert sync([folder]) == 0
    (run,) = [run for run in stored(line.uri, folder.parents[1].name)
              if run.data.tags["kind"] == "run"]  # fmt: skip
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"loss": 1.0})


DIES = """
import os, sys
from pathlib import Path
from tests.studies.test_sync import conduct
from studies.engine.tracking import Tracker, TrackingConfig
uri, folder = sys.argv[1], Path(sys.argv[2])
tracker = Tracker.open(TrackingConfig(uri), experiment=folder.parents[1].name, folder=folder)
conduct(tracker, folder, end=False)
assert tracker.flush(60)
os._exit(9)
"""


@pytest.mark.parametrize("by", ["the command", "the next study"])
def test_what_the_dead_left_open_is_ended(
    by: str, folder: Path, template: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(template, folder.parent / "mlflow.db")
    uri, name = f"sqlite:///{folder.parent / 'mlflow.db'}", folder.parents[1].name

    def states() -> Counter[tuple[str, str]]:
        return Counter((run.data.tags["kind"], run.info.status) for run in stored(uri, name))

    dead = run_prepared(folder.parents[1], "-c", DIES, uri, str(folder))
    assert dead.returncode == 9
    runs = {("run", "FINISHED"): ARMS * SEEDS}
    assert states() == {("study", "RUNNING"): 1, ("group", "RUNNING"): ARMS, **runs}
    if by == "the command":
        assert sync([folder]) == 0
        assert capsys.readouterr().out == f"{folder}: 0 sent, 0 left (to {uri})\n"
    else:  # a start over, which records another study
        with Tracker.open(TrackingConfig(uri), experiment=name, folder=folder) as tracker:
            tracker.start_study("study-2", "study")
            tracker.finish("study-2")
    others = {("study", "FINISHED"): 1} if by == "the next study" else {}
    assert states() == {("study", "KILLED"): 1, ("group", "KILLED"): ARMS, **runs, **others}
    assert list(folder.glob("tracking-*.jsonl")) == []
    if by == "the command":
        assert record(TrackingConfig(uri, artifact_location=str(folder)), folder).left == 0
        check_whole(uri, folder)
