"""From a destination to a writer: the store is reached, and what the last start left is sent."""

from pathlib import Path

from studies.engine.tracking.destination import Destination
from studies.engine.tracking.errors import StoreAwayError
from studies.engine.tracking.operations import end_of_dead
from studies.engine.tracking.sender import Sender
from studies.engine.tracking.spool import DamagedSpoolError, Spool
from studies.engine.tracking.writer import BackgroundWriter


def open_writer(
    destination: Destination, folder: Path | None
) -> tuple[BackgroundWriter, str | None]:
    """Reach the store and start writing what an earlier process has left.

    Args:
        destination: Where records go.
        folder: Existing folder of the spool; None: no spool.

    Returns:
        The writer, and a sentence for the user if the store is away or a damaged spool was set
        aside.

    Raises:
        StoreAwayError: The store cannot be reached now, and there is no spool.
        TrackingError: The store cannot be used as it is, or another process sends the spool.
        OSError: The spool cannot be written.

    Source: derived.
    """
    sender = Sender(destination)
    if folder is None:
        sender.connect()
        return BackgroundWriter(sender), None
    spool, notice = _open_spool(destination, folder)
    left = spool.content
    try:
        sender.connect()
    except StoreAwayError as error:
        away = f"{error}; records are kept in {folder} and sent later"
        notice = f"{notice}; {away}" if notice else away
    except BaseException:
        spool.close(remove=not (left.operations or left.sittings))
        raise
    writer = BackgroundWriter(sender, spool)
    for study_id in left.sittings:
        writer.submit(end_of_dead(study_id))
    return writer, notice


def _open_spool(destination: Destination, folder: Path) -> tuple[Spool, str | None]:
    """Return the spool of a folder; one that is damaged is set aside, which the sentence tells."""
    file = destination.spool_file(folder)
    header = destination.header()
    try:
        return Spool(file, header), None
    except DamagedSpoolError as error:
        aside = file.with_suffix(".damaged")
        file.replace(aside)
        return Spool(file, header), f"{error.damage} and was set aside as {aside}"
