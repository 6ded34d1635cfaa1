"""Sending a spool whose process has ended."""

from dataclasses import dataclass
from pathlib import Path

from studies.engine.tracking.config import TrackingConfig
from studies.engine.tracking.destination import Destination
from studies.engine.tracking.errors import TrackingError
from studies.engine.tracking.operations import end_of_dead
from studies.engine.tracking.sender import RefusedError, Sender
from studies.engine.tracking.spool import PATTERN, DamagedSpoolError, Spool, SpoolInUseError


@dataclass(frozen=True)
class Delivery:
    """What became of a spool.

    Attributes:
        address: Where it was sent, without credentials.
        sent: Records that were written now.
        present: Records that the store had already.
        left: Records that are still in the spool.
        problem: Why some are left; None if none are.

    Source: derived.
    """

    address: str
    sent: int
    present: int
    left: int
    problem: str | None


def spools_below(folder: Path) -> tuple[list[Path], bool]:
    """Return the spools in and below a folder, sorted, and whether there ever was one.

    Source: derived.
    """
    files = sorted(folder.rglob(PATTERN))
    return files, bool(files) or any(folder.rglob(f"{PATTERN}.lock"))


def deliver(file: Path, given: TrackingConfig, *, elsewhere: bool) -> Delivery:
    """Send what a spool holds and end the runs that its process left open.

    Args:
        file: The spool.
        given: This process's configuration, for credentials.
        elsewhere: Send to the store of `given`, whatever the spool says.

    Raises:
        DamagedSpoolError: The spool cannot be read.
        TrackingError: Its address needs a password that `given` does not hold.
        OSError: The spool cannot be written.

    Source: derived.
    """
    try:
        spool = Spool(file)
    except SpoolInUseError:
        problem = f"{file.parent} belongs to a running study, which sends its records itself"
        return Delivery(given.masked_uri, 0, 0, 0, problem)
    done = None
    try:
        done = _send(spool, given, elsewhere)
    finally:
        spool.close(remove=done is not None and done.problem is None)
    return done


def _send(spool: Spool, given: TrackingConfig, elsewhere: bool) -> Delivery:
    """Send operation by operation; stop where the store is away."""
    left = spool.content
    try:
        destination = Destination.from_header(left.header, given, elsewhere=elsewhere)
    except (KeyError, TypeError, AttributeError):
        raise DamagedSpoolError(f"line 1 of {spool.file} is damaged") from None
    sender = Sender(destination)
    sent = present = 0
    problem: str | None = None
    try:
        sender.connect()
        for operation in left.operations:
            try:
                written = sender.send(operation)
            except RefusedError as error:
                problem = problem or str(error)
                spool.refuse(operation)
            else:
                sent, present = sent + written, present + (not written)
            spool.sent(1)
        for study_id in left.sittings:
            sender.send(end_of_dead(study_id))
    except TrackingError as error:
        problem = str(error)
    rest = len(left.operations) - sent - present
    return Delivery(destination.config.masked_uri, sent, present, rest, problem)
