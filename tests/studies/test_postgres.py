"""A real PostgreSQL server, stopped and started in the middle."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState

from studies.engine.errors import UserError
from studies.engine.patience import TICKET
from studies.engine.storage import Ledger, open_storage, open_study
from tests.studies.conftest import environment
from tests.studies.postgres import Cluster, why_not
from tests.studies.test_storage import result

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    running = Cluster()
    yield running
    running.close()


@pytest.fixture(scope="module")
def study_url(cluster: Cluster) -> str:
    """A database that holds Optuna's tables; what a test adds stays."""
    return cluster.url()


def test_results_come_back_equal_and_once(study_url: str, tmp_path: Path) -> None:
    ledger = Ledger(open_storage(study_url, tmp_path), "s")
    ledger.add(result("a"))
    ledger.add(result("a"))
    again = Ledger(open_storage(study_url, tmp_path), "s")
    assert len(again) == 1
    assert again["a"] == result("a")
    assert not list(tmp_path.iterdir())  # nothing of a server's storage lies in the folder


def test_a_study_survives_a_restart_of_the_server(
    cluster: Cluster, study_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = open_study(open_storage(study_url, tmp_path), "restart")
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}
    first = study.ask(space)
    study.tell(first, 0.5)
    second = study.ask(space)
    cluster.stop()
    starter = threading.Timer(2.0, cluster.start)
    starter.start()
    began = time.monotonic()
    study.tell(second, 0.25)
    waited = time.monotonic() - began
    starter.join()
    third = study.ask(space)
    study.tell(third, 0.75)
    assert 1.5 < waited < 30
    reopened = open_study(open_storage(study_url, tmp_path), "restart")
    trials = reopened.get_trials()
    assert [trial.value for trial in trials] == [0.5, 0.25, 0.75]
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert len({trial.system_attrs[TICKET] for trial in trials}) == 3
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "is away" in said[0]
    assert "is back after" in said[1]
    assert "s3cret" not in "".join(said)


def test_threads_wait_together_for_the_server_and_lose_nothing(
    cluster: Cluster, study_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = open_storage(study_url, tmp_path)
    study = open_study(storage, "threads")
    ended = threading.Event()
    beats = 0

    def beat() -> None:
        nonlocal beats
        while not ended.is_set():
            study.set_user_attr("beat", beats)
            beats += 1

    thread = threading.Thread(target=beat)
    thread.start()
    for number in range(4):
        study.add_trial(optuna.trial.create_trial(value=float(number)))
    cluster.stop()
    starter = threading.Timer(1.0, cluster.start)
    starter.start()
    for number in range(4, 8):
        study.add_trial(optuna.trial.create_trial(value=float(number)))
    starter.join()
    ended.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert sorted(trial.values[0] for trial in study.get_trials()) == list(range(8))
    assert study.user_attrs["beat"] == beats - 1
    said = capsys.readouterr().err.splitlines()
    assert ["away" in line for line in said] == [True, False]


def test_waiting_ends_at_the_limit_with_one_sentence(
    cluster: Cluster, study_url: str, tmp_path: Path
) -> None:
    ledger = Ledger(open_storage(study_url, tmp_path, limit=0.5), "limit")
    cluster.stop()
    try:
        with pytest.raises(UserError, match=r"stayed away for .*run the same command again"):
            ledger.add(result("late"))
    finally:
        cluster.start()
    assert "late" not in ledger
    ledger.add(result("late"))
    assert "late" in Ledger(open_storage(study_url, tmp_path), "limit")


def test_wrong_password_and_unknown_database_are_one_sentence_each(
    cluster: Cluster, tmp_path: Path
) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match='user "study" or the password is wrong') as raised:
        open_storage(cluster.url(password="wr0ng"), tmp_path)
    assert "wr0ng" not in str(raised.value)
    assert "study:***@127.0.0.1" in str(raised.value)
    with pytest.raises(UserError, match=r'no database "nothing"; create it \(createdb\)') as raised:
        open_storage(cluster.url(database="nothing"), tmp_path)
    assert "s3cret" not in str(raised.value)
    assert str(raised.value).count(".") <= 5  # the dots of an address and a full stop
    assert time.monotonic() - began < 10  # no waiting for what cannot pass


def test_a_password_changed_in_the_middle_is_an_error_at_once(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.sql("study", "CREATE ROLE fleeting LOGIN SUPERUSER PASSWORD 'before'")
    url = cluster.create_database("fleeting").replace("study:s3cret", "fleeting:before")
    study = open_study(open_storage(url, tmp_path), "s")
    cluster.sql(
        "study",
        "ALTER ROLE fleeting PASSWORD 'after'; SELECT pg_terminate_backend(pid) "
        "FROM pg_stat_activity WHERE usename = 'fleeting'",
    )
    began = time.monotonic()
    with pytest.raises(UserError, match="password is wrong"):
        study.set_user_attr("key", 1)
    assert time.monotonic() - began < 5


def test_processes_that_start_at_the_same_moment_share_a_new_database(cluster: Cluster) -> None:
    url = cluster.create_database("fresh")
    code = (
        "import sys, tempfile; from pathlib import Path\n"
        "from studies.engine.storage import open_storage, open_study\n"
        "import optuna, sqlalchemy; print('ready', flush=True); sys.stdin.readline()\n"
        "open_study(open_storage(sys.argv[1], Path(tempfile.mkdtemp())), 's')"
        ".add_trial(optuna.trial.create_trial(value=1.0))"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for _ in range(3)
    ]
    for start in starts:
        assert start.stdout is not None
        assert start.stdout.readline() == "ready\n"
    for start in starts:
        assert start.stdin is not None
        start.stdin.write("go\n")
        start.stdin.flush()
    for start in starts:
        _, errors = start.communicate(timeout=60)
        assert (start.returncode, errors) == (0, "")
    study = open_study(open_storage(url, Path()), "s")
    assert len(study.get_trials()) == 3


def test_tables_of_another_program_are_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.create_database("other")
    cluster.sql("other", "CREATE TABLE alembic_version (version_num text)")
    with pytest.raises(UserError, match="another program's tables"):
        open_storage(url, tmp_path)
    # Were Optuna's tables there now, this would fail.
    cluster.sql("other", "CREATE TABLE studies (id int); CREATE TABLE trials (id int)")
