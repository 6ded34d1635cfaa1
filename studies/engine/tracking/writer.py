"""One background thread that does all writes in order, so that training never waits."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import TypeVar

from studies.engine.tracking.errors import TrackingError, reason

T = TypeVar("T")


@dataclass(frozen=True)
class _Job:
    what: str
    run: Callable[[], object]
    counted: bool


@dataclass(frozen=True)
class TrackingSummary:
    """What became of all records.

    Attributes:
        written: Records that are in the store.
        present: Records skipped because the store had them already (a study run again).
        failed: Records that are lost.
        first_error: What went wrong first, without credentials; None if nothing did.

    Source: derived.
    """

    written: int = 0
    present: int = 0
    failed: int = 0
    first_error: str | None = None

    @property
    def message(self) -> str | None:
        """One sentence for the user about lost records, or None."""
        if not self.failed:
            return None
        total = self.written + self.present + self.failed
        return (
            f"{self.failed} of {total} tracking records could not be written to MLflow "
            f"(first: {self.first_error}); the study's own results are complete"
        )


class BackgroundWriter:
    """Runs jobs one after another on a daemon thread and remembers what failed.

    A job is a callable without arguments that returns False when there was nothing to write.
    Its exceptions never reach the thread that submitted it. This is the place where a local
    spool can take over the failed jobs.

    Source: derived.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._summary = TrackingSummary()
        self._waiting = 0  # records submitted but not done
        self._closed = self._dropping = False
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, what: str, job: Callable[[], object]) -> None:
        """Queue the writing of one record; `what` names it in the report of a failure.

        Raises:
            TrackingError: The writer has been closed.
        """
        with self._lock:
            if self._closed:
                raise TrackingError(f"{what} cannot be recorded: the tracker is closed")
            self._waiting += 1
            self._jobs.put(_Job(what, job, counted=True))

    def call(self, what: str, job: Callable[[], T]) -> T:
        """Run a job on the thread, after those before it, and return its result.

        Raises:
            TrackingError: The job failed, or the writer has been closed.
        """
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except Exception as error:  # raised again in the calling thread
                future.set_exception(error)

        with self._lock:
            if self._closed:
                raise TrackingError(f"{what} cannot be recorded: the tracker is closed")
            self._jobs.put(_Job(what, run, counted=False))
        error = future.exception()
        if error is not None:
            raise TrackingError(f"{what} cannot be recorded: {reason(error)}") from None
        return future.result()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything queued so far is done; False if `timeout` seconds did not do."""
        done = threading.Event()
        with self._lock:
            if self._closed:
                return not self._waiting
            self._jobs.put(_Job("flush", done.set, counted=False))
        return done.wait(timeout)

    def close(self, timeout: float | None = None) -> TrackingSummary:
        """Finish what is queued within `timeout` seconds, drop the rest, and report.

        Dropped records count as failed. Closing again returns the same report.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join(timeout)
        with self._lock:
            if self._waiting:
                self._dropping = True
                self._count_failure(f"the store took longer than {timeout} s", self._waiting)
                self._waiting = 0
            return self._summary

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            failure: str | None = None
            result: object = None
            try:
                result = job.run()
            except Exception as error:  # no failing store may end the thread
                failure = f"{job.what}: {reason(error)}"
            with self._lock:
                if self._dropping:
                    return
                if not job.counted:
                    continue
                self._waiting -= 1
                if failure is not None:
                    self._count_failure(failure)
                elif result is False:
                    self._summary = replace(self._summary, present=self._summary.present + 1)
                else:
                    self._summary = replace(self._summary, written=self._summary.written + 1)

    def _count_failure(self, failure: str, count: int = 1) -> None:
        """Add lost records to the summary; the caller holds the lock."""
        first = self._summary.first_error or failure
        self._summary = replace(
            self._summary, failed=self._summary.failed + count, first_error=first
        )
