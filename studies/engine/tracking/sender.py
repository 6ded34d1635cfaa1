"""Carries operations to a store, and says what became of each."""

from collections.abc import Sequence
from contextlib import nullcontext

from studies.engine.tracking.destination import Destination
from studies.engine.tracking.errors import (
    StoreAwayError,
    TrackingError,
    is_away,
    is_server_fault,
    reason,
)
from studies.engine.tracking.operations import Operation, WriteRun
from studies.engine.tracking.runs import RunStore


class RefusedError(TrackingError):
    """An operation that the store does not take, although it answers."""


class Sender:
    """Sends operations to a destination; used by one thread at a time.

    Args:
        destination: Where to.

    Source: derived.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._runs: RunStore | None = None

    def connect(self) -> None:
        """Reach the store.

        Raises:
            StoreAwayError: It cannot be reached now.
            TrackingError: It cannot be used as it is.
        """
        if self._runs is None:
            self._runs = self._destination.connect()

    def disconnect(self) -> None:
        """Close the connections with a database, when everything is sent."""
        if self._runs is not None:
            self._runs.disconnect()

    def send(self, operation: Operation) -> bool:
        """Write an operation; False if the store had it already.

        Raises:
            StoreAwayError: The store cannot be used, now or with these credentials; whether the
                operation was written is unknown, and it may be sent again.
            RefusedError: The store answers, but does not take this operation.
        """
        return self.send_together([operation])[0]

    def most(self, operations: Sequence[Operation]) -> int:
        """How many of these, from the first on, are best sent together: at least 1.

        A database writes many finished runs in the time of a few; a server takes them one by one.
        """
        count = 0
        if self._runs is not None and self._runs.in_bulk:
            while count < len(operations) and isinstance(operations[count], WriteRun):
                count += 1
        return max(1, count)

    def send_together(self, operations: Sequence[Operation]) -> list[bool]:
        """Write operations; whether each was new to the store.

        Raises:
            StoreAwayError: As `send`.
            RefusedError: The store does not take one of several, or an only one.
        """
        try:
            self.connect()
        except TrackingError as error:
            raise StoreAwayError(str(error)) from None
        assert self._runs is not None
        try:
            # One by itself is there when `apply` returns, under whatever lock it holds.
            with self._runs.together() if len(operations) > 1 else nullcontext():
                return [operation.apply(self._runs) for operation in operations]
        except Exception as error:  # whatever a store, a driver or a file system raises
            failure = f"{operations[0].what}: {reason(error)}"
            if self._gone(error):
                self._runs = None
                raise StoreAwayError(failure) from None
            self._runs.forget()
            raise RefusedError(failure) from None

    def _gone(self, error: Exception) -> bool:
        """Whether the store, and not the operation alone, is to blame."""
        assert self._runs is not None
        if not is_server_fault(error):
            return is_away(error)
        try:  # a server fails over one request (500), or over all
            return not self._runs.answers()
        except Exception as second:  # as above
            return is_away(second)
