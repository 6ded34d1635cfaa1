"""The ledger and its storage."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studies.engine.errors import UserError
from studies.engine.identity import bind_folder, check_identity
from studies.engine.options import StudyOptions
from studies.engine.plan import make_plan
from studies.engine.run import Result
from studies.engine.storage import Ledger, delete_studies, open_storage
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
