"""Carries operations to a store, one at a time, and says what became of each."""

from studies.engine.tracking.destination import Destination
from studies.engine.tracking.errors import (
    StoreAwayError,
    TrackingError,
    is_away,
    is_server_fault,
    reason,
)
from studies.engine.tracking.operations import Operation
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

    def send(self, operation: Operation) -> bool:
        """Write an operation; False if the store had it already.

        Raises:
            StoreAwayError: The store cannot be used, now or with these credentials; whether the
                operation was written is unknown, and it may be sent again.
            RefusedError: The store answers, but does not take this operation.
        """
        try:
            self.connect()
        except TrackingError as error:
            raise StoreAwayError(str(error)) from None
        assert self._runs is not None
        try:
            return operation.apply(self._runs)
        except Exception as error:  # whatever a store, a driver or a file system raises
            failure = f"{operation.what}: {reason(error)}"
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
