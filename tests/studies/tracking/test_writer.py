"""The writer's own promises, with a sender whose store the test switches on and off."""

import resource
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from studies.engine.tracking import TrackingError
from studies.engine.tracking.errors import StoreAwayError
from studies.engine.tracking.operations import Operation, WriteNote
from studies.engine.tracking.sender import RefusedError, Sender
from studies.engine.tracking.spool import Spool, read_spool
from studies.engine.tracking.writer import BackgroundWriter


def note(i: int) -> WriteNote:
    return WriteNote(study="s", group=None, text=str(i))


class Switch(Sender):
    """A store in memory: away, refusing or holding what the test says."""

    def __init__(self) -> None:
        self.away = False
        self.refused: set[int] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.got: list[int] = []
        self.threads: set[int] = set()
        self.together = 1
        self.sizes: list[int] = []

    def connect(self) -> None:
        pass

    def disconnect(self) -> None:
        pass

    def most(self, operations: Sequence[Operation]) -> int:
        return min(self.together, len(operations))

    def send_together(self, operations: Sequence[Operation]) -> list[bool]:
        self.gate.wait(30)
        numbers = [int(op.text) for op in operations if isinstance(op, WriteNote)]
        assert len(numbers) == len(operations)
        if self.away:
            raise StoreAwayError(f"note {numbers[0]}: nobody answers")
        self.sizes.append(len(numbers))
        if bad := self.refused.intersection(numbers):
            raise RefusedError(f"note {min(bad)}: too long")
        self.threads.add(threading.get_ident())
        new = [number not in self.got for number in numbers]
        self.got += numbers
        return new


@pytest.fixture
def store() -> Switch:
    return Switch()


def spool(folder: Path) -> Spool:
    return Spool(folder / "tracking-0.jsonl", {"experiment": "e"})


def kept(folder: Path) -> list[int]:
    content = read_spool(folder / "tracking-0.jsonl")
    return [int(op.text) for op in content.operations if isinstance(op, WriteNote)]


def test_operations_are_sent_in_order_on_another_thread(store: Switch, tmp_path: Path) -> None:
    writer = BackgroundWriter(store, spool(tmp_path))
    for i in range(100):
        writer.submit(note(i))
    assert writer.flush(10)
    assert store.got == list(range(100))
    assert store.threads.isdisjoint({threading.get_ident()})
    summary = writer.close(10)
    assert (summary.written, summary.present, summary.left, summary.failed) == (100, 0, 0, 0)
    assert summary.message is None
    assert not (tmp_path / "tracking-0.jsonl").exists()
    assert writer.close() == summary
    with pytest.raises(TrackingError, match="the description cannot be recorded: the tracker is"):
        writer.submit(note(1))


def test_what_is_sent_together_is_taken_apart_to_find_the_one_that_is_refused(
    store: Switch, tmp_path: Path
) -> None:
    store.together, store.refused = 4, {5}
    store.gate.clear()
    writer = BackgroundWriter(store, spool(tmp_path))
    for i in range(12):
        writer.submit(note(i))
    time.sleep(0.1)  # the first may be under way by itself
    store.gate.set()
    assert writer.flush(10)
    summary = writer.close(10)
    assert (summary.written, summary.refused, summary.failed) == (11, 1, 0)
    assert summary.first_error == "note 5: too long"
    assert store.got == [i for i in range(12) if i != 5]
    assert kept(tmp_path) == [5]
    # Those that came in vain with it came one by one, and the rest together again.
    vain = next(
        i for i, size in enumerate(store.sizes) if size > 1 and sum(store.sizes[:i]) + size > 5
    )
    assert store.sizes[vain] == 4
    assert store.sizes[vain + 1 : vain + 5] == [1] * 4
    assert sum(store.sizes) == 12 + 4
    assert max(store.sizes[vain + 5 :]) > 1


