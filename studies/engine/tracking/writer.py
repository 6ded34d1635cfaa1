"""One background thread that writes everything in order, so that training never waits."""

import threading
import time
from collections import deque
from dataclasses import replace
from itertools import islice

from studies.engine.tracking.errors import StoreAwayError, TrackingError, reason
from studies.engine.tracking.operations import Operation
from studies.engine.tracking.sender import RefusedError, Sender
from studies.engine.tracking.spool import Spool
from studies.engine.tracking.summary import TrackingSummary

_FIRST_PAUSE_S = 2.0  # between two tries of a store that is away; doubled each time
_LONGEST_PAUSE_S = 60.0
_KEEP_EVERY_S = 1.0  # how long a record may be in memory alone while the store is away
_TOGETHER = 100  # records that are sent together at most
_GATHER_S = 0.2  # how long the first of them waits for others; many cost hardly more than one
_STALL_S = 10.0  # closing gives up a store that takes longer over one record


class BackgroundWriter:
    """Sends operations in their order on a daemon thread.

    While the store is away, operations go into the spool, and the store is tried again from time
    to time; nothing overtakes. What the spool holds already is sent first. Without a spool,
    what cannot be written until `close` is lost, and counted.

    Args:
        sender: Carries operations to the store.
        spool: Where operations are kept; the writer closes it.

    Source: derived.
    """

    def __init__(self, sender: Sender, spool: Spool | None = None) -> None:
        self._sender = sender
        self._spool = spool
        self._changed = threading.Condition()
        # What is not sent, the first perhaps under way; the first `_kept` are in the spool.
        self._pending = deque(spool.content.operations if spool else ())
        self._kept = len(self._pending)
        self._taken, self._done = len(self._pending), 0
        self._awaited = 0  # threads that wait for the end of what is queued
        self._away = self._gave_up = self._closing = self._stopped = False
        self._progress = time.monotonic()
        self._summary = TrackingSummary(spool=spool.file if spool else None)
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def submit(self, operation: Operation) -> None:
        """Queue an operation.

        Raises:
            TrackingError: The writer has been closed.
        """
        with self._changed:
            if self._closing:
                raise TrackingError(f"{operation.what} cannot be recorded: the tracker is closed")
            self._pending.append(operation)
            self._taken += 1
            self._changed.notify_all()

    def sitting(self, study_id: str) -> None:
        """Note in the spool that this process records a study, so that its end is not forgotten.

        Raises:
            OSError: The spool cannot be written.
        """
        with self._changed:
            if self._spool is not None:
                self._spool.sitting(study_id)

    def keep(self) -> None:
        """Put everything that is not in the store into the spool; it is on disk afterwards.

        Raises:
            OSError: The spool cannot be written.
        """
        with self._changed:
            self._keep()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything queued so far is written.

        Returns:
            False if `timeout` seconds did not do, or the store is away.
        """
        with self._changed:
            target = self._taken
            self._awaited += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= target or self._away, timeout)
            self._awaited -= 1
            return self._done >= target

    def close(
        self, timeout: float | None = None, stall: float | None = _STALL_S
    ) -> TrackingSummary:
        """Write what is queued, keep the rest, and report; closing again reports the same.

        Args:
            timeout: Seconds to write in; None sets no limit.
            stall: Seconds to wait for any one record; None sets no limit.
        """
        with self._changed:
            if self._closing:
                return self._summary
            self._closing = True
            self._progress = time.monotonic()
            self._changed.notify_all()
            try:
                self._wait_for_end(timeout, stall)
            finally:
                self._stop(timeout)
        if not self._pending:
            self._thread.join(1.0)
            if not self._thread.is_alive():
                self._sender.disconnect()
        return self._summary

    def _wait_for_end(self, timeout: float | None, stall: float | None) -> None:
        began = time.monotonic()
        while self._pending and not self._gave_up:
            ends = [
                start + limit - time.monotonic()
                for start, limit in ((began, timeout), (self._progress, stall))
                if limit is not None
            ]
            if ends and min(ends) <= 0:
                break
            self._changed.wait(min(ends) if ends else None)

    def _stop(self, timeout: float | None) -> None:
        """Keep what is left, and count it."""
        self._stopped = True
        left = len(self._pending)
        if left and not self._summary.first_error:
            self._note_error(f"the store took longer than {timeout:g} s" if timeout else "slow")
        try:
            self._keep()
        except OSError as error:
            self._note_error(f"{self._summary.first_error}; the spool: {reason(error)}", True)
        waiting = self._kept if self._spool is not None else 0
        self._summary = replace(
            self._summary, waiting=waiting, failed=self._summary.failed + left - waiting
        )
        if self._spool is not None:
            self._spool.close(remove=not self._summary.left)
        self._changed.notify_all()

    def _work(self) -> None:
        pause, alone = _FIRST_PAUSE_S, 0
        while operations := self._next(1 if alone else _TOGETHER):
            written, refused = [False] * len(operations), None
            try:
                written = self._sender.send_together(operations)
            except StoreAwayError as error:
                self._wait_for_store(str(error), pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                continue
            except RefusedError as error:
                if len(operations) > 1:  # which of them it was, shows when they come one by one
                    alone = len(operations)
                    continue
                refused = str(error)
            pause, alone = _FIRST_PAUSE_S, max(0, alone - len(operations))
            with self._changed:
                if self._stopped:
                    return
                for operation, new in zip(operations, written, strict=True):
                    self._finish(operation, new, refused)

    def _next(self, most: int) -> list[Operation]:
        """Wait for the next operations, to be sent together; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing)
            if most > 1 and not self._kept:
                self._changed.wait_for(
                    lambda: self._closing or self._awaited or len(self._pending) >= most, _GATHER_S
                )
            if self._stopped:
                return []
            waiting = list(islice(self._pending, most))
        return waiting[: self._sender.most(waiting)]

    def _finish(self, operation: Operation, written: bool, refused: str | None) -> None:
        """Take the first operation out of the queue and count it."""
        if refused is not None:
            self._note_error(refused)
            name = "refused" if self._refuse(operation) else "failed"
        else:
            name = "written" if written else "present"
        summary = self._summary
        self._summary = replace(summary, **{name: getattr(summary, name) + 1})
        if self._kept and self._spool is not None:
            self._kept -= 1
            try:
                self._spool.sent(1)
            except OSError as error:  # it will be sent once more
                self._note_error(f"the spool: {reason(error)}")
        self._pending.popleft()
        self._done += 1
        self._away = False
        self._progress = time.monotonic()
        self._changed.notify_all()

    def _refuse(self, operation: Operation) -> bool:
        """Keep a refused operation for the next process, if there is a place for it."""
        if self._spool is None:
            return False
        try:
            self._spool.refuse(operation)
        except OSError:
            return False
        return True

    def _wait_for_store(self, error: str, pause: float) -> None:
        """Let some time pass before the next try; put into the spool what comes meanwhile."""
        until = time.monotonic() + pause
        with self._changed:
            self._away = True
            self._gave_up = self._closing
            self._note_error(error)
            self._changed.notify_all()
            while not self._stopped and (self._gave_up or not self._closing):
                try:
                    self._keep()
                except OSError as full:  # told at the end, if it is still so
                    self._note_error(f"the spool: {reason(full)}")
                left = until - time.monotonic()
                if left <= 0 and not self._gave_up:
                    return
                self._changed.wait(min(max(left, 0.1), _KEEP_EVERY_S))

    def _keep(self) -> None:
        if self._spool is None:
            return
        self._spool.append(islice(self._pending, self._kept, None))
        self._kept = len(self._pending)

    def _note_error(self, error: str, anew: bool = False) -> None:
        if anew or self._summary.first_error is None:
            self._summary = replace(self._summary, first_error=error)
