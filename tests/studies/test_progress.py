"""What is said while a study runs."""

import io

import pytest

from studies.engine import progress as module
from studies.engine.progress import Progress, clock


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Clock:
    at = Clock()
    monkeypatch.setattr(module.time, "monotonic", at)
    return at


def test_the_remaining_time_follows_the_pace_of_what_was_trained_here(at: Clock) -> None:
    progress = Progress(40, quiet=True)
    assert progress.remaining_seconds() is None
    progress.advance(10, trained=False)  # from the ledger, in no time
    assert progress.remaining_seconds() is None
    at.now += 16
    progress.advance(8)
    assert progress.remaining_seconds() == pytest.approx(2 * 22)
    progress.skip(2)
    assert progress.remaining_seconds() == pytest.approx(2 * 20)
    at.now += 1000
    progress.advance(20)
    assert progress.remaining_seconds() == 0


def test_a_line_every_ten_seconds_where_nobody_watches(at: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(104, stream=stream)
    progress.start("search")
    for _ in range(4):
        at.now += 6
        progress.advance(2)
    progress.close()
    assert stream.getvalue() == (
        "search: 4 of 104 trainings, about 5 min 00 s left\n"
        "search: 8 of 104 trainings, about 4 min 48 s left\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert clock(seconds) == text
