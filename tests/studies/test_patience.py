"""A storage that waits: on Optuna's contract, on a full disk, on lost answers, in threads."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState, create_trial

from studies.engine.errors import UserError
from studies.engine.journal import Journal
from studies.engine.patience import TICKET, PatientStorage
from studies.engine.storage import open_storage, open_study
from studies.engine.troubles import passing
from tests.studies.conftest import environment
from tests.studies.postgres import free_port


class Unmarked(PatientStorage):
    """Shows trials without their ticket, as Optuna's contract wants to see them."""

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return _unmarked(super().get_trial(trial_id))

    def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return [_unmarked(trial) for trial in super().get_all_trials(*args, **kwargs)]


def _unmarked(trial: FrozenTrial) -> FrozenTrial:
    assert len(trial.system_attrs[TICKET]) == 32
    shown = copy.copy(trial)  # storages share theirs
    shown.system_attrs = {k: v for k, v in trial.system_attrs.items() if k != TICKET}
    return shown


class TestContractOnTheJournal(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> BaseStorage:
        return Unmarked(JournalStorage(Journal(tmp_path / "j")), "j")


class TestContractOnADatabase(StorageTestCase):
    @pytest.fixture
    def storage(self) -> BaseStorage:
        return Unmarked(get_storage("sqlite://"), "memory")

    def test_pickle_storage(self, storage: BaseStorage) -> None:
        """A database in memory cannot be carried along."""


def test_contract_hides_no_ticket_that_is_missing() -> None:
    storage = InMemoryStorage()
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE])
    storage.create_new_trial(study_id)
    with pytest.raises(KeyError):
        Unmarked(storage, "memory").get_all_trials(study_id)


