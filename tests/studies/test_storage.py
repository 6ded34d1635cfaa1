"""The ledger and its storage."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import create_trial

from studies.engine.errors import UserError
from studies.engine.identity import bind_folder, check_identity
from studies.engine.options import StudyOptions
from studies.engine.plan import make_plan
from studies.engine.run import Result
from studies.engine.storage import Ledger, delete_studies, open_storage, storage_file
from studies.proxy import ProxyOptions, serve
from studies.ternary_sparsity import STUDY


def result(key: str) -> Result:
    return Result(
        key=key,
        status="finished",
        history=({"train_loss": 0.5, "val_accuracy": 0.25},),
        val_accuracy=0.25,
        test_accuracy=0.125,
        test_loss=None,
        started=1.5,
        seconds=0.25,
        initialization={"layers": [{"name": "fc1.weight", "std": 0.1}]},
        data={"fingerprint": "f"},
    )


@pytest.mark.parametrize("url", [None, "sqlite"])
def test_results_come_back_equal_and_once(tmp_path: Path, url: str | None) -> None:
    address = url and f"sqlite:///{tmp_path / 'o.db'}"
    ledger = Ledger(open_storage(address, tmp_path), "s")
    ledger.add(result("a"))
    ledger.add(result("a"))
    ledger.add(result("b"))
    again = Ledger(open_storage(address, tmp_path), "s")
    assert len(again) == 2
    assert again["a"] == result("a")
    assert "c" not in again
    many = [result(f"many {i}") for i in range(20)]
    again.add(many[3], *many)  # one is there already
    assert len(again._study.trials) == 2 + 3
    third = Ledger(open_storage(address, tmp_path), "s")
    assert len(third) == len(again) == 22
    assert all(third[one.key] == one for one in many)
    # What an earlier version wrote, one result in each trial.
    old = create_trial(value=0.5, user_attrs={"result": result("old").to_dict()})
    third._study.add_trial(old)
    assert again.refresh() == {"old"}
    assert again["old"] == result("old")


def test_another_configuration_is_refused_with_what_differs(tmp_path: Path) -> None:
    check_identity(tmp_path, {"lr": 0.1})  # nothing is bound yet
    bind_folder(tmp_path, {"lr": 0.1, "epochs": 3})
    check_identity(tmp_path, {"lr": 0.1, "epochs": 3})
    with pytest.raises(UserError, match=r"holds .* lr was 0.1 and is now 0.2; choose"):
        check_identity(tmp_path, {"lr": 0.2, "epochs": 3})


def test_a_folder_may_be_moved_and_a_shared_storage_holds_several_studies() -> None:
    plans = [
        make_plan(STUDY, StudyOptions(output=output, lr=lr))
        for output, lr in (("a/run", None), ("b/moved", None), ("c/run", 0.01))
    ]
    assert len({plan.name_in(None) for plan in plans}) == 1
    shared = [plan.name_in("sqlite:///shared.db") for plan in plans]
    assert shared[0] == shared[1] != shared[2]


def test_an_unfinished_last_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    ledger = Ledger(open_storage(None, tmp_path), "s")
    for key in ("a", "b"):
        ledger.add(result(key))
    journal = tmp_path / "study.journal"
    journal.write_bytes(journal.read_bytes()[:-30])
    again = Ledger(open_storage(None, tmp_path), "s")
    assert "a" in again
    again.add(result("c"))
    last = Ledger(open_storage(None, tmp_path), "s")
    assert last["a"] == result("a")
    assert last["c"] == result("c")


@pytest.mark.parametrize("content", ["", "no journal\n", '{"a": 1}\n', "no newline"])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(content)
    if content:
        with pytest.raises(UserError, match="not one of Optuna's"):
            open_storage(str(file), tmp_path)
        assert file.read_text() == content


@pytest.mark.parametrize("url", ["postgresql://u:pw@localhost:abc/db", "nonsense://x"])
def test_a_malformed_address_is_one_sentence(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError) as raised:
        open_storage(url, tmp_path)
    assert ":pw@" not in str(raised.value)


def test_deleting_a_study_leaves_others_alone(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path)
    for name in ("s", "s2"):
        Ledger(storage, name).add(result(name))
    delete_studies(storage, "s")
    assert len(Ledger(storage, "s")) == 0
    assert len(Ledger(storage, "s2")) == 1


def test_a_process_killed_while_it_holds_the_journal_does_not_block_the_next(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from studies.engine.storage import JournalLock\n"
        "JournalLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"
    )
    journal = tmp_path / "study.journal"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(journal)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    started = time.monotonic()
    Ledger(open_storage(None, tmp_path), "s").add(result("a"))
    assert time.monotonic() - started < 20
    holder.stdout.close()


def test_a_storage_that_cannot_be_opened_is_one_sentence_without_the_password(
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError) as raised:
        open_storage("postgresql://me:secret@127.0.0.1:9/x", tmp_path)
    assert "secret" not in str(raised.value)
    assert "postgresql://me:***@127.0.0.1:9/x" in str(raised.value)


def test_half_a_line_of_a_process_that_died_is_cut_off_by_the_next_append(tmp_path: Path) -> None:
    ledger = Ledger(open_storage(None, tmp_path), "s")
    ledger.add(result("a"))
    journal = tmp_path / "study.journal"
    whole = journal.read_bytes()
    # Longer than the block in which the end is searched for.
    journal.write_bytes(whole + b'{"op_code":4,"x":"' + b"x" * 200_000)
    ledger.add(result("b"))
    after = journal.read_bytes()
    assert after.startswith(whole)
    assert after.count(b"\n") == whole.count(b"\n") + 1
    assert {"a", "b"} <= set(Ledger(open_storage(None, tmp_path), "s")._results)


def test_a_journal_killed_in_its_very_first_record_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "study.journal").write_bytes(b'{"op')
    Ledger(open_storage(None, tmp_path), "s").add(result("a"))
    assert "a" in Ledger(open_storage(None, tmp_path), "s")


def test_a_journal_of_a_newer_optuna_is_refused_and_left_alone(tmp_path: Path) -> None:
    journal = tmp_path / "study.journal"
    Ledger(open_storage(None, tmp_path), "s")
    content = journal.read_bytes() + b'{"op_code":99,"worker_id":"w"}\n'
    journal.write_bytes(content)
    with pytest.raises(UserError, match=r"of a newer Optuna than .*; pip install -U optuna"):
        open_storage(None, tmp_path)
    assert journal.read_bytes() == content


@pytest.mark.parametrize(
    ("revision", "cure"), [("v99.0.0.a", "pip install -U"), ("v2.6.0.a", "storage upgrade")]
)
def test_a_database_of_another_optuna_is_refused_and_left_alone(
    tmp_path: Path, revision: str, cure: str
) -> None:
    file = tmp_path / "o.db"
    Ledger(open_storage(f"sqlite:///{file}", tmp_path), "s")
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
        connection.execute("UPDATE version_info SET library_version = '99.1.2'")
        connection.execute("DROP TABLE trial_heartbeats")  # another version, other tables
    connection.close()
    content = file.read_bytes()
    with pytest.raises(UserError, match=r"set up by Optuna 99\.1\.2, whose") as raised:
        open_storage(f"sqlite:///{file}", tmp_path)
    assert cure in str(raised.value)
    assert file.read_bytes() == content


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    connection.close()
    content = file.read_bytes()
    with pytest.raises(UserError, match="another program's tables"):
        open_storage(f"sqlite:///{file}", tmp_path)
    assert file.read_bytes() == content


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "mine.db"
    file.write_text("my thesis " * 200)
    with pytest.raises(UserError, match="is no SQLite database"):
        open_storage(f"sqlite:///{file}", tmp_path)
    assert file.read_text() == "my thesis " * 200


def test_what_cannot_be_opened_is_one_sentence_each(tmp_path: Path) -> None:
    cases = {
        str(tmp_path): "is a directory",
        "/dev/null/x.journal": "file exists: /dev/null",
        "oracle+cx_oracle://u:secret@h/x": "driver that is not installed",
        "postgresql://u:p{secret}@127.0.0.1:9/x": "nothing listens there",
        "postgresql://u:secret@host.invalid/x": "its host is unknown",
        "postgresql://u:se/cret@127.0.0.1:9/x": "nothing listens there",
        "postgresql://u:secret@127.0.0.1:nine/x": "no address that can be read",
        "nonsense://u:secret@x": "no address that can be read",
        "grpc://localhost": "malformed; expected grpc://HOST:PORT",
        "grpc://u:secret@localhost:1": "malformed; expected grpc://HOST:PORT",
    }
    for url, why in cases.items():
        with pytest.raises(UserError) as raised:
            open_storage(url, tmp_path)
        sentence = str(raised.value)
        assert why in sentence, sentence
        assert "secret" not in sentence
        assert "se/cret" not in sentence
        assert "\n" not in sentence


def test_the_file_behind_a_storage(tmp_path: Path) -> None:
    assert storage_file(None, tmp_path) == tmp_path / "study.journal"
    assert storage_file("sqlite:////tmp/a.db?mode=ro", tmp_path) == Path("/tmp/a.db").resolve()
    assert storage_file("sqlite+pysqlite:///a.db", tmp_path) == Path("a.db").resolve()
    assert storage_file("a.journal", tmp_path) == Path("a.journal").resolve()
    assert storage_file("postgresql://h/x", tmp_path) is None
    assert storage_file("grpc://h:1", tmp_path) is None


def test_grpc_that_is_missing_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)  # what an import finds where it is missing
    wanted = r"needs the package grpcio, which is not installed: pip install grpcio protobuf\."
    with pytest.raises(UserError, match=wanted):
        open_storage("grpc://127.0.0.1:13000", tmp_path)
    with pytest.raises(UserError, match=wanted):
        serve(ProxyOptions(storage=f"sqlite:///{tmp_path / 'o.db'}"))
    assert not (tmp_path / "o.db").exists()


@pytest.mark.parametrize("url", [None, "study.journal", "grpc://h:1"])
def test_the_proxy_wants_a_database(url: str | None) -> None:
    with pytest.raises(UserError, match="in front of a database: name one with --storage"):
        serve(ProxyOptions(storage=url))


def test_a_proxys_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("grpc", reason="grpcio is not installed (pip install grpcio protobuf)")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port} "):
            serve(ProxyOptions(storage=f"sqlite:///{tmp_path / 'o.db'}", port=port))
