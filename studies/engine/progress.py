"""Live progress with the remaining time, on standard error."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Counts trainings and says how long the rest will take.

    On a terminal one line is rewritten in place; otherwise a line is printed every ten seconds.

    Args:
        total: trainings to come.
        quiet: print nothing.
        stream: where to print; standard error by default.
    """

    def __init__(self, total: int, *, quiet: bool = False, stream: TextIO | None = None) -> None:
        self.total = total
        self.done = 0
        self.stage = ""
        self._timed = 0
        self.quiet = quiet
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._started = time.monotonic()
        self._shown = -10.0 if self._live else self._started

    def start(self, stage: str) -> None:
        """Name what happens from now on."""
        self.stage = stage
        self._show(force=self._live)

    def advance(self, trainings: int = 1, *, trained: bool = True) -> None:
        """Count finished trainings; `trained` is False for those found in the ledger."""
        self.done += trainings
        self._timed += trainings if trained else 0
        self._show()

    def skip(self, trainings: int) -> None:
        """Take trainings that will not be needed off the total."""
        self.total -= trainings

    def remaining_seconds(self) -> float | None:
        """Estimate from the mean pace so far; None before the first training has ended."""
        if self._timed == 0:
            return None
        return (time.monotonic() - self._started) / self._timed * max(0, self.total - self.done)

    def close(self) -> None:
        """End the line."""
        if self._live and not self.quiet:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def _show(self, force: bool = False) -> None:
        now = time.monotonic()
        if self.quiet or (not force and now - self._shown < (0.2 if self._live else 10.0)):
            return
        self._shown = now
        left = self.remaining_seconds()
        rest = f", about {clock(left)} left" if left is not None else ""
        text = f"{self.stage}: {self.done} of {self.total} trainings{rest}"
        self._stream.write(f"\r\033[K{text}" if self._live else f"{text}\n")
        self._stream.flush()


def clock(seconds: float) -> str:
    """A duration for people: "45 s", "3 min 20 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
