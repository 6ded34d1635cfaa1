import threading
from functools import partial

import pytest

from studies.engine.tracking import TrackingError
from studies.engine.tracking.writer import BackgroundWriter


def fail(text: str) -> None:
    raise OSError(text)


def test_jobs_run_in_order_on_another_thread() -> None:
    writer, seen = BackgroundWriter(), list[tuple[int, int]]()

    def note(i: int) -> None:
        seen.append((i, threading.get_ident()))

    for i in range(100):
        writer.submit("x", partial(note, i))
    assert writer.flush(10)
    assert [i for i, _ in seen] == list(range(100))
    assert {ident for _, ident in seen}.isdisjoint({threading.get_ident()})
    summary = writer.close(10)
    assert (summary.written, summary.present, summary.failed) == (100, 0, 0)
    assert summary.message is None


def test_failures_are_counted_and_the_first_is_told_without_secrets() -> None:
    writer = BackgroundWriter()
    writer.submit("run 1", lambda: None)
    writer.submit("run 2", lambda: fail("no disk at http://a:pw@h\nmore lines"))
    writer.submit("run 3", lambda: fail("later"))
    writer.submit("run 4", lambda: False)
    summary = writer.close(10)
    assert (summary.written, summary.present, summary.failed) == (1, 1, 2)
    assert summary.first_error == "run 2: no disk at http://a:***@h"
    assert summary.message is not None
    assert summary.message.startswith("2 of 4 tracking records could not be written")
    assert writer.close(10) == summary


def test_call_returns_or_raises_and_leaves_the_thread_alive() -> None:
    writer = BackgroundWriter()
    assert writer.call("a", lambda: 7) == 7
    with pytest.raises(TrackingError, match="b cannot be recorded: gone"):
        writer.call("b", lambda: fail("gone"))
    assert writer.call("c", lambda: 8) == 8
    assert writer.close(10).failed == 0


def test_a_stuck_store_holds_nobody_up() -> None:
    writer, gate, after = BackgroundWriter(), threading.Event(), list[int]()
    writer.submit("stuck", gate.wait)
    writer.submit("waiting", lambda: after.append(1))
    assert not writer.flush(0.05)
    summary = writer.close(0.05)
    assert (summary.written, summary.failed) == (0, 2)
    assert summary.first_error == "the store took longer than 0.05 s"
    gate.set()
    assert writer.close(10) == summary
    assert after == []  # what was reported as lost is not written later


def test_nothing_is_taken_after_close() -> None:
    writer = BackgroundWriter()
    writer.close(10)
    with pytest.raises(TrackingError, match="run 1 cannot be recorded: the tracker is closed"):
        writer.submit("run 1", lambda: None)
    assert writer.flush(1)