def test_what_an_absent_store_misses_is_kept_and_sent_first_by_the_next(
    store: Switch, tmp_path: Path
) -> None:
    writer = BackgroundWriter(store, spool(tmp_path))
    writer.submit(note(0))
    assert writer.flush(10)
    store.away = True
    for i in range(1, 4):
        writer.submit(note(i))
    assert not writer.flush(10)  # at once: it is known to be away
    summary = writer.close(10)
    assert (summary.written, summary.waiting, summary.failed) == (1, 3, 0)
    assert summary.message == (
        "3 of 4 tracking records are not in MLflow yet (note 1: nobody answers); they are kept, "
        f"and sent by the next start or by: python -m studies.sync {tmp_path}"
    )
    assert kept(tmp_path) == [1, 2, 3]
    store.away = False
    writer = BackgroundWriter(store, spool(tmp_path))
    writer.submit(note(4))
    assert writer.close(10).written == 4
    assert store.got == [0, 1, 2, 3, 4]
    assert not (tmp_path / "tracking-0.jsonl").exists()


def test_a_store_that_comes_back_gets_everything_in_order(
    store: Switch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studies.engine.tracking.writer._FIRST_PAUSE_S", 0.05)
    store.away = True
    writer = BackgroundWriter(store, spool(tmp_path))
    for i in range(3):
        writer.submit(note(i))
    assert not writer.flush(10)
    assert kept(tmp_path) == [0, 1, 2]
    store.away = False
    deadline = time.monotonic() + 10
    while not writer.flush(10):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert store.got == [0, 1, 2]
    assert kept(tmp_path) == []
    assert writer.close(10).message is None


def test_a_refused_record_stops_nobody_and_is_tried_again(store: Switch, tmp_path: Path) -> None:
    store.refused = {1}
    for start in range(3):
        writer = BackgroundWriter(store, spool(tmp_path))
        for i in range(3):
            writer.submit(note(i))
        summary = writer.close(10)
        # Each start records it once more, and tries what the one before has kept.
        assert (summary.refused, summary.left) == (1 + (start > 0), 1 + (start > 0))
        assert summary.first_error == "note 1: too long"
        assert kept(tmp_path) == [1]
    store.refused = set()
    summary = BackgroundWriter(store, spool(tmp_path)).close(10)
    assert (summary.written, summary.present, summary.left) == (1, 0, 0)


def test_what_is_kept_survives_whatever_happens_to_the_process(
    store: Switch, tmp_path: Path
) -> None:
    store.gate.clear()
    writer = BackgroundWriter(store, spool(tmp_path))
    for i in range(3):
        writer.submit(note(i))
    writer.keep()
    assert kept(tmp_path) == [0, 1, 2]  # a kill now would find these
    writer.submit(note(3))
    store.gate.set()
    assert writer.flush(10)
    # Those that are in the store are crossed out one by one; the last was never kept.
    assert kept(tmp_path) == []
    assert store.got == [0, 1, 2, 3]
    assert writer.close(10).written == 4


def test_a_stuck_store_holds_nobody_up(store: Switch, tmp_path: Path) -> None:
    store.gate.clear()
    writer = BackgroundWriter(store, spool(tmp_path))
    writer.submit(note(0))
    writer.submit(note(1))
    assert not writer.flush(0.05)
    start = time.monotonic()
    summary = writer.close(30, stall=0.1)
    assert time.monotonic() - start < 5
    assert (summary.written, summary.waiting) == (0, 2)
    store.gate.set()
    assert kept(tmp_path) == [0, 1]
    time.sleep(0.05)
    assert store.got in ([], [0])  # the one under way may still arrive, no other


def test_without_a_spool_the_rest_is_lost_and_counted(store: Switch) -> None:
    store.away = True
    writer = BackgroundWriter(store)
    writer.submit(note(0))
    writer.submit(note(1))
    summary = writer.close(10)
    assert (summary.failed, summary.left) == (2, 0)
    assert summary.message is not None
    assert summary.message.startswith("2 of 2 tracking records could not be written to MLflow")


def test_a_full_disk_is_told_and_leaves_the_spool_whole(store: Switch, tmp_path: Path) -> None:
    store.away = True
    writer = BackgroundWriter(store, spool(tmp_path))
    writer.submit(note(0))
    assert not writer.flush(10)
    writer.keep()
    size = (tmp_path / "tracking-0.jsonl").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system takes 10 bytes of what follows and refuses the rest.
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        writer.submit(note(1))
        with pytest.raises(OSError, match="File too large"):
            writer.keep()
        assert (tmp_path / "tracking-0.jsonl").stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.keep()
    assert kept(tmp_path) == [0, 1]
    assert writer.close(10).waiting == 2