class Wire(InMemoryStorage):
    """A storage behind a line that breaks before the call, or after it, when the answer is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.before = 0
        self.after = 0
        self.calls = 0

    def _send(self, name: str, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.before:
            self.before -= 1
            raise ConnectionResetError("line broken")
        answer = getattr(super(), name)(*args, **kwargs)
        if self.after:
            self.after -= 1
            raise ConnectionResetError("answer lost")
        return answer

    def create_new_study(self, *args: Any, **kwargs: Any) -> int:
        return int(self._send("create_new_study", *args, **kwargs))

    def delete_study(self, *args: Any) -> None:
        self._send("delete_study", *args)

    def create_new_trial(self, *args: Any, **kwargs: Any) -> int:
        return int(self._send("create_new_trial", *args, **kwargs))

    def set_trial_state_values(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self._send("set_trial_state_values", *args, **kwargs))

    def set_trial_user_attr(self, *args: Any) -> None:
        self._send("set_trial_user_attr", *args)


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def study(wire: Wire) -> optuna.Study:
    return open_study(PatientStorage(wire, "wire", limit=20.0, pause=0.001), "s")


@pytest.mark.parametrize("line", ["before", "after"])
def test_every_call_is_carried_out_once_wherever_the_line_breaks(
    wire: Wire, study: optuna.Study, line: str
) -> None:
    setattr(wire, line, 1)
    asked = study.ask()
    setattr(wire, line, 1)
    study.add_trial(create_trial(value=1.0, user_attrs={"a": 1}))
    setattr(wire, line, 1)
    study.enqueue_trial({"x": 1.0})
    setattr(wire, line, 1)
    asked.set_user_attr("b", 2)
    setattr(wire, line, 1)
    study.tell(asked, 0.5)
    trials = study.get_trials()
    assert [trial.state.name for trial in trials] == ["COMPLETE", "COMPLETE", "WAITING"]
    assert [trial.user_attrs for trial in trials] == [{"b": 2}, {"a": 1}, {}]
    assert [trial.value for trial in trials] == [0.5, 1.0, None]
    setattr(wire, line, 1)
    optuna.delete_study(study_name="s", storage=study._storage)
    assert not optuna.get_all_study_names(study._storage)
    setattr(wire, line, 1)
    assert open_study(study._storage, "t").get_trials() == []
    assert (wire.before, wire.after) == (0, 0)


def test_a_trial_told_by_somebody_else_meanwhile_is_no_success(
    wire: Wire, study: optuna.Study
) -> None:
    asked = study.ask()
    InMemoryStorage.set_trial_state_values(wire, asked._trial_id, TrialState.COMPLETE, [0.25])
    wire.before = 1
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_state_values(asked._trial_id, TrialState.COMPLETE, [0.5])


def test_a_waiting_trial_whose_taking_was_not_answered_is_held_by_nobody(
    wire: Wire, study: optuna.Study
) -> None:
    study.enqueue_trial({"x": 1.0})
    wire.after = 1
    assert not study._storage.set_trial_state_values(0, TrialState.RUNNING)
    assert study.get_trials()[0].state == TrialState.RUNNING


def test_optunas_own_signals_come_through_at_once(wire: Wire, study: optuna.Study) -> None:
    storage = study._storage
    before = wire.calls
    with pytest.raises(KeyError):
        storage.create_new_trial(99)
    with pytest.raises(KeyError):
        storage.delete_study(99)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        storage.create_new_study([StudyDirection.MAXIMIZE], "s")
    assert wire.calls == before + 3


def test_pauses_grow_and_the_limit_ends_the_waiting(
    wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = PatientStorage(wire, "grpc://u:***@h:1", limit=1.5, pause=0.1)
    study = open_study(storage, "s")
    wire.before, wire.calls = 10**6, 0
    began = time.monotonic()
    with pytest.raises(UserError, match=r"stayed away for 2 s .*; what was finished is kept"):
        study.add_trial(create_trial(value=1.0))
    assert 1.4 < time.monotonic() - began < 4
    # After 0, 0.1, 0.3, 0.7 and 1.5 seconds.
    assert 4 <= wire.calls <= 6
    # A further call does not wait anew.
    began = time.monotonic()
    with pytest.raises(UserError):
        study.add_trial(create_trial(value=1.0))
    assert time.monotonic() - began < 0.1
    wire.before = 0
    study.add_trial(create_trial(value=1.0))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0] == "The storage grpc://u:***@h:1 is away (line broken); waiting for it."
    assert said[1].startswith("The storage grpc://u:***@h:1 is back after ")


def test_a_thread_that_reads_does_not_call_a_storage_mended_that_cannot_be_written(
    wire: Wire, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    wire.before = 10**6
    writer = threading.Thread(target=study.add_trial, args=(create_trial(value=1.0),))
    writer.start()
    while wire.calls < 4:
        time.sleep(0.001)
    for _ in range(20):
        assert study.get_trials() == []
        time.sleep(0.002)
    assert writer.is_alive()
    assert len(capsys.readouterr().err.splitlines()) == 1
    wire.before = 0
    writer.join(timeout=20)
    assert len(study.get_trials()) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_threads_create_what_they_are_asked_to_on_a_line_that_breaks_all_the_time(
    wire: Wire, study: optuna.Study
) -> None:
    def work() -> None:
        for _ in range(25):
            study.tell(study.ask(), 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        wire.after = 1
        time.sleep(0.002)
    wire.after = 0
    trials = study.get_trials()
    assert len(trials) == 100
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}


def test_it_can_be_pickled_between_calls(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'o.db'}", tmp_path)
    open_study(storage, "s")
    assert open_study(pickle.loads(pickle.dumps(storage)), "s").get_trials() == []


@pytest.mark.parametrize(
    ("number", "passes"),
    [(errno.ENOSPC, True), (errno.EIO, True), (errno.ECONNREFUSED, True), (errno.EACCES, False)],
)
def test_errors_of_the_system(number: int, passes: bool) -> None:
    assert passing(OSError(number, os.strerror(number))) == passes


def test_a_busy_database_file_is_waited_for_and_a_table_that_is_gone_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "o.db"
    inner = RDBStorage(f"sqlite:///{file}", {"connect_args": {"timeout": 0.1}})
    study = open_study(PatientStorage(get_storage(inner), "o.db", pause=0.05), "s")
    holder = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.8, holder.execute, ("ROLLBACK",))
    release.start()
    study.set_user_attr("a", 1)
    release.join()
    assert study.user_attrs == {"a": 1}
    assert "is away (database is locked)" in capsys.readouterr().err
    holder.execute("DROP TABLE study_user_attributes")
    holder.close()
    with pytest.raises(UserError, match=r"o\.db failed: no such table"):
        study.set_user_attr("a", 2)


FULL_DISK = """
import json, resource, sys, threading
from pathlib import Path
import optuna
from studies.engine.storage import open_storage, open_study
folder = Path(sys.argv[1])
study = open_study(open_storage(None, folder), "s")
study.add_trial(optuna.trial.create_trial(value=0.0))
journal = folder / "study.journal"
size = journal.stat().st_size
# No process may write beyond this size: the next append stops in the middle of its line.
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))
sizes = []
def free():
    sizes.append(journal.stat().st_size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
threading.Timer(1.0, free).start()
study.add_trial(optuna.trial.create_trial(value=1.0))
print(json.dumps([size, sizes, [t.value for t in study.get_trials()]]))
"""


def test_a_full_disk_is_waited_for_and_leaves_no_half_line(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    size, seen, values = json.loads(ran.stdout)
    assert seen == [size]  # cut back to the line before
    assert values == [0.0, 1.0]
    assert "is away (file too large); waiting" in ran.stderr
    assert "is back" in ran.stderr
    trials = open_study(open_storage(None, tmp_path), "s").get_trials()
    assert [trial.value for trial in trials] == [0.0, 1.0]


def test_a_journal_moved_away_is_waited_for_and_not_begun_anew(tmp_path: Path) -> None:
    inner = JournalStorage(Journal(tmp_path / "j"))
    study = open_study(PatientStorage(inner, "j", pause=0.02), "s")
    study.add_trial(create_trial(value=1.0))
    (tmp_path / "j").rename(tmp_path / "away")
    back = threading.Timer(0.3, (tmp_path / "away").rename, (tmp_path / "j",))
    back.start()
    study.add_trial(create_trial(value=2.0))
    back.join()
    assert [trial.value for trial in study.get_trials()] == [1.0, 2.0]


def start_proxy(database: Path, port: int) -> subprocess.Popen[str]:
    proxy = subprocess.Popen(
        [sys.executable, "-m", "studies.proxy", "--storage", f"sqlite:///{database}",
         "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )  # fmt: skip
    assert proxy.stdout is not None
    assert proxy.stdout.readline().startswith("Serving ")
    return proxy


def test_a_study_survives_a_restart_of_the_proxy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("grpc", reason="grpcio is not installed (pip install grpcio protobuf)")
    database, port = tmp_path / "o.db", free_port()
    proxy = start_proxy(database, port)
    try:
        study = open_study(open_storage(f"grpc://127.0.0.1:{port}", tmp_path), "s")
        study.tell(study.ask(), 0.5)
        asked = study.ask()
        proxy.kill()
        proxy.communicate()
        restarted: list[subprocess.Popen[str]] = []
        starter = threading.Timer(1.0, lambda: restarted.append(start_proxy(database, port)))
        starter.start()
        value = asked.suggest_float("x", 0.0, 1.0)
        study.tell(asked, 1.0)
        starter.join()
        proxy = restarted[0]
        direct = open_study(open_storage(f"sqlite:///{database}", tmp_path), "s")
        assert [trial.value for trial in direct.get_trials()] == [0.5, 1.0]
        assert direct.get_trials()[1].params == {"x": value}
        said = capsys.readouterr().err.splitlines()
        assert ["is away" in line for line in said] == [True, False]
    finally:
        proxy.kill()
        proxy.communicate()
